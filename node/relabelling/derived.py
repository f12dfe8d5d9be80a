"""Copies as a series of their own, for archives that hold the originals too: new UIDs and their sources.

Source: PS3.3 C.7.6.1.1.2 (Image Type), C.12.4.1 (Source Image Sequence), PS3.5 B.2 (UUID-derived UIDs).
"""

from collections.abc import Iterator, Mapping
from typing import Final

from pydicom.uid import EnhancedMRColorImageStorage, EnhancedMRImageStorage

from db.records import DeliveryWork
from node.relabelling import tags
from node.relabelling.anatomy import text
from node.relabelling.encoded import Buffer, Element, EncodedError, Syntax
from node.relabelling.groups import GroupChanges, Groups
from node.relabelling.part10 import PREFIX_BYTES
from node.relabelling.provenance import code
from node.relabelling.splice import element, first_item, index, item, items_of, sequence, splice
from node.relabelling.uids import named_uid

DESCRIPTION: Final = b"Body part attributes corrected; the pixel data are those of the source image"

DERIVATION: Final = ("RELABEL", "99BODYTAG", "Body part attributes corrected, pixel data unchanged")
"""The code of the derivation of frames: CID 7203, which may be extended, has none for it."""


def new_uid(original: str, work: DeliveryWork, ae_title: str) -> str:
    """Return the UID of what a decision makes of a series or an instance: the same at every attempt.

    Another decision makes other content, and so other UIDs.
    """
    decision = (ae_title, work.decided_at.isoformat(), work.term, work.weights_digest, work.software_version)
    return named_uid(original, *decision)


def changes(
    data: Buffer,
    found: Mapping[int, Element],
    has_frames: bool,
    work: DeliveryWork,
    ae_title: str,
    syntax: Syntax,
) -> dict[int, bytes | None]:
    """Return what makes an instance one of the new series; frames name their sources themselves."""
    instance = new_uid(text(data, found, tags.SOP_INSTANCE), work, ae_title)
    series = new_uid(text(data, found, tags.SERIES_INSTANCE), work, ae_title)
    new: dict[int, bytes | None] = {
        tags.SOP_INSTANCE: element(tags.SOP_INSTANCE, b"UI", instance.encode("ascii"), syntax),
        tags.SERIES_INSTANCE: element(tags.SERIES_INSTANCE, b"UI", series.encode("ascii"), syntax),
    }
    if not _keeps_type(data, found):
        image_type = _derived(text(data, found, tags.IMAGE_TYPE))
        new[tags.IMAGE_TYPE] = element(tags.IMAGE_TYPE, b"CS", image_type, syntax)
    if has_frames:
        evidence = items_of(data, found.get(tags.SOURCE_EVIDENCE)), _evidence(data, found, syntax)
        new[tags.SOURCE_EVIDENCE] = sequence(tags.SOURCE_EVIDENCE, evidence, syntax)
    else:
        sources = items_of(data, found.get(tags.SOURCE_IMAGE)), _source_image(data, found, syntax)
        new[tags.SOURCE_IMAGE] = sequence(tags.SOURCE_IMAGE, sources, syntax)
        new[tags.DERIVATION_DESCRIPTION] = _description(syntax)
    # When and by whom the source was created does not hold for the copy.
    creation = (tags.INSTANCE_CREATION_DATE, tags.INSTANCE_CREATION_TIME, tags.INSTANCE_CREATOR)
    return new | {tag: None for tag in creation if tag in found}


def frame_changes(
    data: Buffer, found: Mapping[int, Element], groups: Groups | None, syntax: Syntax
) -> GroupChanges:
    """Return what makes the frames derived ones (PS3.3 C.7.6.16.2.6): their type, and their source.

    Raises EncodedError where there are no functional groups to hold it.
    """
    if groups is None:
        raise EncodedError("an Enhanced object without functional groups is not made anew")
    own = any(tags.DERIVATION_IMAGE in frame.found for frame in groups.frames)
    keeps = _keeps_type(data, found)
    shared = {} if groups.shared is None or keeps else _types(data, groups.shared.found, syntax)
    frames = [{} if keeps else _types(data, frame.found, syntax) for frame in groups.frames]
    if own:
        for number, (frame, new) in enumerate(zip(groups.frames, frames, strict=True), 1):
            new[tags.DERIVATION_IMAGE] = _derivation(data, found, frame.found, syntax, number)
    else:
        before = {} if groups.shared is None else groups.shared.found
        shared[tags.DERIVATION_IMAGE] = _derivation(data, found, before, syntax)
    return GroupChanges(shared, tuple(frames))


