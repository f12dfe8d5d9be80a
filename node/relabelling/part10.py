"""Part 10 files: the meta information the node writes, and what it reads back from its own spool."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.uid import UID

from node import version
from node.relabelling.encoded import EncodedError

IMPLEMENTATION_CLASS_UID: Final = UID("2.25.272302374943866209741846912012358241621")
"""The node's own (0002,0012): a UUID-derived UID (PS3.5 B.2)."""

IMPLEMENTATION_VERSION_NAME: Final = f"BODYTAG_{version.VERSION}"[:16]
"""(0002,0013), also told in every association (PS3.7 D.3.3.2)."""

PREFIX_BYTES: Final = 132
"""Preamble and prefix (PS3.10 section 7.1)."""

_META = struct.Struct("<HH2sHI")


@dataclass(frozen=True, slots=True)
class Meta:
    """File meta information of an instance (PS3.10 Table 7.1-1)."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    source_ae_title: str

    def encode(self) -> bytes:
        """Return preamble, prefix and group 0002."""
        elements = [
            _element(0x0001, b"OB", b"\0\1"),
            _element(0x0002, b"UI", self.sop_class_uid),
            _element(0x0003, b"UI", self.sop_instance_uid),
            _element(0x0010, b"UI", self.transfer_syntax_uid),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
            _element(0x0016, b"AE", self.source_ae_title),
        ]
        group = b"".join(elements)
        length = _element(0x0000, b"UL", struct.pack("<L", len(group)))
        return b"\0" * 128 + b"DICM" + length + group


def _element(element: int, vr: bytes, value: str | bytes) -> bytes:
    """Encode an element of group 0002, explicit VR little endian (PS3.10 section 7.1)."""
    if isinstance(value, str):
        value = value.encode("iso8859-1", "replace")
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    if vr == b"OB":
        return struct.pack("<HH2sxxL", 2, element, vr, len(value)) + value
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


def meta_end(path: Path) -> int:
    """Return the offset of the data set in a file that the node wrote.

    Raises EncodedError if the file does not begin as Part 10 files do (PS3.10 section 7.1).
    """
    with path.open("rb") as file:
        head = file.read(144)
    if len(head) < 144 or head[128:132] != b"DICM":
        raise EncodedError(f"{path.name} is no DICOM file")
    group, element, vr, _, length = _META.unpack_from(head, 132)
    if (group, element, vr) != (2, 0, b"UL"):
        raise EncodedError(f"{path.name} has no group length in its meta information")
    return 144 + int(length)
