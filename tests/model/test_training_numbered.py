"""Images whose names number them are judged as the series they are from, and others as they were."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.training import numbered
from model.training.cases import real
from model.training.data import Row

PLACE = "ct/msk_projections/knee_axial"
ONE = Row(
    "CT", "", "msk_projections", "MSK_1", "axial", ((0, 0, "knee"),), "", False, "high", "", "eval", "", ""
)


def rows(*names: str) -> list[Row]:
    """Return a row for each image of one subject."""
    return [replace(ONE, file=f"{PLACE}/{name}.png") for name in names]


def test_images_are_sorted_by_their_numbers_within_a_series() -> None:
    """Numbers count as numbers; another view, another subject and another source stay apart."""
    mine = rows("1axial_left_11", "1axial_left_3", "1axial_right_3")
    others = [replace(mine[0], subject="MSK_2"), *(replace(row, source="trauma") for row in mine[:2])]
    found = [tuple(row.file.split("_")[-2:] for row in series) for series in numbered.grouped(mine + others)]
    assert found[:2] == [(["left", "3.png"], ["left", "11.png"]), (["right", "3.png"],)]
    assert [len(series) for series in found] == [2, 1, 1, 1, 1]


def test_a_series_is_one_case_in_order(tmp_path: Path) -> None:
    """Pixels, labels and heights follow the numbers; nothing is said of a spacing that nobody stated."""
    found = rows("1axial_left_11", "1axial_left_3", "1axial_right_7")
    (tmp_path / PLACE).mkdir(parents=True)
    for grey, row in enumerate(found, start=1):
        cv2.imwrite(str(tmp_path / row.file), np.full((8, 8), grey, np.uint8))
    found[0] = replace(found[0], ranges=((0, 0, "thigh"),))
    series, single = real(tmp_path, found, "CT")
    assert series.name == f"{PLACE}/1axial_left_*.png"
    assert series.truth == ("knee", "thigh")
    assert [int(image[0, 0]) for image in series.pixels] == [2, 1]
    assert series.positions_mm is not None
    assert series.positions_mm.tolist() == [3 * numbered.STEP_MM, 11 * numbered.STEP_MM]
    assert series.factors["slice spacing"] == "not known"
    assert (single.name, single.positions_mm) == (found[2].file, None)


def test_the_images_of_one_row_are_a_series(tmp_path: Path) -> None:
    """Their numbers are in the names of the files; where numbers mean nothing each image stays alone."""
    for number in (2, 10):
        cv2.imwrite(str(tmp_path / f"elbow_{number}.png"), np.full((8, 8), number, np.uint8))
    row = replace(ONE, modality="MR", file="elbow_*.png", source="msk_stacks", ranges=((0, 1, "elbow"),))
    (series,) = real(tmp_path, [row], "MR")
    assert [int(image[0, 0]) for image in series.pixels] == [2, 10]
    assert series.positions_mm is not None
    assert series.positions_mm.tolist() == [2 * numbered.STEP_MM, 10 * numbered.STEP_MM]
    alone = real(tmp_path, [replace(row, source="brain_tumour_jpg")], "MR")
    assert [case.positions_mm for case in alone] == [None, None]


def test_a_missing_image_is_a_sentence(tmp_path: Path) -> None:
    """What the manifest names must be there."""
    with pytest.raises(FileNotFoundError, match="no readable image at"):
        numbered.loaded(tmp_path, rows("1axial_left_3", "1axial_left_4"))
