"""The relabelled copy of an instance: the received bytes with the declared elements changed, nothing else.

What changes and how it is recorded: PS3.3 C.12.1.1.9 (coercion keeps the UIDs), C.12.1 (Original
Attributes, Contributing Equipment), C.7.3.1 (Laterality), 10.5 (Anatomic Region), C.7.6.16.2.8 (Frame
Anatomy).
"""

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from db.records import DeliveryWork
from model.frames import ENHANCED
from node.relabelling import anatomy, derived, groups, tags
from node.relabelling.anatomy import text
from node.relabelling.coercion import NEW_SERIES, RELABELLED_MODALITIES, WRITE, Incoming, contradicts
from node.relabelling.encoded import DEFLATED, Buffer, Element, EncodedError, Syntax, deflate, plain
from node.relabelling.groups import Groups
from node.relabelling.part10 import meta_end
from node.relabelling.provenance import contributing_equipment, moment, original_attributes
from node.relabelling.splice import element, index, items_of, sequence, splice


@dataclass(frozen=True, slots=True)
class Modifier:
    """Who signs the changes."""

    ae_title: str
    maximum_inflated_bytes: int


@dataclass(frozen=True, slots=True)
class _Source:
    """A data set as it came: its bytes, where each element lies in them, and its functional groups."""

    data: Buffer
    found: Mapping[int, Element]
    groups: Groups | None
    syntax: Syntax

    def text(self, tag: int) -> str:
        """Return a value of the top level as text."""
        return text(self.data, self.found, tag)

    @property
    def enhanced(self) -> bool:
        """Tell whether anatomy belongs to the frames, as their functional groups or the SOP class say."""
        return self.groups is not None or self.text(tags.SOP_CLASS) in ENHANCED

    @property
    def lateralities(self) -> frozenset[str]:
        """All that is said of a side, of the series, the image or a frame; empty strings left out."""
        said = {self.text(tags.LATERALITY), self.text(tags.IMAGE_LATERALITY)}
        return frozenset(said | {each.laterality for each in self.anatomies}) - {""}

    @property
    def anatomies(self) -> tuple[anatomy.Anatomy, ...]:
        """What Frame Anatomy says of the frames that have one."""
        if self.groups is None:
            return ()
        return tuple(each for each in anatomy.anatomies(self.data, self.groups, self.syntax) if each)

    @property
    def codes(self) -> frozenset[str]:
        """The code values of all anatomic regions, of the image and of its frames."""
        image = anatomy.region_code(self.data, self.found, self.syntax)
        return frozenset({image, *(each.value for each in self.anatomies)}) - {""}


def read_incoming(path: Path, transfer_syntax_uid: str, cap_bytes: int) -> Incoming:
    """Read what one stored instance says of its body part; empty where it cannot be read."""
    try:
        source = _read(path, transfer_syntax_uid, cap_bytes)
        codes = source.codes
        part = source.text(tags.BODY_PART)
        parts = frozenset({part})
        if source.groups is not None and not part and codes:
            # An Enhanced object has its say in Frame Anatomy; one code for all frames is its term.
            parts = codes if len(codes) == 1 else frozenset()
        return Incoming(parts, source.lateralities or frozenset({""}), codes)
    except EncodedError:
        return Incoming(frozenset({""}), frozenset({""}))


def relabelled(work: DeliveryWork, source: Path, modifier: Modifier) -> list[Buffer] | None:
    """Return the relabelled copy of `source` in pieces, None where nothing changes.

    The first piece is preamble, prefix and meta information. What stays is not read: the pieces are views of
    the mapped file. The same work gives the same bytes at every attempt: all times, versions and UIDs come
    from the decision.
    """
    if work.policy not in (WRITE, NEW_SERIES) or work.term is None:
        return None
    try:
        original = _read(source, work.transfer_syntax_uid, modifier.maximum_inflated_bytes)
        changes = _changes(original, work, work.term, modifier.ae_title)
        if not changes:
            return None
        pieces = list(splice(original.data, original.found, changes, original.syntax))
    except EncodedError:
        return None  # what cannot be walked is passed on as it came
    body = deflate(pieces) if work.transfer_syntax_uid == DEFLATED else pieces
    return [_meta(source, work, modifier), *body]


def _read(path: Path, transfer_syntax_uid: str, cap_bytes: int) -> _Source:
    data = plain(_data_set(path), transfer_syntax_uid, cap_bytes)
    syntax = Syntax.found_in(data, transfer_syntax_uid)
    found = index(data, syntax)
    return _Source(data, found, groups.read(data, found, syntax), syntax)


