"""The report on a series: Comprehensive 3D SR, TID 1500, one measurement group for each range of a region.

Source: PS3.3 A.35.13, PS3.16 TID 1500, TID 1501, TID 4019 (algorithm identification). Only the worker makes
reports, so highdicom is loaded there alone.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from db.records import Outcome
from model.attributes import BROKEN
from model.radiographs import MODALITIES
from model.read import ImageHeader
from node import facts
from node.relabelling import report_whole
from node.relabelling.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.relabelling.ranges import Range, Slice, ranges
from node.relabelling.uids import named_uid

if TYPE_CHECKING:
    from highdicom.sr import (
        Comprehensive3DSR,
        CoordinatesForMeasurement3D,
        MeasurementsAndQualitativeEvaluations,
        ObservationContext,
        SourceImageForMeasurementGroup,
    )

SOP_CLASS_UID: Final = "1.2.840.10008.5.1.4.1.1.88.34"
TRANSFER_SYNTAX_UID: Final = "1.2.840.10008.1.2.1"
SERIES_DESCRIPTION: Final = "Body regions told by bodytag"
SERIES_NUMBER: Final = 9000

PROCEDURES: Final = {
    "CT": Code("25045-6", "LN", "CT unspecified body region"),
    "MR": Code("25056-3", "LN", "MRI unspecified body region"),
}
_STUDY: Final = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
    "StudyTime", "StudyID", "StudyDescription", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""What the report takes over from the images, as text: what its patient and study modules must have."""


_LEGAL: Final = {
    "PatientBirthDate": r"(\d{8})?",
    "PatientSex": "[MFO]?",
    "StudyDate": r"(\d{8})?",
    "StudyTime": r"(\d{2}([0-5]\d([0-5]\d(\.\d{1,6})?)?)?)?",
}


class ReportError(Exception):
    """There can be no report on a series; the message is one sentence."""


def build(
    headers: Sequence[ImageHeader], outcome: Outcome, decided_at: datetime, ae_title: str
) -> "Comprehensive3DSR | None":
    """Make the report on a classified series; None where nothing is known, and for radiographs.

    A report says how far regions reach along the body, which radiographs do not show, and what a CT series
    is as a whole.

    The same decision gives the same UIDs and times. Raises ReportError where the images hold something that
    no report may.
    """
    found = ranges(headers, outcome.images)
    whole = report_whole.shown(headers, outcome.whole)
    images = [each.header for one in found for each in one.slices] or whole
    if not images or images[0].modality in MODALITIES:
        return None
    first = images[0]
    decision = (ae_title, decided_at.isoformat(), outcome.weights_digest, outcome.software_version)
    uid = named_uid("report", first.series_instance_uid, *decision)
    try:
        return _document(found, whole, outcome, uid, decided_at, ae_title)
    except BROKEN as error:  # highdicom documents no narrower set, and holds patients' data to the standard
        raise ReportError(f"no report: {type(error).__name__}: {error}") from error


