"""The plain values that go into and come out of the database: facts, routes, outcomes, work to deliver."""

from dataclasses import dataclass
from datetime import datetime

from rules.verdict import Verdict


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """One received file: `path` relative to the spool, `sha256` of its bytes as hexadecimal digits."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """What the headers say of a series, as received: `study_date` is the raw 'YYYYMMDD', or empty."""

    study_instance_uid: str
    series_instance_uid: str
    modality: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    study_description: str
    series_description: str
    incoming_body_part: str
    incoming_laterality: str
    calling_ae_title: str
    manufacturer: str
    frame_of_reference_uid: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A configured destination and its policy: `always`, `when_missing_or_wrong` or `never` relabel.

    `correction_id`: the copies follow this correction, not the verdict.
    """

    destination: str
    policy: str
    correction_id: int | None = None


@dataclass(frozen=True, slots=True)
class FrameResult:
    """What was found in one frame of a multi-frame object; the fields are those of an image."""

    region: str | None
    confidence: float | None
    position_mm: float | None
    reason: str | None
    z_mm: float | None = None


@dataclass(frozen=True, slots=True)
class ImageResult:
    """What was found in one image; `reason` says why it was only passed on, None if it was classified.

    `confidence` is 0..1, `position_mm` lies along the normal of the image plane, towards the head; `z_mm` is
    the height of the image's centre in the patient coordinate system. `frames` has one result for each frame
    of a multi-frame object, in its order, and is empty for other images.
    """

    sop_instance_uid: str
    region: str | None
    confidence: float | None
    position_mm: float | None
    reason: str | None
    frames: tuple[FrameResult, ...] = ()
    z_mm: float | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    """What one look at a CT series as a whole said.

    `part` is one of model.series_labels.PARTS, None in doubt, `second` the next likeliest; `contrast` `with`,
    `without` or None in doubt; `axis` axial, coronal or sagittal, by the geometry or the network
    (`axis_from`). Confidences are 0..1. `contradicts`: the network saw another axis than the geometry says.
    """

    part: str | None
    part_confidence: float
    second: str
    second_confidence: float
    axis: str
    axis_from: str
    seen_axis: str
    seen_axis_confidence: float
    contradicts: bool
    contrast: str | None
    contrast_confidence: float
    weights_digest: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the worker found in a series; `reason` says why there is no verdict, None if there is one.

    `whole` is what a CT series is as a whole, None for others.
    """

    verdict: Verdict | None
    images: tuple[ImageResult, ...]
    reason: str | None
    weights_digest: str | None
    software_version: str
    whole: Whole | None = None


@dataclass(frozen=True, slots=True)
class DeliveryWork:
    """One instance to be sent to one destination, with all that relabelling needs.

    Everything from `decided_at` on is stored once, with the verdict, so that each attempt makes the
    same bytes. `attempts` and `armed_at` count from the last time the delivery was (re-)armed; the age
    of a delivery is measured from `armed_at`. `term`, the code and `paired` are the series', `image_region`
    is this image's region key, `frame_regions` those of its frames (empty where it has none). With a
    `correction_id` all of them are those of that correction.
    """

    delivery_id: int
    series_id: int
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: str
    policy: str
    attempts: int
    armed_at: datetime
    decided_at: datetime
    term: str | None
    code_value: str | None
    code_meaning: str | None
    paired: bool
    confidence: float | None
    image_region: str | None
    weights_digest: str | None
    software_version: str
    frame_regions: tuple[str | None, ...] = ()
    correction_id: int | None = None