def _changes(source: _Source, work: DeliveryWork, term: str, ae_title: str) -> dict[int, bytes | None]:
    """Return the elements that change, by tag; none where the instance is passed on as it came."""
    if _left_alone(source, work):
        return {}
    data, found, syntax = source.data, source.found, source.syntax
    changes: dict[int, bytes | None] = {}
    regions, types = groups.UNCHANGED, groups.UNCHANGED
    if source.text(tags.BODY_PART) != term or any(contradicts(value, term) for value in source.codes):
        if source.groups is not None:
            regions = anatomy.frame_changes(data, found, source.groups, work, syntax)
        changes |= _labels(source, work, term, regions)
    if work.policy == NEW_SERIES:
        changes |= derived.changes(data, found, source.enhanced, work, ae_title, syntax)
        if source.enhanced:
            types = derived.frame_changes(data, found, source.groups, syntax)
    if source.groups is not None:
        changes |= groups.rewritten(data, found, source.groups, regions.and_(types), syntax)
    return changes and changes | _records(source, changes, work, ae_title)


def _records(
    source: _Source, changes: Mapping[int, bytes | None], work: DeliveryWork, ae_title: str
) -> dict[int, bytes | None]:
    """Return the elements that tell of the changes."""
    data, found, syntax = source.data, source.found, source.syntax
    replaced = bool(source.text(tags.BODY_PART) or source.codes)
    modified = (
        items_of(data, found.get(tags.ORIGINAL_ATTRIBUTES)),
        original_attributes(data, found, changes, replaced, work, ae_title, syntax),
    )
    equipment = (
        items_of(data, found.get(tags.CONTRIBUTING_EQUIPMENT)),
        contributing_equipment(work, ae_title, syntax),
    )
    return {
        tags.INSTANCE_COERCION: element(tags.INSTANCE_COERCION, b"DT", moment(work), syntax),
        tags.CONTRIBUTING_EQUIPMENT: sequence(tags.CONTRIBUTING_EQUIPMENT, equipment, syntax),
        tags.ORIGINAL_ATTRIBUTES: sequence(tags.ORIGINAL_ATTRIBUTES, modified, syntax),
    }


def _left_alone(source: _Source, work: DeliveryWork) -> bool:
    """Tell whether an instance must not be changed, whatever its series is called."""
    found = source.found
    appended = tags.RECORDS | {tags.SOURCE_IMAGE, tags.SOURCE_EVIDENCE}
    return (
        tags.DIGITAL_SIGNATURES in found
        or source.text(tags.MODALITY) not in RELABELLED_MODALITIES
        # A late instance with a side, in a series whose term has none: for a person.
        or (not work.paired and not source.lateralities.isdisjoint({"L", "R"}))
        # Items inside UN are encoded otherwise; appending would mix the two.
        or any(found[tag].vr == b"UN" for tag in appended if tag in found)
    )


def _labels(
    source: _Source, work: DeliveryWork, term: str, regions: groups.GroupChanges
) -> dict[int, bytes | None]:
    """Return Body Part Examined, Anatomic Region Sequence and Laterality where they change."""
    found, syntax = source.found, source.syntax
    changes = _region(source, work)
    if source.text(tags.BODY_PART) != term:
        changes[tags.BODY_PART] = element(tags.BODY_PART, b"CS", term.encode("ascii"), syntax)
    frame_laterality = bool(source.anatomies) or regions.writes(tags.FRAME_ANATOMY)
    if work.paired and not (frame_laterality or {tags.LATERALITY, tags.IMAGE_LATERALITY} & found.keys()):
        changes[tags.LATERALITY] = element(tags.LATERALITY, b"CS", b"", syntax)
    if not work.paired and tags.LATERALITY in found:
        changes[tags.LATERALITY] = None
    return changes


def _region(source: _Source, work: DeliveryWork) -> dict[int, bytes | None]:
    """Return the image's Anatomic Region Sequence if it changes; an object with frames needs none."""
    data, found, syntax = source.data, source.found, source.syntax
    if source.enhanced and tags.ANATOMIC_REGION not in found:
        return {}
    place = anatomy.place_of(None if source.enhanced else work.image_region, work)
    if place is None:
        return {tags.ANATOMIC_REGION: None} if tags.ANATOMIC_REGION in found else {}
    if anatomy.says(data, found, place, syntax):
        return {}
    side = anatomy.side(data, found)
    return {tags.ANATOMIC_REGION: anatomy.region_sequence(place, side, syntax)}


def _meta(path: Path, work: DeliveryWork, modifier: Modifier) -> bytes:
    """Return preamble, prefix and meta information of a copy."""
    with path.open("rb") as file:
        head = file.read(meta_end(path))
    if work.policy == NEW_SERIES:
        return b"".join(derived.meta(head, work, modifier.ae_title))
    return head


def _data_set(path: Path) -> memoryview:
    """Map a stored file and return its data set, unread; the map is closed with its last view."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[meta_end(path) :]
