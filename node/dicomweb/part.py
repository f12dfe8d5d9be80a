"""One instance on its way in by STOW-RS: small ones wait in memory, large ones in a file without a name."""

import mmap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Final

from node.intake.intake import Offer
from node.relabelling.encoded import EncodedError, Syntax, elements
from node.status import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, Rejection
from node.storage.spool import UID_PATTERN

IN_MEMORY_BYTES: Final = 8 * 1024**2
"""CT and MR images stay below; of each request at most so much waits in memory."""

_ASK_DISK_BYTES: Final = 64 * 1024**2
"""How much is written until the floor of the disk is looked at again."""

_PREFIX: Final = 132
_META_HEADER: Final = 12
_MAXIMUM_META_BYTES: Final = 65536
_META: Final = Syntax(explicit=True, little=True)
_SOP_CLASS, _SOP_INSTANCE, _SYNTAX = 0x00020002, 0x00020003, 0x00020010


@dataclass(frozen=True, slots=True)
class Room:
    """What a part may take: its most bytes, where it is written to, and whether the disk has room left."""

    maximum_bytes: int
    open_file: Callable[[], IO[bytes]]
    has_room: Callable[[], bool]


@dataclass(slots=True)
class Part:
    """The bytes of one Part 10 object as they come."""

    room: Room
    size_bytes: int = 0
    _memory: bytearray = field(default_factory=bytearray)
    _file: IO[bytes] | None = None
    _asked_at: int = 0

    def write(self, data: memoryview) -> None:
        """Take the next bytes; raises Rejection where the part grows too large or the disk too small."""
        left = self.room.maximum_bytes - self.size_bytes
        self.size_bytes += len(data)
        if left < len(data):
            if self._file is None:
                self._memory += data[: min(left, _MAXIMUM_META_BYTES)]  # for the UIDs of the refusal
            raise Rejection(OUT_OF_RESOURCES, "the instance is larger than dicomweb.maximum_instance_bytes")
        try:
            self._write(data)
        except OSError as error:
            raise Rejection(OUT_OF_RESOURCES, f"the spool cannot write: {error.strerror}") from error

    def _write(self, data: memoryview) -> None:
        if self._file is None and self.size_bytes <= IN_MEMORY_BYTES:
            self._memory += data
            return
        if self._file is None or self.size_bytes - self._asked_at > _ASK_DISK_BYTES:
            self._asked_at = self.size_bytes
            if not self.room.has_room():
                raise Rejection(OUT_OF_RESOURCES, "the spool's disk is under its floor")
        if self._file is None:
            self._file = self.room.open_file()
            self._file.write(self._memory)
            self._memory = bytearray()
        self._file.write(data)

    def content(self) -> memoryview:
        """Return all bytes; those of a file are mapped, not read."""
        if self._file is None:
            return memoryview(self._memory)
        self._file.flush()
        return memoryview(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))

    def close(self) -> None:
        """Give back what the part takes."""
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None


def announced(content: memoryview, calling: str, study: str | None) -> tuple[Offer, memoryview]:
    """Read the meta information of a Part 10 object; return what it announces, and the data set.

    Raises Rejection 0xC000 where the bytes do not begin as PS3.10 section 7.1 says.
    """
    header = bytes(content[_PREFIX : _PREFIX + _META_HEADER])
    if bytes(content[128:_PREFIX]) != b"DICM" or header[:8] != b"\x02\x00\x00\x00UL\x04\x00":
        raise Rejection(CANNOT_UNDERSTAND, "the part is no DICOM file with a meta group length")
    length = int.from_bytes(header[8:], "little")
    end = _PREFIX + _META_HEADER + length
    if length > _MAXIMUM_META_BYTES or end > len(content):
        raise Rejection(CANNOT_UNDERSTAND, "the meta information is cut off or larger than 64 KiB")
    meta = bytes(content[:end])
    try:
        found = {
            each.tag: meta[each.value : each.end] for each in elements(meta, _META, _PREFIX + _META_HEADER)
        }
    except EncodedError as error:
        raise Rejection(CANNOT_UNDERSTAND, f"meta information: {error}") from error
    sop_class, instance, syntax = (_uid(found.get(tag, b"")) for tag in (_SOP_CLASS, _SOP_INSTANCE, _SYNTAX))
    return Offer(sop_class, instance, syntax, calling, study), content[end:]


def _uid(value: bytes) -> str:
    """Return a UID of the meta information; raises Rejection where it is none."""
    text = value.rstrip(b"\0 ").decode("ascii", errors="replace")
    if len(text) > 64 or not UID_PATTERN.fullmatch(text):
        raise Rejection(CANNOT_UNDERSTAND, "the meta information lacks a UID or holds one that is none")
    return text
