"""Tests of what a report says of a CT series as a whole, beside its regions and without any."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from db.records import Whole
from model.series_labels import PARTS
from node.relabelling import report_whole
from tests.builders import CORONAL
from tests.node.test_report import groups, made, number, series
from tests.test_conformance import section
from tests.validators import messages

CODES = (
    report_whole.PART,
    report_whole.AXIS,
    report_whole.CONTRAST,
    *report_whole.PLANES.values(),
    *report_whole.CONTRASTS.values(),
)
WHOLE = Whole("chest", 0.9, "neck", 0.05, "coronal", "geometry", "coronal", 0.9, False, "with", 0.8, "e" * 64)


def answers(document: Dataset) -> dict[str, str]:
    """Return the qualitative evaluations of a report: name and value."""
    found = {}
    for group in groups(document):
        for items in group.values():
            for item in items:
                name = item.ConceptNameCodeSequence[0]
                if item.ValueType == "CODE" and name.CodingSchemeDesignator == "99BODYTAG":
                    found[str(name.CodeMeaning)] = str(item.ConceptCodeSequence[0].CodeMeaning)
    return found


def test_label_axis_and_contrast_are_told(tmp_path: Path) -> None:
    """Each answer is a group of its own with how sure it is; validators have nothing to say against it."""
    headers, found = series(tmp_path)
    before = made(headers, found)
    document = made(headers, replace(found, whole=WHOLE))
    assert answers(document) == {
        "Body part of the series": "chest",
        "Imaging axis of the series": "Coronal",
        "Intravenous contrast in the series": "With intravenous contrast",
    }
    sure = [number(items["Certainty of Finding"][0]) for items in groups(document)]
    assert sure[-3:] == [90.0, 100.0, 80.0]
    assert len(groups(document)) == len(groups(before)) + 3
    path = tmp_path / "report.dcm"
    document.save_as(path, enforce_file_format=True)
    assert all("99BODYTAG" in line for line in messages("dciodvfy", path))


def test_doubt_is_left_out(tmp_path: Path) -> None:
    """What is in doubt has no group; the axis by the network has the network's certainty."""
    headers, found = series(tmp_path)
    doubted = replace(WHOLE, part=None, contrast=None, axis_from="network", seen_axis_confidence=0.7)
    document = made(headers, replace(found, whole=doubted))
    assert answers(document) == {"Imaging axis of the series": "Coronal"}
    assert number(groups(document)[-1]["Certainty of Finding"][0]) == 70.0


def test_a_series_without_regions_of_images_has_a_report(tmp_path: Path) -> None:
    """A coronal series is reported as a whole, with its first and last image."""
    headers, found = series(tmp_path, orientation=CORONAL)
    images = tuple(replace(each, region=None, position_mm=None) for each in found.images)
    document = made(headers, replace(found, images=images, whole=WHOLE))
    assert len(groups(document)) == 3
    evidence = document.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    uids = {each.ReferencedSOPInstanceUID for each in evidence.ReferencedSOPSequence}
    assert uids == {headers[0].sop_instance_uid, headers[-1].sop_instance_uid}


@pytest.mark.parametrize("code", CODES, ids=lambda code: str(code.value))
def test_the_conformance_statement_has_the_codes(code: Code) -> None:
    """Every concept stands in the annex of codes, with its scheme."""
    told = section("8.3.1")
    assert f"({code.value}, {code.scheme_designator}, " in told
    assert code.meaning in told


def test_labels_have_codes_of_their_own() -> None:
    """Cut to sixteen characters, as Code Value is, no two labels are alike."""
    assert len({part.upper()[:16] for part in PARTS}) == len(PARTS)
