"""Copies as a series of their own, for archives that hold the originals too: new UIDs and their sources.

Source: PS3.3 C.7.6.1.1.2 (Image Type), C.12.4.1 (Source Image Sequence), PS3.5 B.2 (UUID-derived UIDs).
"""

from collections.abc import Iterator, Mapping
from typing import Final

from db.records import DeliveryWork
from node import tags
from node.anatomy import text
from node.encoded import Buffer, Element, EncodedError, Syntax
from node.groups import Groups
from node.provenance import code
from node.splice import element, index, item, items_of, sequence, splice
from node.uids import named_uid

DESCRIPTION: Final = b"Body part told from the pixels; the pixel data are those of the source image"

_PREFIX_BYTES: Final = 132
_MEDIA_STORAGE_INSTANCE: Final = 0x00020003


def new_uid(original: str, work: DeliveryWork, ae_title: str) -> str:
    """Return the UID of what a decision makes of a series or an instance: the same at every attempt.

    Another decision makes other content, and so other UIDs.
    """
    decision = (ae_title, work.decided_at.isoformat(), work.term, work.weights_digest, work.software_version)
    return named_uid(original, *decision)


def changes(
    data: Buffer,
    found: Mapping[int, Element],
    groups: Groups | None,
    work: DeliveryWork,
    ae_title: str,
    syntax: Syntax,
) -> dict[int, bytes | None]:
    """Return what makes an instance one of the new series.

    Raises EncodedError for Enhanced objects: their frames would have to be derived one by one.
    """
    if groups is not None:
        raise EncodedError("a multi-frame object is not made anew")
    instance = new_uid(text(data, found, tags.SOP_INSTANCE), work, ae_title)
    series = new_uid(text(data, found, tags.SERIES_INSTANCE), work, ae_title)
    sources = items_of(data, found.get(tags.SOURCE_IMAGE)), _source_image(data, found, syntax)
    new: dict[int, bytes | None] = {
        tags.IMAGE_TYPE: element(tags.IMAGE_TYPE, b"CS", _image_type(data, found), syntax),
        tags.SOP_INSTANCE: element(tags.SOP_INSTANCE, b"UI", instance.encode("ascii"), syntax),
        tags.DERIVATION_DESCRIPTION: element(tags.DERIVATION_DESCRIPTION, b"ST", DESCRIPTION, syntax),
        tags.SOURCE_IMAGE: sequence(tags.SOURCE_IMAGE, sources, syntax),
        tags.SERIES_INSTANCE: element(tags.SERIES_INSTANCE, b"UI", series.encode("ascii"), syntax),
    }
    # When and by whom the source was created does not hold for the copy.
    creation = (tags.INSTANCE_CREATION_DATE, tags.INSTANCE_CREATION_TIME, tags.INSTANCE_CREATOR)
    return new | {tag: None for tag in creation if tag in found}


def meta(head: bytes, work: DeliveryWork, ae_title: str) -> Iterator[Buffer]:
    """Yield preamble, prefix and meta information with the new SOP Instance UID."""
    plain = Syntax(explicit=True, little=True)
    yield head[:_PREFIX_BYTES]
    data = head[_PREFIX_BYTES:]
    found = index(data, plain)
    instance = new_uid(text(data, found, _MEDIA_STORAGE_INSTANCE), work, ae_title)
    new = element(_MEDIA_STORAGE_INSTANCE, b"UI", instance.encode("ascii"), plain)
    yield from splice(data, found, {_MEDIA_STORAGE_INSTANCE: new}, plain)


def _image_type(data: Buffer, found: Mapping[int, Element]) -> bytes:
    values = text(data, found, tags.IMAGE_TYPE).split("\\")
    return "\\".join(["DERIVED", *(values[1:] or ["PRIMARY"])]).encode("latin-1")


def _source_image(data: Buffer, found: Mapping[int, Element], syntax: Syntax) -> bytes:
    purpose = code("121322", "DCM", "Source image for image processing operation", syntax)
    return item(
        (
            element(0x00081150, b"UI", text(data, found, tags.SOP_CLASS).encode("latin-1"), syntax),
            element(0x00081155, b"UI", text(data, found, tags.SOP_INSTANCE).encode("latin-1"), syntax),
            element(0x0028135A, b"CS", b"YES", syntax),
            sequence(0x0040A170, [purpose], syntax),
        ),
        syntax,
    )
