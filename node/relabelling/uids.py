"""UIDs of what the node makes: derived from names, so that the same decision always gives the same UID."""

import uuid
from typing import Final

from node.relabelling.part10 import IMPLEMENTATION_CLASS_UID

_NAMES: Final = uuid.UUID(int=int(str(IMPLEMENTATION_CLASS_UID).removeprefix("2.25.")))


def named_uid(*names: object) -> str:
    """Return the UUID-derived UID (PS3.5 B.2) of a version 5 UUID, whose name are the parts joined."""
    return f"2.25.{uuid.uuid5(_NAMES, '|'.join(map(str, names))).int}"
