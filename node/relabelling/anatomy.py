"""Anatomic regions as they stand in a data set: of an image, and of each frame of an Enhanced object.

Source: PS3.3 10.5 (General Anatomy), C.7.6.16.2.8 (Frame Anatomy), PS3.16 CID 244 (laterality).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from db.records import DeliveryWork
from model.radiographs import BY_KEY as PARTS
from model.regions import BY_KEY
from node.relabelling import tags
from node.relabelling.encoded import Buffer, Element, EncodedError, Syntax, items
from node.relabelling.groups import UNCHANGED, GroupChanges, Groups
from node.relabelling.provenance import code
from node.relabelling.splice import element, first_item, index, item, sequence, splice

SIDES: Final = {"L": ("7771000", "Left"), "R": ("24028007", "Right"), "B": ("51440002", "Bilateral")}


@dataclass(frozen=True, slots=True)
class Place:
    """A region as a code of SNOMED CT, and whether it is one of a pair."""

    value: str
    meaning: str
    paired: bool


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What Frame Anatomy says: Frame Laterality (R, L, U, B), and code and meaning of the region."""

    laterality: str
    value: str
    meaning: str = ""


def text(data: Buffer, found: Mapping[int, Element], tag: int) -> str:
    """Return a value as text without its padding, "" where it is missing."""
    each = found.get(tag)
    if each is None:
        return ""
    return bytes(data[each.value : each.value_end]).decode("latin-1").strip("\0 ")


def side(data: Buffer, found: Mapping[int, Element]) -> str:
    """Return the side that a data set gives, L, R or B; "" where it gives none. It is never guessed."""
    image, series = text(data, found, tags.IMAGE_LATERALITY), text(data, found, tags.LATERALITY)
    if image:
        return image if image in SIDES else ""
    return series if series in ("L", "R") else ""


def region_code(data: Buffer, found: Mapping[int, Element], syntax: Syntax) -> str:
    """Return the code value of the first item of Anatomic Region Sequence, "" where there is none."""
    one = first_item(data, found.get(tags.ANATOMIC_REGION), syntax)
    return "" if one is None else text(data, index(data, syntax, one), tags.CODE_VALUE)


def says(data: Buffer, found: Mapping[int, Element], place: Place, syntax: Syntax) -> bool:
    """Tell whether Anatomic Region Sequence holds one item, and that with this code."""
    owner = found.get(tags.ANATOMIC_REGION)
    if first_item(data, owner, syntax) is None or owner is None:
        return False
    return len(list(items(data, owner, syntax))) == 1 and region_code(data, found, syntax) == place.value


def place_of(region: str | None, work: DeliveryWork) -> Place | None:
    """Return the place of a region's key or, where that is not known, that of the series."""
    known = BY_KEY.get(region or "") or PARTS.get(region or "")
    if known is not None:
        return Place(known.code.value, known.code.meaning, known.paired)
    if work.code_value is None or work.code_meaning is None:
        return None
    return Place(work.code_value, work.code_meaning, work.paired)


def region_sequence(place: Place, side: str, syntax: Syntax) -> bytes:
    """Encode Anatomic Region Sequence (0008,2218): one item, with the side where it is known and applies."""
    more: tuple[bytes, ...] = ()
    if place.paired and side in SIDES:
        modifier = code(SIDES[side][0], "SCT", SIDES[side][1], syntax)
        more = (sequence(tags.ANATOMIC_REGION_MODIFIER, [modifier], syntax),)
    return sequence(tags.ANATOMIC_REGION, [code(place.value, "SCT", place.meaning, syntax, *more)], syntax)


def anatomies(data: Buffer, groups: Groups, syntax: Syntax) -> Iterator[Anatomy | None]:
    """Yield what Frame Anatomy says of each frame, shared or its own; None where there is none."""
    for frame in range(len(groups.frames)):
        owner = groups.of(frame, tags.FRAME_ANATOMY)
        if owner is not None and owner.vr not in (b"SQ", b""):
            raise EncodedError("Frame Anatomy is no sequence")
        one = first_item(data, owner, syntax)
        if one is None:
            yield None
            continue
        found = index(data, syntax, one)
        yield Anatomy(text(data, found, tags.FRAME_LATERALITY), region_code(data, found, syntax))


def frame_changes(
    data: Buffer, found: Mapping[int, Element], groups: Groups, work: DeliveryWork, syntax: Syntax
) -> GroupChanges:
    """Return the changes of the shared item and of each frame's that make Frame Anatomy say the verdict.

    Shared where all frames say the same, else per frame. Nothing changes where it says so already, and
    where a paired region has no side and no Frame Anatomy that gave one: Frame Laterality has no value
    for "not known".
    """
    before = list(anatomies(data, groups, syntax))
    known = work.frame_regions if len(work.frame_regions) == len(before) else (None,) * len(before)
    given = side(data, found)
    wanted = [_wanted(old, region, work, given) for old, region in zip(before, known, strict=True)]
    unchanged = [
        old == (new and Anatomy(new.laterality, new.value)) for old, new in zip(before, wanted, strict=True)
    ]
    if all(unchanged) or None in wanted:
        return UNCHANGED
    encoded = [
        _frame_anatomy(data, groups.of(frame, tags.FRAME_ANATOMY), new, syntax)
        for frame, new in enumerate(wanted)
        if new is not None
    ]
    own = [tags.FRAME_ANATOMY in group.found for group in groups.frames]
    if len(set(encoded)) == 1:
        return GroupChanges(
            {tags.FRAME_ANATOMY: encoded[0]}, tuple({tags.FRAME_ANATOMY: None} if has else {} for has in own)
        )
    shared = groups.shared is not None and tags.FRAME_ANATOMY in groups.shared.found
    return GroupChanges(
        {tags.FRAME_ANATOMY: None} if shared else {}, tuple({tags.FRAME_ANATOMY: each} for each in encoded)
    )


def _wanted(old: Anatomy | None, region: str | None, work: DeliveryWork, given: str) -> Anatomy | None:
    """Return what a frame's anatomy is to say: its own region if a side fits to it, else the series'."""
    said = "" if old is None else old.laterality
    for place in (place_of(region, work), place_of(None, work)):
        if place is not None and (laterality := _laterality(place.paired, said, given)):
            return Anatomy(laterality, place.value, place.meaning)
    own = place_of(region, work)
    return Anatomy(said, own.value, own.meaning) if said and own is not None else None


def _laterality(paired: bool, said: str, given: str) -> str:
    """Return the Frame Laterality that fits to a region, "" where none is known that does."""
    if not paired:
        return "" if said in ("L", "R") else "U"
    return said if said in SIDES else given


def _frame_anatomy(data: Buffer, old: Element | None, new: Anatomy, syntax: Syntax) -> bytes:
    """Encode Frame Anatomy Sequence; what else the old item holds is kept."""
    place = Place(new.value, new.meaning, paired=False)
    changes = {
        tags.FRAME_LATERALITY: element(
            tags.FRAME_LATERALITY, b"CS", new.laterality.encode("latin-1"), syntax
        ),
        tags.ANATOMIC_REGION: region_sequence(place, "", syntax),
    }
    one = first_item(data, old, syntax)
    if one is None:
        content = [changes[tags.ANATOMIC_REGION], changes[tags.FRAME_LATERALITY]]
    else:
        content = [bytes(piece) for piece in splice(data, index(data, syntax, one), changes, syntax, one)]
    return sequence(tags.FRAME_ANATOMY, [item(content, syntax)], syntax)
