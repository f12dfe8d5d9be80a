"""DIMSE messages as bytes: commands, and the values that carry them (PS3.7 6.3 and E, PS3.8 E)."""

import struct
from collections.abc import Iterator, Mapping
from typing import Final

from pydicom._dicom_dict import DicomDictionary

P_DATA_TF: Final = 0x04
PDU_HEADER_BYTES: Final = 6
VALUE_HEADER_BYTES: Final = 6

COMMAND, LAST = 1, 2
"""Bits of a message control header (PS3.8 E.2)."""

AFFECTED_SOP_CLASS, AFFECTED_SOP_INSTANCE = 0x0002, 0x1000
COMMAND_FIELD, DATA_SET_TYPE, NO_DATA_SET = 0x0100, 0x0800, 0x0101
MESSAGE_ID, ANSWERED_ID, PRIORITY = 0x0110, 0x0120, 0x0700
STATUS, ERROR_COMMENT = 0x0900, 0x0902
C_STORE_RQ, C_STORE_RSP = 0x0001, 0x8001

_COMMANDS: Final = frozenset(
    (0x0001, 0x0010, 0x0020, 0x0021, 0x0030, 0x0FFF, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150)
)
"""Command Fields of the requests (PS3.7 Table E.1-1); responses have 0x8000 added."""

_WIDTHS: Final = {"US": 2, "UL": 4, "AT": 4}
_NUMBERS: Final = {
    tag: (_WIDTHS[entry[0]], entry[1] == "1")
    for tag, entry in DicomDictionary.items()
    if tag >> 16 == 0 and entry[0] in _WIDTHS
}
"""Command elements that are numbers: how many bytes one has, and whether there is at most one."""

_RETIRED: Final = 0x4000
"""Elements from here on belong to the commands of ACR-NEMA."""


class CommandError(ValueError):
    """Bytes that are no command; the message is one sentence without anything of their content."""


def read(encoded: bytes) -> dict[int, bytes]:
    """Return the elements of a command by their number; field and data set type are among them.

    Raises CommandError where it is none.
    """
    found: dict[int, bytes] = {}
    offset = 0
    while offset < len(encoded):
        if offset + 8 > len(encoded):
            raise CommandError("a command that is cut off")
        group, element, length = struct.unpack_from("<HHL", encoded, offset)
        if group != 0 or element >= _RETIRED or offset + 8 + length > len(encoded):
            raise CommandError("a command with an element that has no place in it")
        width, alone = _NUMBERS.get(element, (1, False))
        if length % width or (alone and length > width):
            raise CommandError("a command with a number of a wrong length")
        found[element] = encoded[offset + 8 : offset + 8 + length]
        offset += 8 + length
    if not (found.get(COMMAND_FIELD) and found.get(DATA_SET_TYPE)):
        raise CommandError("a command without its field or its data set type")
    field = int.from_bytes(found[COMMAND_FIELD], "little")
    if field & 0x7FFF not in _COMMANDS:
        raise CommandError(f"an unknown command 0x{field:04X}")
    return found


def write(elements: Mapping[int, int | str]) -> bytes:
    """Encode a command, its group length first: numbers as US, texts as UI or, for a comment, as LO."""
    rest = b"".join(_element(number, _value(number, value)) for number, value in sorted(elements.items()))
    return _element(0x0000, struct.pack("<L", len(rest))) + rest


def number(command: Mapping[int, bytes], element: int) -> int | None:
    """Return a number of a command, None where it has none."""
    value = command.get(element)
    return int.from_bytes(value, "little") if value else None


def text(command: Mapping[int, bytes], element: int) -> str:
    """Return a text of a command without its padding, "" where it has none."""
    return command.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")


def values(body: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Walk the values of a P-DATA-TF: context, message control header, content (PS3.8 Table 9-23).

    Their lengths must have been checked.
    """
    offset = 0
    while offset + VALUE_HEADER_BYTES <= len(body):
        length, context_id, control = struct.unpack_from(">LBB", body, offset)
        yield context_id, control, body[offset + VALUE_HEADER_BYTES : offset + 4 + length]
        offset += 4 + length


def p_data_header(context_id: int, control: int, size_bytes: int) -> bytes:
    """Return what stands before a value of so many bytes that is alone in its P-DATA-TF (PS3.8 9.3.5)."""
    return struct.pack(">BxLLBB", P_DATA_TF, size_bytes + 6, size_bytes + 2, context_id, control)


def p_data(context_id: int, control: int, value: bytes) -> bytes:
    """Return a P-DATA-TF with one value."""
    return p_data_header(context_id, control, len(value)) + value


def _value(element: int, value: int | str) -> bytes:
    if isinstance(value, int):
        return struct.pack("<H", value)
    encoded = value.encode("ascii", "replace")
    return encoded + (b" " if element == ERROR_COMMENT else b"\0") * (len(encoded) % 2)


def _element(element: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0x0000, element, len(value)) + value
