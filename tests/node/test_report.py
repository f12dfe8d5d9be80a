"""Tests of the report on a series: ranges of regions with codes, and who told them."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from highdicom.sr import Comprehensive3DSR
from pydicom import dcmread
from pydicom.dataset import Dataset

from db.records import FrameResult, ImageResult, Outcome
from model.frames import read_headers
from model.read import ImageHeader
from model.regions import BY_KEY
from node.relabelling.report import SOP_CLASS_UID, ReportError, build
from node.relabelling.uids import named_uid
from tests.builders import SAGITTAL, Recipe, write
from tests.multiframe import Enhanced, write_enhanced
from tests.validators import messages

AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
REGIONS = ("pelvis", "pelvis", "abdomen", "unknown", "abdomen", "abdomen", "chest")


def result(uid: str, region: str, index: int) -> ImageResult:
    """Say what was found in one image, 5 mm above the one before."""
    return ImageResult(uid, region, 0.9, -100.0 + 5 * index, None)


def outcome(images: tuple[ImageResult, ...]) -> Outcome:
    """Say what was found in a series; a report needs no more of the verdict than the images."""
    return Outcome(None, images, None, "d" * 64, "0.1.0")


def series(folder: Path, **options: Any) -> tuple[list[ImageHeader], Outcome]:
    """Write a series of seven images, with a region for each."""
    recipe = Recipe(n=len(REGIONS), **options)
    headers = [read_headers(path)[0] for path in write(folder, recipe)]
    results = tuple(result(recipe.instance_uid(i), region, i) for i, region in enumerate(REGIONS))
    return headers, outcome(results)


def made(headers: list[ImageHeader], found: Outcome, ae_title: str = "BODYTAG") -> Comprehensive3DSR:
    """Build a report, which there must be."""
    document = build(headers, found, AT, ae_title)
    assert document is not None
    return document


def groups(document: Dataset) -> list[dict[str, list[Dataset]]]:
    """Return the measurement groups of a report, each as its content items by the meaning of their names."""
    [measurements] = [each for each in document.ContentSequence if meaning(each) == "Imaging Measurements"]
    found = []
    for group in measurements.ContentSequence:
        items: dict[str, list[Dataset]] = {}
        for item in group.ContentSequence:
            items.setdefault(meaning(item), []).append(item)
        found.append(items)
    return found


def meaning(item: Dataset) -> str:
    """Return the name of a content item."""
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def number(item: Dataset) -> float:
    """Return the value of a measurement."""
    return float(item.MeasuredValueSequence[0].NumericValue)


def test_sagittal_images_reach_along_the_body(tmp_path: Path) -> None:
    """Their length is that of what they show; the way from the first image to the last is across."""
    recipe = Recipe(n=4, modality="MR", orientation=SAGITTAL)
    headers = [read_headers(path)[0] for path in write(tmp_path, recipe)]
    images = tuple(result(recipe.instance_uid(i), "lspine", i) for i in range(recipe.n))
    [items] = groups(made(headers, outcome(images)))
    spacing = headers[0].pixel_spacing_mm
    assert spacing is not None
    [length] = items["Length"]
    assert number(length) == pytest.approx(headers[0].rows * spacing[0])
    assert not any(each.ValueType == "SCOORD3D" for each in length.get("ContentSequence", []))


def test_one_group_a_contiguous_range(tmp_path: Path) -> None:
    """Each run of one region is a group with SNOMED code, extent, certainty and images; doubt splits runs."""
    headers, found = series(tmp_path)
    document = made(headers, found)
    sites = [items["Finding Site"][0].ConceptCodeSequence[0] for items in groups(document)]
    assert [(site.CodeValue, site.CodingSchemeDesignator, site.CodeMeaning) for site in sites] == [
        (BY_KEY[key].code.value, "SCT", BY_KEY[key].code.meaning)
        for key in ("pelvis", "abdomen", "abdomen", "chest")
    ]
    assert [number(items["Length"][0]) for items in groups(document)] == [5.0, 0.0, 5.0, 0.0]
    assert {number(items["Certainty of Finding"][0]) for items in groups(document)} == {90.0}
    images = [
        [each.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for each in items["Source of Measurement"]]
        for items in groups(document)
    ]
    uids = [header.sop_instance_uid for header in headers]
    assert images == [uids[0:2], uids[2:3], uids[4:6], uids[6:7]]


def test_the_algorithm_is_identified(tmp_path: Path) -> None:
    """Name, version and the digest of the weights (TID 4019)."""
    for items in groups(made(*series(tmp_path))):
        assert items["Algorithm Name"][0].TextValue == "bodytag CT"
        assert items["Algorithm Version"][0].TextValue == "0.1.0"
        assert items["Algorithm Parameters"][0].TextValue == f"weights SHA-256 {'d' * 64}"


def test_a_range_lies_in_the_patient(tmp_path: Path) -> None:
    """The extent is inferred from the line between first and last slice, in the frame of reference."""
    headers, found = series(tmp_path)
    [length] = groups(made(headers, found))[0]["Length"]
    [line] = length.ContentSequence
    assert line.GraphicType == "POLYLINE"
    assert list(line.GraphicData) == [-25.0, -25.0, -100.0, -25.0, -25.0, -95.0]
    assert line.ReferencedFrameOfReferenceUID == headers[0].frame_of_reference_uid


def test_it_is_a_report_of_the_patient_and_study(tmp_path: Path) -> None:
    """SOP class, template, patient and study are right; the series is one of its own."""
    headers, found = series(tmp_path)
    document, image = made(headers, found), dcmread(headers[0].path)
    assert document.SOPClassUID == document.file_meta.MediaStorageSOPClassUID == SOP_CLASS_UID
    assert document.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
                    "StudyDate", "StudyTime", "StudyID", "AccessionNumber"):  # fmt: skip
        assert document[keyword].value == image[keyword].value, keyword
    assert document.SeriesInstanceUID not in (image.SeriesInstanceUID, document.SOPInstanceUID)
    assert (document.Modality, document.CompletionFlag, document.VerificationFlag) == (
        "SR",
        "COMPLETE",
        "UNVERIFIED",
    )
    assert document.file_meta.SourceApplicationEntityTitle == "BODYTAG"
    [study] = document.CurrentRequestedProcedureEvidenceSequence
    referenced = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert {each.ReferencedSOPInstanceUID for each in referenced} == {
        header.sop_instance_uid for index, header in enumerate(headers) if index != 3
    }


def test_the_same_decision_gives_the_same_report(tmp_path: Path) -> None:
    """Content, times and UIDs depend on the decision alone; another one is another object."""
    headers, found = series(tmp_path)
    first = made(headers, found)
    assert made(headers, found) == first
    assert first.ContentDate == f"{AT.astimezone():%Y%m%d}"
    other = replace(found, weights_digest="e" * 64)
    assert made(headers, other).SOPInstanceUID != first.SOPInstanceUID
    assert made(headers, other).SeriesInstanceUID != first.SeriesInstanceUID
    assert made(headers, found, "OTHER").SOPInstanceUID != first.SOPInstanceUID


def test_frames_are_referenced_by_number(tmp_path: Path) -> None:
    """Of an Enhanced object each range names its frames, counted from 1."""
    path = write_enhanced(tmp_path, Enhanced(Recipe(n=4)))
    headers = list(read_headers(path))
    frames = tuple(
        FrameResult(region, 0.8, -100.0 + 5 * index, None)
        for index, region in enumerate(("abdomen", "abdomen", "chest", "chest"))
    )
    image = ImageResult(headers[0].sop_instance_uid, "abdomen", 0.8, -97.5, None, frames)
    found = groups(made(headers, outcome((image,))))
    numbers = [
        items["Source of Measurement"][0].ReferencedSOPSequence[0].ReferencedFrameNumber for items in found
    ]
    assert [list(each) for each in numbers] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("options", "keyword", "value"),
    [
        ({"patient_name": "Müller^Jö", "overrides": {"SpecificCharacterSet": "ISO_IR 100"}},
         "PatientName", "Müller^Jö"),
        ({"overrides": {"PatientName": None}}, "PatientName", ""),
        ({"overrides": {"PatientBirthDate": "1970"}}, "PatientBirthDate", ""),
        ({"overrides": {"PatientSex": "U"}}, "PatientSex", ""),
        ({"overrides": {"StudyDate": None, "StudyTime": "9:15"}}, "StudyTime", None),
        ({"overrides": {"StudyID": None, "AccessionNumber": None}}, "StudyID", ""),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Invalid value")
def test_odd_headers_give_a_report_all_the_same(
    options: dict[str, Any], keyword: str, value: str | None, tmp_path: Path
) -> None:
    """Text comes through in UTF-8; what is missing, or no date, time or sex, is empty."""
    document = made(*series(tmp_path / "in", **options))
    document.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    read = dcmread(tmp_path / "report.dcm")
    assert (read[keyword].value or "") == (value or "")
    assert read.SpecificCharacterSet == "ISO_IR 192"


def test_there_is_no_report_on_nothing(tmp_path: Path) -> None:
    """Where no region is known nothing is reported; what no report may hold is one sentence."""
    headers, found = series(tmp_path)
    unknown = outcome(tuple(replace(each, region="unknown") for each in found.images))
    assert build(headers, unknown, AT, "BODYTAG") is None
    assert build(headers, outcome(()), AT, "BODYTAG") is None
    foreign = [replace(header, modality="XX") for header in headers]
    with pytest.raises(ReportError, match="no report"):
        build(foreign, found, AT, "BODYTAG")


def test_the_validator_has_nothing_to_say(tmp_path: Path) -> None:
    """dciodvfy finds neither error nor warning in a report."""
    made(*series(tmp_path / "in")).save_as(tmp_path / "report.dcm", enforce_file_format=True)
    assert messages("dciodvfy", tmp_path / "report.dcm") == set()


def test_the_library_is_loaded_by_the_worker_alone() -> None:
    """The receiver's process knows of reports, and never loads what makes them."""
    code = "import sys, node.service; sys.exit('highdicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_uids_are_made_of_names() -> None:
    """A derived UID is a legal one, and differs with each part of its name."""
    assert named_uid("a", "b") == named_uid("a", "b") != named_uid("b", "a")
    assert named_uid("a").startswith("2.25.")
    assert len(named_uid("a")) <= 44