def _document(
    found: Sequence[Range],
    whole: Sequence[ImageHeader],
    outcome: Outcome,
    uid: str,
    decided_at: datetime,
    ae_title: str,
) -> "Comprehensive3DSR":
    from highdicom.sr import Comprehensive3DSR, MeasurementReport

    images = [*(each.header for one in found for each in one.slices), *whole]
    first = images[0]
    study = _study(first.path)
    measured = [_group(one, outcome, f"{uid} {n}") for n, one in enumerate(found, 1)]
    if outcome.whole is not None and whole:
        measured += report_whole.groups(outcome.whole, whole, uid, outcome.software_version)
    content = MeasurementReport(
        observation_context=_context(ae_title),
        procedure_reported=PROCEDURES[first.modality],
        imaging_measurements=measured,
    )
    when = decided_at.astimezone()
    files = {header.path: header for header in images}
    document = Comprehensive3DSR(
        evidence=[_reference(header, study) for header in files.values()],
        content=content[0],
        series_instance_uid=named_uid(uid, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer="bodytag",
        manufacturer_model_name="bodytag",
        device_serial_number=ae_title,
        series_description=SERIES_DESCRIPTION,
        is_complete=True,
        is_final=True,
        transfer_syntax_uid=TRANSFER_SYNTAX_UID,
        specific_character_set="ISO_IR 192",
    )
    for keyword in ("Content", "InstanceCreation"):
        setattr(document, f"{keyword}Date", f"{when:%Y%m%d}")
        setattr(document, f"{keyword}Time", f"{when:%H%M%S.%f}")
    for library in document.ContributingEquipmentSequence:
        library.add_new("ContributionDateTime", "DT", f"{decided_at:%Y%m%d%H%M%S.%f}+0000")
    versions = [outcome.software_version, outcome.weights_digest or ""]
    document.add_new("SoftwareVersions", "LO", versions)
    document.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    document.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    document.file_meta.SourceApplicationEntityTitle = ae_title
    return document


def _context(ae_title: str) -> "ObservationContext":
    from highdicom.sr import (
        CodedConcept,
        DeviceObserverIdentifyingAttributes,
        ObservationContext,
        ObserverContext,
    )

    device = DeviceObserverIdentifyingAttributes(
        uid=named_uid("node", ae_title), name=ae_title, manufacturer_name="bodytag", model_name="bodytag"
    )
    observer = ObserverContext(CodedConcept("121007", "DCM", "Device"), device)
    return ObservationContext(observer_device_context=observer)


def _group(one: Range, outcome: Outcome, name: str) -> "MeasurementsAndQualitativeEvaluations":
    """Make one measurement group (TID 1501): the region, how far it reaches, how sure that is, by what."""
    from highdicom.sr import (
        AlgorithmIdentification,
        FindingSite,
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        TrackingIdentifier,
    )

    modality = one.slices[0].header.modality
    algorithm = AlgorithmIdentification(
        f"bodytag {modality}",
        outcome.software_version,
        parameters=[f"weights SHA-256 {outcome.weights_digest}"],
        manufacturer="bodytag",
    )
    percent, millimetre = Code("%", "UCUM", "Percent"), Code("mm", "UCUM", "mm")
    length = Measurement(
        Code("410668003", "SCT", "Length"),
        round(one.length_mm, 3),
        millimetre,
        referenced_coordinates=_coordinates(one),
    )
    sure = Measurement(Code("111012", "DCM", "Certainty of Finding"), round(100 * one.confidence, 1), percent)
    code = one.region.code
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=named_uid(name), identifier=one.region.key),
        finding_type=Code("91723000", "SCT", "Anatomical Structure"),
        algorithm_id=algorithm,
        finding_sites=[FindingSite(Code(code.value, "SCT", code.meaning))],
        measurements=[length, sure],
        source_images=list(_sources(one)),
    )


def _coordinates(one: Range) -> "list[CoordinatesForMeasurement3D] | None":
    """Return where the range lies: the line between the corners of its first and last slice.

    None for one slice, and for sagittal and coronal ones, whose stack does not run along the body.
    """
    from highdicom.sr import CoordinatesForMeasurement3D

    ends = [one.slices[0].header, one.slices[-1].header]
    frame_of_reference = ends[0].frame_of_reference_uid
    points = np.array([header.position for header in ends if header.position is not None], np.float64)
    if one.lengthwise or len(one.slices) < 2 or len(points) < 2 or not frame_of_reference:
        return None
    return [CoordinatesForMeasurement3D("POLYLINE", points, frame_of_reference)]


def _sources(one: Range) -> "Iterator[SourceImageForMeasurementGroup]":
    from highdicom.sr import SourceImageForMeasurementGroup

    files: dict[Path, list[Slice]] = {}
    for each in one.slices:
        files.setdefault(each.header.path, []).append(each)
    for slices in files.values():
        header = slices[0].header
        numbers = sorted(each.frame_number for each in slices if each.frame_number is not None)
        yield SourceImageForMeasurementGroup(header.sop_class_uid, header.sop_instance_uid, numbers or None)


def _study(path: Path) -> Mapping[str, str]:
    """Read what the report says of patient and study; a date, time or sex that is none is left empty."""
    data_set = dcmread(path, stop_before_pixels=True, specific_tags=["SpecificCharacterSet", *_STUDY])
    found = {keyword: facts.text(data_set, keyword) for keyword in _STUDY}
    for keyword, legal in _LEGAL.items():
        if not re.fullmatch(legal, found[keyword]):
            found[keyword] = ""
    return found


def _reference(header: ImageHeader, study: Mapping[str, str]) -> Dataset:
    """Return an image as far as a report refers to it."""
    image = Dataset()
    for keyword, value in study.items():
        setattr(image, keyword, value)
    image.SOPClassUID, image.SOPInstanceUID = header.sop_class_uid, header.sop_instance_uid
    image.SeriesInstanceUID, image.Modality = header.series_instance_uid, header.modality
    return image
