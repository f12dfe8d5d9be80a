"""The encoded data set: where each top-level element lies in the bytes, without decoding its value.

The receiver validates with it and the relabelling splices with it, so that what is not touched keeps
every byte. Source: PS3.5 sections 6.2.2, 7.1, 7.5 and A.4.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

Buffer = bytes | memoryview

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"

UNDEFINED: Final = 0xFFFFFFFF
ITEM: Final = 0xFFFEE000
ITEM_END: Final = 0xFFFEE00D
SEQUENCE_END: Final = 0xFFFEE0DD

SHORT_VRS: Final = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN",
     b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip
"""Explicit VRs with a 16-bit length; every other VR has 32 bits (PS3.5 Tables 7.1-1 and 7.1-2)."""

MAXIMUM_DEPTH: Final = 32
"""Sequences nested deeper are refused: real objects stay under ten."""

_MOST_EXPANDED: Final = 1032
"""What deflate can make of one byte at most."""

_PIECE_BYTES: Final = 1 << 20


class EncodedError(ValueError):
    """The bytes are no data set; the message is one sentence."""


_HEADERS: Final = {
    little: (struct.Struct(f"{order}HH2sH").unpack_from, struct.Struct(f"{order}I").unpack_from)
    for little, order in ((True, "<"), (False, ">"))
}
"""By byte order: reads group, element, VR and a short length; reads a length of four bytes (PS3.5 7.1)."""


@dataclass(frozen=True, slots=True)
class Syntax:
    """How elements are encoded: explicit or implicit VR, little or big endian."""

    explicit: bool
    little: bool

    @classmethod
    def of(cls, transfer_syntax_uid: str) -> "Syntax":
        """Everything that is not implicit or big endian is explicit little endian (PS3.5 A.4)."""
        return cls(transfer_syntax_uid != IMPLICIT_LITTLE, transfer_syntax_uid != EXPLICIT_BIG)

    @classmethod
    def found_in(cls, data: Buffer, transfer_syntax_uid: str) -> "Syntax":
        """Return what a data set is really encoded in.

        Objects that announce explicit VR and come in implicit VR occur, above all with compressed
        pixels; without two letters for the VR of the first element it is one of them.
        """
        said = cls.of(transfer_syntax_uid)
        vr = bytes(data[4:6])
        mistaken = said.explicit and said.little and len(vr) == 2 and not (vr.isalpha() and vr.isupper())
        return cls(explicit=False, little=True) if mistaken else said

    @property
    def order(self) -> str:
        """The byte order mark of `struct`."""
        return "<" if self.little else ">"


@dataclass(frozen=True, slots=True)
class Element:
    """One element: offsets in the buffer of its header, of its value, and of what follows it.

    `vr` is empty for implicit VR; `undefined` tells whether its length was undefined (then the value
    ends before the 8 bytes of its delimiter).
    """

    tag: int
    vr: bytes
    start: int
    value: int
    end: int
    undefined: bool

    @property
    def value_end(self) -> int:
        """The offset behind the value, before a sequence delimiter."""
        return self.end - 8 if self.undefined else self.end


def inflate(data: Buffer, cap_bytes: int) -> bytes:
    """Undo the deflated transfer syntax (PS3.5 A.5), giving up above `cap_bytes`.

    Raises EncodedError when the data is no deflate stream or would grow beyond the cap; what would grow so
    far is found out piece by piece, before any memory is taken for it.
    """
    if len(data) * _MOST_EXPANDED > cap_bytes:
        _measure(data, cap_bytes)
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = machine.decompress(data, cap_bytes + 1)
    except zlib.error as error:
        raise EncodedError("the deflated data set does not inflate") from error
    if len(plain) > cap_bytes:
        raise EncodedError(f"the deflated data set inflates to more than {cap_bytes} bytes")
    if not machine.eof:
        raise EncodedError("the deflated data set is cut off")
    return plain


def _measure(data: Buffer, cap_bytes: int) -> None:
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    total, left = 0, bytes(data)
    while left and not machine.eof and total <= cap_bytes:
        try:
            total += len(machine.decompress(left, _PIECE_BYTES))
        except zlib.error as error:
            raise EncodedError("the deflated data set does not inflate") from error
        left = machine.unconsumed_tail
    if total > cap_bytes:
        raise EncodedError(f"the deflated data set inflates to more than {cap_bytes} bytes")


def plain(data: Buffer, transfer_syntax_uid: str, cap_bytes: int) -> Buffer:
    """Return a data set as its elements lie in the bytes: inflated where its syntax is the deflated one."""
    return inflate(data, cap_bytes) if transfer_syntax_uid == DEFLATED else data


def deflate(pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """Encode the pieces of a data set for the deflated syntax, padded to even length (PS3.5 A.5)."""
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    total = 0
    for piece in pieces:
        packed = machine.compress(piece)
        total += len(packed)
        yield packed
    packed = machine.flush()
    yield packed + b"\0" * ((total + len(packed)) % 2)


def elements(data: Buffer, syntax: Syntax, start: int = 0, end: int | None = None) -> Iterator[Element]:
    """Walk the top-level elements in order; nested ones only where a length is undefined.

    Raises EncodedError at the first length that goes beyond the data, the first tag out of place and
    where sequences nest deeper than MAXIMUM_DEPTH.
    """
    end = len(data) if end is None else end
    offset = start
    while offset < end:
        element = _element(data, offset, end, syntax, 0)
        if element.tag >> 16 == 0xFFFE:
            raise EncodedError(f"an item stands outside of a sequence at byte {offset}")
        yield element
        offset = element.end


def items(data: Buffer, owner: Element, syntax: Syntax) -> Iterator[Element]:
    """Walk the items of a sequence, each as an element of the tag ITEM.

    Raises EncodedError where something else stands among them or a length goes beyond the sequence.
    """
    offset, end = owner.value, owner.value_end
    while offset < end:
        tag, _, length, value = header(data, offset, end, syntax)
        if tag != ITEM:
            raise EncodedError(f"{name(owner.tag)} holds {name(tag)} where an item belongs")
        undefined = length == UNDEFINED
        stop = _end_of_item(data, value, end, syntax, 1) if undefined else value + length
        if stop > end:
            raise EncodedError(
                f"an item of {name(owner.tag)} declares {length} bytes but {end - value} are left"
            )
        yield Element(ITEM, b"", offset, value, stop, undefined)
        offset = stop


def name(tag: int) -> str:
    """Write a tag as the standard does: (gggg,eeee)."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _element(data: Buffer, offset: int, end: int, syntax: Syntax, depth: int) -> Element:
    tag, vr, length, value = header(data, offset, end, syntax)
    if length != UNDEFINED:
        if value + length > end:
            raise EncodedError(f"{name(tag)} declares {length} bytes but {end - value} are left")
        return Element(tag, vr, offset, value, value + length, undefined=False)
    if depth >= MAXIMUM_DEPTH:
        raise EncodedError(f"{name(tag)} nests sequences deeper than {MAXIMUM_DEPTH}")
    # The content of UN with undefined length is implicit VR little endian (PS3.5 6.2.2, note 4).
    inner = Syntax(explicit=False, little=True) if vr == b"UN" else syntax
    stop = _end_of_items(data, value, end, inner, depth, name(tag))
    return Element(tag, vr, offset, value, stop, undefined=True)