def meta(head: bytes, work: DeliveryWork, ae_title: str) -> Iterator[Buffer]:
    """Yield preamble, prefix and meta information with the new SOP Instance UID."""
    plain = Syntax(explicit=True, little=True)
    yield head[:PREFIX_BYTES]
    data = head[PREFIX_BYTES:]
    found = index(data, plain)
    instance = new_uid(text(data, found, tags.MEDIA_INSTANCE), work, ae_title)
    new = element(tags.MEDIA_INSTANCE, b"UI", instance.encode("ascii"), plain)
    yield from splice(data, found, {tags.MEDIA_INSTANCE: new}, plain)


def _keeps_type(data: Buffer, found: Mapping[int, Element]) -> bool:
    """Enhanced MR objects that are not ORIGINAL must not tell how they were acquired (PS3.3 C.8.13.4)."""
    return text(data, found, tags.SOP_CLASS) in (EnhancedMRImageStorage, EnhancedMRColorImageStorage)


def _derived(image_type: str) -> bytes:
    """Return an Image Type or Frame Type with DERIVED as its first value, two values at least."""
    return "\\".join(["DERIVED", *(image_type.split("\\")[1:] or ["PRIMARY"])]).encode("latin-1")


def _types(data: Buffer, found: Mapping[int, Element], syntax: Syntax) -> dict[int, bytes | None]:
    """Return the functional groups that hold a Frame Type, made DERIVED."""
    new: dict[int, bytes | None] = {}
    for tag in (tags.CT_FRAME_TYPE, tags.MR_FRAME_TYPE):
        one = first_item(data, found.get(tag), syntax)
        if one is None:
            continue
        inner = index(data, syntax, one)
        value = element(tags.FRAME_TYPE, b"CS", _derived(text(data, inner, tags.FRAME_TYPE)), syntax)
        content = [bytes(piece) for piece in splice(data, inner, {tags.FRAME_TYPE: value}, syntax, one)]
        new[tag] = sequence(tag, [item(content, syntax)], syntax)
    return new


def _derivation(
    data: Buffer,
    found: Mapping[int, Element],
    before: Mapping[int, Element],
    syntax: Syntax,
    frame_number: int | None = None,
) -> bytes:
    """Encode Derivation Image Sequence: the items that are there, and one that names the object as source.

    Raises EncodedError where those are encoded as UN, to which none can be appended.
    """
    old = before.get(tags.DERIVATION_IMAGE)
    if old is not None and old.vr == b"UN":
        raise EncodedError("Derivation Image is no sequence")
    source = sequence(tags.SOURCE_IMAGE, [_source_image(data, found, syntax, frame_number)], syntax)
    how = sequence(tags.DERIVATION_CODE, [code(*DERIVATION, syntax)], syntax)
    new = item((_description(syntax), source, how), syntax)
    return sequence(tags.DERIVATION_IMAGE, (items_of(data, old), new), syntax)


def _description(syntax: Syntax) -> bytes:
    return element(tags.DERIVATION_DESCRIPTION, b"ST", DESCRIPTION, syntax)


def _evidence(data: Buffer, found: Mapping[int, Element], syntax: Syntax) -> bytes:
    """Encode one item of Source Image Evidence Sequence: the object in its series and study (C.17.2.1)."""

    def copied(new: int, old: int) -> bytes:
        return element(new, b"UI", text(data, found, old).encode("latin-1"), syntax)

    instance = item((copied(0x00081150, tags.SOP_CLASS), copied(0x00081155, tags.SOP_INSTANCE)), syntax)
    instances = sequence(0x00081199, [instance], syntax)
    series = item((instances, copied(tags.SERIES_INSTANCE, tags.SERIES_INSTANCE)), syntax)
    study = copied(tags.STUDY_INSTANCE, tags.STUDY_INSTANCE)
    return item((sequence(0x00081115, [series], syntax), study), syntax)


def _source_image(
    data: Buffer, found: Mapping[int, Element], syntax: Syntax, frame_number: int | None = None
) -> bytes:
    purpose = code("121322", "DCM", "Source image for image processing operation", syntax)
    content = [
        element(0x00081150, b"UI", text(data, found, tags.SOP_CLASS).encode("latin-1"), syntax),
        element(0x00081155, b"UI", text(data, found, tags.SOP_INSTANCE).encode("latin-1"), syntax),
        element(0x0028135A, b"CS", b"YES", syntax),
        sequence(0x0040A170, [purpose], syntax),
    ]
    if frame_number is not None:
        content.insert(2, element(0x00081160, b"IS", str(frame_number).encode("ascii"), syntax))
    return item(content, syntax)
