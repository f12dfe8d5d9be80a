"""The version of the running node, as it is installed."""

from importlib.metadata import version
from typing import Final

VERSION: Final = version("bodytag")
