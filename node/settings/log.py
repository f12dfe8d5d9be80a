"""The section `log` of the configuration."""

from typing import Literal

from node.settings.types import Section


class Log(Section):
    """What the node writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"
