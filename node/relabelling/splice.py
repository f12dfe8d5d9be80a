"""Elements of a data set replaced, inserted and removed in its encoded bytes; all others stay as they are."""

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from node.relabelling.encoded import ITEM, SHORT_VRS, Buffer, Element, EncodedError, Syntax, elements, items

LENGTH_TO_END: Final = 0x00080001
_LONGEST_SHORT: Final = 0xFFFE


def element(tag: int, vr: bytes, value: bytes, syntax: Syntax) -> bytes:
    """Encode one element with a defined length, its value padded to even length (PS3.5 7.1)."""
    if len(value) % 2:
        value += b"\0" if vr in (b"UI", b"OB", b"UN") else b" "
    head = struct.pack(f"{syntax.order}HH", tag >> 16, tag & 0xFFFF)
    if not syntax.explicit:
        return head + struct.pack(f"{syntax.order}I", len(value)) + value
    if vr not in SHORT_VRS:
        return head + vr + struct.pack(f"{syntax.order}HI", 0, len(value)) + value
    if len(value) > _LONGEST_SHORT:
        raise EncodedError(f"a value of {len(value)} bytes does not fit {vr.decode()}")
    return head + vr + struct.pack(f"{syntax.order}H", len(value)) + value


def item(content: Iterable[bytes], syntax: Syntax) -> bytes:
    """Encode one item of a sequence with a defined length (PS3.5 7.5)."""
    body = b"".join(content)
    return struct.pack(f"{syntax.order}HHI", ITEM >> 16, ITEM & 0xFFFF, len(body)) + body


def sequence(tag: int, items: Iterable[bytes], syntax: Syntax) -> bytes:
    """Encode a sequence of already encoded items."""
    return element(tag, b"SQ", b"".join(items), syntax)


def first_item(data: Buffer, owner: Element | None, syntax: Syntax) -> Element | None:
    """Return the first item of a sequence, None where there is none or the sequence is encoded as UN."""
    if owner is None or owner.vr not in (b"SQ", b""):
        return None
    return next(items(data, owner, syntax), None)


def rewrapped(data: Buffer, old: Element, content: bytes, syntax: Syntax) -> bytes:
    """Encode new content of a sequence or an item, its length defined or undefined as the old one was."""
    if old.undefined:
        return bytes(data[old.start : old.value]) + content + bytes(data[old.end - 8 : old.end])
    return item((content,), syntax) if old.tag == ITEM else sequence(old.tag, (content,), syntax)


def items_of(data: Buffer, found: Element | None) -> bytes:
    """Return the encoded items of an existing sequence as they are, b"" where there is none."""
    return b"" if found is None else bytes(data[found.value : found.value_end])


def index(data: Buffer, syntax: Syntax, inside: Element | None = None) -> dict[int, Element]:
    """Return the top-level elements, or those of an item, by tag.

    Raises EncodedError when they are not in ascending order.
    """
    found: dict[int, Element] = {}
    last = -1
    start, end = (0, None) if inside is None else (inside.value, inside.value_end)
    for each in elements(data, syntax, start, end):
        if each.tag <= last:
            raise EncodedError("the elements are not in ascending order")
        last = each.tag
        found[each.tag] = each
    return found


def splice(
    data: Buffer,
    found: Mapping[int, Element],
    changes: Mapping[int, bytes | None],
    syntax: Syntax,
    inside: Element | None = None,
) -> Iterator[Buffer]:
    """Yield the new data set, or content of an item, in pieces.

    `changes` holds encoded elements by tag, None to remove one. Untouched runs are slices of `data`, so
    memory does not grow with the pixel data. Group lengths (gggg,0000) and Length to End (0008,0001),
    retired but still met, follow the change.
    """
    view = memoryview(data)
    changes = {**changes, **_lengths(data, found, changes, syntax)}
    position, last = (0, len(data)) if inside is None else (inside.value, inside.value_end)
    tags = sorted(found)
    for tag in sorted(changes):
        start = found[tag].start if tag in found else _insertion(found, tags, tag, last)
        yield view[position:start]
        yield changes[tag] or b""
        position = found[tag].end if tag in found else start
    yield view[position:last]


def _insertion(found: Mapping[int, Element], tags: list[int], tag: int, end: int) -> int:
    return next((found[other].start for other in tags if other > tag), end)


def _lengths(
    data: Buffer, found: Mapping[int, Element], changes: Mapping[int, bytes | None], syntax: Syntax
) -> dict[int, bytes]:
    """Return the elements that tell how long their group, or the rest of the data set, is."""
    grown: dict[int, int] = {}
    for tag, new in changes.items():
        old = found[tag].end - found[tag].start if tag in found else 0
        delta = len(new or b"") - old
        for teller in (tag >> 16 << 16, LENGTH_TO_END):
            grown[teller] = grown.get(teller, 0) + delta
    patched: dict[int, bytes] = {}
    for teller, delta in grown.items():
        length = found.get(teller)
        if length is not None and length.end - length.value == 4:
            (value,) = struct.unpack_from(f"{syntax.order}I", data, length.value)
            total = struct.pack(f"{syntax.order}I", max(0, min(value + delta, 0xFFFFFFFF)))
            patched[teller] = element(teller, b"UL", total, syntax)
    return patched
