"""What is classified and what is only passed on, with the reason; the first reason wins.

The list is that of Raffy et al. 2023 (images left out before classification). Decisions beyond it:

* Diffusion maps (ADC, trace, FA) are pictures of the anatomy and are classified; perfusion maps
  (CBF, CBV, MTT, Tmax ...) are not.
* DERIVED\\SECONDARY in Image Type says nothing about the content: reformats and anonymised copies
  carry it. Secondary capture is told by SOP class, or by Image Type values such as SCREEN SAVE.
* Radiographs (CR, DX, RG) have no plane, and are classified with 8 bits too: a film that was stored
  as JPEG is the same picture. A scanogram of legs or a bone survey is a radiograph like others, so
  words that name localizers, perfusion or flow are not asked for.
* Axial slabs (MPR, average, MIP of a few slices) are classified; rendered and rotating
  projections are not.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from pydicom import uid

from model.frames import ENHANCED
from model.geometry import normal, plane
from model.kinds import CAD, CALIBRATION, CAPTURE, KINDS, Kind
from model.radiographs import MODALITIES
from model.read import ImageHeader

Check = Callable[[ImageHeader], str | None]

MODELS: Final = frozenset({"CT", "MR"}) | MODALITIES
"""Modalities that have a model; the other modalities of images to come have none yet."""
LENGTHWISE: Final = frozenset({"MR"})
"""Modalities whose model knows sagittal and coronal images as well."""
MINIMUM_PIXELS: Final = 1000
_OF_FILMS: Final = (CALIBRATION, CAPTURE, CAD)
"""Kinds of series that radiographs may be of."""

_IMAGES: Final = ENHANCED | {
    uid.CTImageStorage,
    uid.MRImageStorage,
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
}
_SECONDARY_CAPTURE: Final = frozenset(
    {
        uid.SecondaryCaptureImageStorage,
        uid.MultiFrameSingleBitSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    }
)


def reason(header: ImageHeader) -> str | None:
    """Return why an image is only passed on, None where the model of its modality classifies it."""
    for check in CHECKS:
        found = check(header)
        if found is not None:
            return found
    return None


def _sop_class(header: ImageHeader) -> str | None:
    sop_class = header.sop_class_uid
    if sop_class in _SECONDARY_CAPTURE:
        return "secondary capture"
    if sop_class in _IMAGES:
        return None
    name = uid.UID(sop_class).name if sop_class else "none"
    return f"SOP class without a model: {name}"


def _modality(header: ImageHeader) -> str | None:
    if header.modality in MODELS:
        return None
    return f"no model for {header.modality} yet" if header.modality else "no modality"


def _kind(kind: Kind) -> Check:
    """Make a check that finds a kind of series by a value of Image Type or by a word of its names."""
    pattern = re.compile(rf"(?<![a-z0-9])(?:{'|'.join(kind.words)})(?![a-z0-9])")

    def check(header: ImageHeader) -> str | None:
        if header.modality in MODALITIES and kind not in _OF_FILMS:
            return None
        found = not kind.image_types.isdisjoint(header.image_type) or pattern.search(_names(header))
        return kind.reason if found else None

    return check


def _names(header: ImageHeader) -> str:
    """Return series description and sequence name in lower-case words.

    Protocol Name is left out: it names what was planned, and localizers of a CINE or PERFUSION
    protocol share it with all the anatomy series. It stands in where there is no description.
    """
    names = f"{header.series_description or header.protocol_name} | {header.sequence_name}"
    bare = unicodedata.normalize("NFKD", names).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9|]+", " ", bare)


def _cine_counter(header: ImageHeader) -> str | None:
    """More than one cardiac phase (0018,1090): a loop of one place, not a stack (MR only)."""
    return "cine" if header.modality == "MR" and header.cardiac_images > 1 else None


def _bits(header: ImageHeader) -> str | None:
    least = 8 if header.modality in MODALITIES else 9
    return "8 bits or fewer" if 0 < header.bits_stored < least else None


def _colour(header: ImageHeader) -> str | None:
    grey = header.photometric in ("MONOCHROME1", "MONOCHROME2", "")
    return None if grey and header.samples_per_pixel == 1 else "colour"


def _pixels(header: ImageHeader) -> str | None:
    if header.pixel_data_bytes == 0:
        return "no pixel data"
    if header.rows * header.columns < MINIMUM_PIXELS:
        return f"fewer than {MINIMUM_PIXELS} pixels"
    return None


def _frames(header: ImageHeader) -> str | None:
    """Frames of Enhanced objects are slices; others have no plane of their own, or cannot be read alone."""
    multi_frame = header.sop_class_uid in ENHANCED or header.frames > 1
    return "multi-frame object without slices" if multi_frame and header.frame is None else None


def _geometry(header: ImageHeader) -> str | None:
    if header.modality in MODALITIES:
        return None
    if header.orientation is None:
        return "no image orientation"
    if normal(header.orientation) is None:
        return "unusable image orientation"
    if plane(header.orientation) != "axial" and header.modality not in LENGTHWISE:
        return f"{plane(header.orientation)} plane"
    return "no image position" if header.position is None else None


CHECKS: Final[tuple[Check, ...]] = (
    _sop_class,
    _modality,
    *(_kind(kind) for kind in KINDS),
    _cine_counter,
    _bits,
    _colour,
    _pixels,
    _frames,
    _geometry,
)
"""One function per reason, in the order in which they are tried."""
