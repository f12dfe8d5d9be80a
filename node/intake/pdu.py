"""PDUs as they come from the wire: checked for type, length and structure before anything is made of them.

pynetdicom takes the length that a header announces, and objects to nothing until a PDU is decoded. Here each
is held against limits first, and the messages within P-DATA are followed. Source: PS3.8 9.3, PS3.7 6.3.1, E.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from node import dimse
from node.dimse import P_DATA_TF

ASSOCIATE_RQ: Final = 0x01
RELEASE_RQ: Final = 0x05
ABORT: Final = 0x07

HEADER_BYTES: Final = dimse.PDU_HEADER_BYTES
MAXIMUM_REQUEST_BYTES: Final = 1 << 20
"""An A-ASSOCIATE-RQ of 128 contexts, each with fifty transfer syntaxes, has a fifth of it."""

_CONTROL_BYTES: Final = 4
"""A-RELEASE and A-ABORT have four bytes after the header (PS3.8 Tables 9-24 to 9-26)."""

_LEAST_DATA_BYTES: Final = 6
"""One presentation data value: its length, context, and message control header (PS3.8 Table 9-23)."""

_MAXIMUM_ITEMS: Final = 128 * 32
_MAXIMUM_CONTEXTS: Final = 128
_MAXIMUM_COMMAND_BYTES: Final = 65536
_CONTEXT, _USER_INFORMATION = 0x20, 0x50
_ITEM_START: Final = {_CONTEXT: 4, _USER_INFORMATION: 0}
"""Items that hold items, and after how many bytes these begin (PS3.8 Tables 9-13, 9-16)."""


class Forbidden(ValueError):  # noqa: N818 - what came must not go on; the peer is cut off
    """What came is not allowed; the message is one sentence without anything of its content."""


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks for an association: AE titles without padding, and the encoded A-ASSOCIATE-RQ."""

    calling_ae_title: str
    called_ae_title: str
    pdu: bytes


def length_of(header: bytes, maximum_pdu_bytes: int, associated: bool) -> int:
    """Return how many bytes follow a header; raises Forbidden where the PDU has no place or is too long."""
    kind, length = struct.unpack(">BxL", header)
    if not associated:
        if kind != ASSOCIATE_RQ:
            raise Forbidden(f"a PDU of type 0x{kind:02X} before an association request")
        if length > MAXIMUM_REQUEST_BYTES:
            raise Forbidden(f"an association request of {length} bytes")
        return int(length)
    if kind not in (P_DATA_TF, RELEASE_RQ, ABORT):
        raise Forbidden(f"a PDU of type 0x{kind:02X} within an association")
    fits = _LEAST_DATA_BYTES <= length <= maximum_pdu_bytes if kind == P_DATA_TF else length == _CONTROL_BYTES
    if not fits:
        raise Forbidden(f"a PDU of type 0x{kind:02X} with {length} bytes")
    return int(length)


def request(pdu: bytes) -> Request:
    """Check an A-ASSOCIATE-RQ (PS3.8 Table 9-11); raises Forbidden where it is none or asks too much."""
    if len(pdu) < 74:
        raise Forbidden("an association request that is too short")
    items = contexts = 0
    for kind, start, end in _items(pdu, 74, len(pdu)):
        if kind == _CONTEXT:
            contexts += 1
            _check_id(pdu[start:end])
        inner = _ITEM_START.get(kind)
        items += 1 if inner is None else 1 + sum(1 for _ in _items(pdu, start + inner, end))
        if items > _MAXIMUM_ITEMS or contexts > _MAXIMUM_CONTEXTS:
            raise Forbidden("an association request with too many items")
    return Request(_title(pdu[26:42]), _title(pdu[10:26]), pdu)


def _check_id(context: bytes) -> None:
    """Refuse a presentation context whose ID is not odd (PS3.8 9.3.2.2): the library fails over it."""
    if not context or context[0] % 2 == 0:
        raise Forbidden("a presentation context whose ID is not odd")


class Messages:
    """Follows the DIMSE messages in the P-DATA of one association."""

    def __init__(self, maximum_bytes: int) -> None:
        self._maximum_bytes = maximum_bytes
        self._command = bytearray()
        self._in_data_set = False
        self.bytes = 0
        """Of the message that is under way; 0 between messages."""

    @property
    def open(self) -> bool:
        """Tell whether a message has begun and not ended."""
        return self.bytes > 0

    def feed(self, body: memoryview) -> int:
        """Take the body of one P-DATA-TF; return how many messages ended in it.

        Raises Forbidden where it is no sequence of presentation data values (PS3.8 E), a command is none or
        too long, parts come out of order, or the message grows beyond the limit.
        """
        ended = 0
        offset = 0
        while offset < len(body):
            if offset + 4 > len(body):
                raise Forbidden("a presentation data value that is cut off")
            (length,) = struct.unpack_from(">L", body, offset)
            check_value(length, len(body) - offset)
            ended += self._value(body[offset + 5 : offset + 4 + length])
            offset += 4 + length
        return ended

    def of_data_set(self, control: int, size_bytes: int) -> bool:
        """Take a value whose content is still to come, and which must be of a data set, as `feed` does."""
        self._count(bool(control & dimse.COMMAND), size_bytes + 1)
        if not control & dimse.LAST:
            return False
        self._end()
        return True

    def _value(self, value: memoryview) -> bool:
        """Take one value, its message control header first; tell whether it ends a message."""
        is_command, is_last = value[0] & dimse.COMMAND, value[0] & dimse.LAST
        self._count(bool(is_command), len(value))
        if is_command:
            self._command += value[1:]
            if len(self._command) > _MAXIMUM_COMMAND_BYTES:
                raise Forbidden(f"a command of more than {_MAXIMUM_COMMAND_BYTES} bytes")
        if not is_last:
            return False
        if is_command and has_data_set(bytes(self._command)):
            self._in_data_set = True
            return False
        self._end()
        return True

    def _count(self, is_command: bool, size_bytes: int) -> None:
        self.bytes += size_bytes
        if self.bytes > self._maximum_bytes:
            raise Forbidden(f"a message of more than {self._maximum_bytes} bytes")
        if is_command == self._in_data_set:
            raise Forbidden("parts of a message out of order")

    def _end(self) -> None:
        self._command.clear()
        self._in_data_set = False
        self.bytes = 0


def check_value(length: int, left_bytes: int) -> None:
    """Raise Forbidden unless a value of such a length, which stands before it, has its place in the rest."""
    if length < 2 or 4 + length > left_bytes:
        raise Forbidden("a presentation data value of a wrong length")


def has_data_set(command: bytes) -> bool:
    """Tell whether a data set follows a command (PS3.7 E.1); raises Forbidden where it is none."""
    try:
        return dimse.number(dimse.read(command), dimse.DATA_SET_TYPE) != dimse.NO_DATA_SET
    except dimse.CommandError as error:
        raise Forbidden(str(error)) from error


def _items(pdu: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Walk items: type, where the value begins, where it ends."""
    while start < end:
        if start + 4 > end:
            raise Forbidden("an association request with an item that is cut off")
        kind, length = struct.unpack_from(">BxH", pdu, start)
        if start + 4 + length > end:
            raise Forbidden("an association request with an item beyond its end")
        yield kind, start + 4, start + 4 + length
        start += 4 + length


def _title(padded: bytes) -> str:
    try:
        title = padded.decode("ascii").strip(" \0")
    except UnicodeDecodeError as error:
        raise Forbidden("an association request with an AE title that is no text") from error
    if not title or not title.isprintable():
        raise Forbidden("an association request with an AE title that is no text")
    return title
