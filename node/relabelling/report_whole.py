"""What a report says of a CT series as a whole: label, axis, contrast, each with how sure that is (TID 1501).

The concepts have no codes that fit in the standard, so they are the node's own; the planes are SNOMED's.
Contrast is what the images look like. It is told here and in the database, never in Contrast/Bolus Agent.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pydicom.sr.coding import Code

from db.records import Whole
from model.read import ImageHeader
from model.series_labels import TITLES
from node.relabelling.uids import named_uid

if TYPE_CHECKING:
    from highdicom.sr import MeasurementsAndQualitativeEvaluations

SCHEME: Final = "99BODYTAG"
PART: Final = Code("PART", SCHEME, "Body part of the series")
AXIS: Final = Code("AXIS", SCHEME, "Imaging axis of the series")
CONTRAST: Final = Code("IVCONTRAST", SCHEME, "Intravenous contrast in the series")
PLANES: Final = {
    "axial": Code("24422004", "SCT", "Axial"),
    "coronal": Code("81654009", "SCT", "Coronal"),
    "sagittal": Code("30730003", "SCT", "Sagittal"),
}
CONTRASTS: Final = {
    "with": Code("WITH", SCHEME, "With intravenous contrast"),
    "without": Code("WITHOUT", SCHEME, "Without intravenous contrast"),
}
CERTAINTY: Final = Code("111012", "DCM", "Certainty of Finding")
PERCENT: Final = Code("%", "UCUM", "Percent")
GEOMETRY: Final = "geometry"


def shown(headers: Sequence[ImageHeader], whole: Whole | None) -> list[ImageHeader]:
    """Return the images that stand for the whole in a report: the first and the last of its CT images."""
    if whole is None:
        return []
    images = [header for header in headers if header.modality == "CT" and header.frame is None]
    return [images[0], *images[-1:]] if len(images) > 1 else images


def groups(
    whole: Whole, images: Sequence[ImageHeader], uid: str, version: str
) -> "Iterator[MeasurementsAndQualitativeEvaluations]":
    """Yield one group for each answer; what is in doubt has none."""
    from highdicom.sr import (
        AlgorithmIdentification,
        Measurement,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )

    algorithm = AlgorithmIdentification(
        "bodytag CT series",
        version,
        parameters=[f"weights SHA-256 {whole.weights_digest}"],
        manufacturer="bodytag",
    )
    for name, value, sure in _answers(whole):
        yield MeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(
                uid=named_uid(f"{uid} {name.value}"), identifier=name.meaning
            ),
            algorithm_id=algorithm,
            measurements=[Measurement(CERTAINTY, round(100 * sure, 1), PERCENT)],
            qualitative_evaluations=[QualitativeEvaluation(name, value)],
            source_images=[
                SourceImageForMeasurementGroup(header.sop_class_uid, header.sop_instance_uid)
                for header in images
            ],
        )


def _answers(whole: Whole) -> Iterator[tuple[Code, Code, float]]:
    if whole.part is not None:
        yield PART, Code(whole.part.upper()[:16], SCHEME, TITLES[whole.part]), whole.part_confidence
    sure = 1.0 if whole.axis_from == GEOMETRY else whole.seen_axis_confidence
    yield AXIS, PLANES[whole.axis], sure
    if whole.contrast is not None:
        yield CONTRAST, CONTRASTS[whole.contrast], whole.contrast_confidence
