"""The encoded data set at every level: how deep, how many elements, and where the wanted ones lie.

Walked once, without recursion, before anything else parses it. What pydicom does with sequences that nest
without limit, or with millions of elements, is no concern of the receiver's then. Source: PS3.5 7.1, 7.5.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from pydicom._dicom_dict import DicomDictionary

from node.relabelling.encoded import (
    ITEM,
    ITEM_END,
    MAXIMUM_DEPTH,
    SEQUENCE_END,
    UNDEFINED,
    Buffer,
    Element,
    EncodedError,
    Syntax,
    header,
    name,
)

MAXIMUM_ELEMENTS: Final = 2_000_000
"""At all levels; an Enhanced object of 20,000 frames has two thirds of it."""

_PIXEL_DATA: Final = 0x7FE00010
_FRAGMENTED: Final = frozenset((b"OB", b"OW", b"OF", b"OD", b"OL", b"OV"))
_SEQUENCES: Final = frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")
_IMPLICIT: Final = Syntax(explicit=False, little=True)


class TooMuchError(EncodedError):
    """The data set nests too deeply or has too many elements."""


@dataclass(slots=True)
class _Level:
    """A data set, an item's content, or a sequence (`items`); `end` is where it must have ended."""

    end: int
    syntax: Syntax
    items: bool = False
    undefined: bool = False
    fragments: bool = False
    tag: int = 0


def walk(data: Buffer, syntax: Syntax, wanted: Collection[int]) -> dict[int, Element]:
    """Return the wanted elements of the top level, by tag.

    Raises EncodedError at the first length that goes beyond the data and the first tag out of place; within a
    sequence of defined length that is taken as it is, as some writers are careless there. Raises TooMuchError
    where sequences nest deeper than MAXIMUM_DEPTH or there are more than MAXIMUM_ELEMENTS elements.
    """
    found: dict[int, Element] = {}
    levels = [_Level(len(data), syntax)]
    offset = 0
    for _ in range(MAXIMUM_ELEMENTS):
        try:
            while offset >= levels[-1].end and len(levels) > 1:
                offset = _left(levels, offset)
            if offset >= levels[0].end:
                return found
            offset = _step(data, levels, offset, wanted, found)
        except TooMuchError:
            raise
        except EncodedError as error:
            offset = _skipped(levels, error)
    raise TooMuchError(f"the data set has more than {MAXIMUM_ELEMENTS} elements")


def _step(
    data: Buffer, levels: list[_Level], offset: int, wanted: Collection[int], found: dict[int, Element]
) -> int:
    """Read one header; return where the next one lies."""
    level = levels[-1]
    tag, vr, length, value = header(data, offset, level.end, level.syntax)
    if level.items:
        return _item(levels, tag, length, value)
    if level.undefined and tag == ITEM_END:
        levels.pop()
        return value
    if tag >> 16 == 0xFFFE:
        raise EncodedError(f"an item stands outside of a sequence at byte {offset}")
    undefined = length == UNDEFINED
    end = level.end if undefined else value + length
    if end > level.end:
        raise EncodedError(f"{name(tag)} declares {length} bytes but {level.end - value} are left")
    if len(levels) == 1 and tag in wanted:
        found[tag] = Element(tag, vr, offset, value, end, undefined)
    if not undefined and not (length and _is_sequence(tag, vr)):
        return end
    if len(levels) >= 2 * MAXIMUM_DEPTH:
        raise TooMuchError(f"{name(tag)} nests sequences deeper than {MAXIMUM_DEPTH}")
    fragments = undefined and (vr in _FRAGMENTED or tag == _PIXEL_DATA)
    inner = _IMPLICIT if vr == b"UN" else level.syntax  # PS3.5 6.2.2, note 4
    levels.append(_Level(end, inner, True, undefined, fragments, tag))
    return value


def _item(levels: list[_Level], tag: int, length: int, value: int) -> int:
    level = levels[-1]
    if level.undefined and tag == SEQUENCE_END:
        levels.pop()
        return value
    if tag != ITEM:
        raise EncodedError(f"{name(level.tag)} holds {name(tag)} where an item belongs")
    undefined = length == UNDEFINED
    end = level.end if undefined else value + length
    if end > level.end or (undefined and level.fragments):
        raise EncodedError(
            f"an item of {name(level.tag)} declares {length} bytes but {level.end - value} are left"
        )
    if level.fragments:
        return end
    levels.append(_Level(end, level.syntax, undefined=undefined, tag=level.tag))
    return value


def _left(levels: list[_Level], offset: int) -> int:
    """Leave a level at its end; one of undefined length must have been ended by its delimiter."""
    level = levels[-1]
    if level.undefined:
        raise EncodedError(f"the data set ends within an element header at byte {offset}")
    levels.pop()
    return level.end


def _skipped(levels: list[_Level], error: EncodedError) -> int:
    """Go on behind the outermost sequence of defined length; raise again where there is none."""
    for index, level in enumerate(levels):
        if level.items and not level.undefined:
            del levels[index:]
            return level.end
    raise error


def _is_sequence(tag: int, vr: bytes) -> bool:
    return vr == b"SQ" or (vr in (b"", b"UN") and tag in _SEQUENCES)