def header(data: Buffer, offset: int, end: int, syntax: Syntax) -> tuple[int, bytes, int, int]:
    """Return tag, VR, length and offset of the value of the element at `offset`; raises EncodedError."""
    if offset + 8 > end:
        raise EncodedError(f"the data set ends within an element header at byte {offset}")
    head, long = _HEADERS[syntax.little]
    group, number, vr, length = head(data, offset)
    tag = group << 16 | number
    if syntax.explicit and group != 0xFFFE:
        if vr in SHORT_VRS:
            return tag, vr, length, offset + 8
        if not (vr.isalpha() and vr.isupper()):
            raise EncodedError(f"{name(tag)} has no value representation at byte {offset}")
        if offset + 12 > end:
            raise EncodedError(f"the data set ends within an element header at byte {offset}")
        return tag, vr, long(data, offset + 8)[0], offset + 12
    return tag, b"", long(data, offset + 4)[0], offset + 8


def _end_of_items(data: Buffer, offset: int, end: int, syntax: Syntax, depth: int, owner: str) -> int:
    """Return the offset behind the delimiter of a sequence (or of fragments) of undefined length."""
    while True:
        tag, _, length, value = header(data, offset, end, syntax)
        if tag == SEQUENCE_END:
            return value
        if tag != ITEM:
            raise EncodedError(f"{owner} holds {name(tag)} where an item belongs")
        if length == UNDEFINED:
            offset = _end_of_item(data, value, end, syntax, depth + 1)
        elif value + length > end:
            raise EncodedError(f"an item of {owner} declares {length} bytes but {end - value} are left")
        else:
            offset = value + length


def _end_of_item(data: Buffer, offset: int, end: int, syntax: Syntax, depth: int) -> int:
    while True:
        element = _element_or_delimiter(data, offset, end, syntax, depth)
        if element.tag == ITEM_END:
            return element.end
        offset = element.end


def _element_or_delimiter(data: Buffer, offset: int, end: int, syntax: Syntax, depth: int) -> Element:
    tag, vr, _, value = header(data, offset, end, syntax)
    if tag == ITEM_END:
        return Element(tag, vr, offset, value, value, undefined=False)
    return _element(data, offset, end, syntax, depth)
