"""Radiographs through the whole line: real CR files sent by storescu, judged, relabelled, received."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset

from db.queries import SeriesRow
from model.radiographs import GROUPS
from tests.builders import Recipe, write
from tests.harness import Archive, RunningNode, free_port, make_node, running, storescu, wait_until

ROOT = Path(os.environ.get("BODYTAG_DATA", Path(__file__).parents[2] / "shared" / "data")) / "dicom" / "xr"
CHEST, LEG, UNTAGGED = "RG1_J2KI.dcm", "RG3_J2KR.dcm", "Monochrome1-Jpeg.dcm"
PATIENCE_S = 240.0
"""The first film waits until the worker has loaded its networks."""
Line = tuple[RunningNode, Archive]
PROPOSED = {uid.JPEGBaseline8Bit: ("-xy",), uid.JPEG2000: ("-xw",), uid.JPEG2000Lossless: ("-xv",)}
"""How storescu is told to propose a compressed transfer syntax."""


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A node that relabels whatever it is sure of, and an archive behind it."""
    if not (ROOT / CHEST).is_file():
        pytest.skip("the sample radiographs of ../shared/data/dicom/xr are not here")
    folder = tmp_path_factory.mktemp("films")
    archive = Archive(folder / "archive", free_port()).start()
    relabel = {"fill_confidence": 0.5, "replace_confidence": 0.5}
    with running(make_node(folder / "node", archive.destination(), relabel=relabel)) as node:
        yield node, archive
    archive.stop()


def sent(line: Line, path: Path) -> tuple[SeriesRow, Dataset]:
    """Send one file, wait for its delivery, return its series and what was received."""
    node, archive = line
    original = dcmread(path)
    result = storescu(node.port, [path], *PROPOSED.get(original.file_meta.TransferSyntaxUID, ()))
    assert result.returncode == 0, result.stderr

    def delivered() -> SeriesRow | None:
        rows = node.rows(series=str(original.SeriesInstanceUID))
        return rows[0] if rows and rows[0].state == "delivered" else None

    row = wait_until(delivered, f"{path.name} is delivered; {node.log.read_text()[-2000:]}", PATIENCE_S)
    assert isinstance(row, SeriesRow)
    copies = (dcmread(each) for each in archive.files())
    [copy] = [each for each in copies if each.SOPInstanceUID == original.SOPInstanceUID]
    assert copy.PixelData == original.PixelData
    return row, copy


def test_a_chest_film_agrees_with_its_tag(line: Line) -> None:
    """A 15-bit MONOCHROME1 chest is CHEST; it says so already, and arrives as it came."""
    row, copy = sent(line, ROOT / CHEST)
    assert (row.term, row.classified, row.disagrees) == ("CHEST", 1, False)
    assert row.radiograph_group in ("adult_chest", None)
    assert copy.BodyPartExamined == "CHEST"
    assert "OriginalAttributesSequence" not in copy


def test_a_leg_gets_a_finer_term_and_keeps_its_side(line: Line) -> None:
    """EXTREMITY becomes a part of the leg; the side that was given stays, and the old value is on record."""
    row, copy = sent(line, ROOT / LEG)
    assert row.radiograph_group == "others"
    assert row.term in ("LOWERLEG", "ANKLE", "FOOT", "KNEE", "LOWERLIMB")
    assert row.paired
    assert copy.BodyPartExamined == row.term
    assert copy.Laterality == "R"
    [region] = copy.AnatomicRegionSequence
    assert region.AnatomicRegionModifierSequence[0].CodeValue == "24028007"
    [record] = copy.OriginalAttributesSequence
    assert record.ModifiedAttributesSequence[0].BodyPartExamined == "EXTREMITY"


def test_a_film_of_eight_bits_is_filled_in(line: Line) -> None:
    """A film stored as JPEG without a tag is judged like others; an unpaired term gets no Laterality."""
    row, copy = sent(line, ROOT / UNTAGGED)
    assert (row.term, row.classified) == ("CHEST", 1)
    assert copy.BodyPartExamined == "CHEST"
    assert "Laterality" not in copy
    assert copy.AnatomicRegionSequence[0].CodeValue == "816094009"


def test_films_in_colour_and_captures_are_passed_on(line: Line) -> None:
    """A film stored in colour, and a secondary capture, go on unchanged with their reason."""
    row, copy = sent(line, ROOT / "331_DDH_1.dcm")
    assert (row.term, row.radiograph_group, row.reason) == (None, None, "colour")
    assert "BodyPartExamined" not in copy
    captured = ROOT / "1.2.276.0.7230010.3.1.4.8323329.6904.1517875201.850819.dcm"
    row, copy = sent(line, captured)
    assert (row.term, row.reason) == (None, "secondary capture")


def test_noise_is_no_body_part(line: Line, tmp_path: Path) -> None:
    """A synthetic film gets some answer, one of the groups or none, and is never lost."""
    [path] = write(tmp_path, Recipe(modality="DX", n=1, seed="noise", orientation=None, body_part=None))
    row, _ = sent(line, path)
    assert row.classified == 1
    assert row.radiograph_group in (*GROUPS, None)
