"""Tests of planes, order, gaps, duplicates and extents."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.geometry import (
    Orientation,
    Position,
    duplicates,
    extents_mm,
    gaps,
    heights_mm,
    normal,
    order,
    places_mm,
    plane,
    positions_mm,
    standing,
    step_mm,
)
from tests.builders import AXIAL, CORONAL, SAGITTAL


@dataclass(frozen=True)
class Slice:
    """The least that has a place."""

    position: Position | None
    orientation: Orientation | None = AXIAL


def tilted(degrees: float) -> Orientation:
    """Tilt the axial plane about the left-right axis."""
    angle = math.radians(degrees)
    return (1.0, 0.0, 0.0, 0.0, math.cos(angle), math.sin(angle))


@pytest.mark.parametrize(
    ("orientation", "name"),
    [
        (AXIAL, "axial"),
        (CORONAL, "coronal"),
        (SAGITTAL, "sagittal"),
        ((-1.0, 0.0, 0.0, 0.0, 1.0, 0.0), "axial"),
        (tilted(30), "axial"),
        (tilted(44.9), "axial"),
        (tilted(-44.9), "axial"),
        (tilted(46), "coronal"),
        ((2.0, 0.0, 0.0, 0.0, 3.0, 0.0), "axial"),
    ],
)
def test_plane(orientation: Orientation, name: str) -> None:
    """The plane is axial up to 45 degrees from the long axis, prone, tilted and unnormalised cosines too."""
    assert plane(orientation) == name


@pytest.mark.parametrize(
    "orientation",
    [
        None,
        (),
        (1.0, 0.0, 0.0),
        (0.0,) * 6,
        (1.0, 0.0, 0.0, 1.0, 0.0, 0.0),
        (1.0, 0.0, 0.0, math.nan, 1.0, 0.0),
        (1.0, 0.0, 0.0, 0.0, math.inf, 0.0),
        (1.0, 0.0, 0.0, 1e-9, 0.0, 0.0),
    ],
)
def test_degenerate_orientations_have_no_plane(orientation: tuple[float, ...] | None) -> None:
    """Missing, parallel, zero and not finite cosines give no plane and no exception."""
    assert plane(orientation) is None
    assert normal(orientation) is None


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=64), min_size=0, max_size=7))
def test_any_numbers_give_a_unit_normal_or_none(numbers: list[float]) -> None:
    """Whatever stands in the attribute, the normal is a unit vector with a positive main axis, or None."""
    across = normal(numbers)
    assert (across is None) == (plane(numbers) is None)
    if across is not None:
        assert np.linalg.norm(across) == pytest.approx(1)
        assert across[np.argmax(np.abs(across))] >= -1e-6


def test_positions_grow_towards_the_head_whatever_the_row_direction() -> None:
    """Flipped rows (feet-first or prone) turn the raw normal round, not the positions."""
    flipped: Orientation = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    for orientation in (AXIAL, flipped):
        stack = [Slice((0.0, 0.0, z), orientation) for z in (10.0, -5.0, 2.5)]
        np.testing.assert_allclose(positions_mm(stack), [10.0, -5.0, 2.5])
        np.testing.assert_array_equal(order(positions_mm(stack)), [1, 2, 0])


def test_positions_of_a_tilted_gantry_are_along_the_normal() -> None:
    """A table step of 5 mm under 20 degrees of tilt is 4.7 mm along the normal, wherever the corner lies."""
    stack = [Slice((7.0 * i, 0.0, 5.0 * i), tilted(20)) for i in range(3)]
    np.testing.assert_allclose(np.diff(positions_mm(stack)), 5 * math.cos(math.radians(20)))


def test_fanned_slices_share_one_normal() -> None:
    """Discs angled differently keep the order of their positions."""
    stack = [Slice((0.0, 0.0, 30.0 * i), tilted(10.0 * i - 10)) for i in range(3)]
    assert np.all(np.diff(positions_mm(stack)) > 25)


def test_images_without_a_place_are_an_error() -> None:
    """No position, no orientation, or normals that cancel out raise; no image at all is no error."""
    for bad in (Slice(None), Slice((0.0, 0.0, 0.0), None), Slice((0.0, 0.0, 0.0), (0.0,) * 6)):
        with pytest.raises(ValueError, match="position or orientation"):
            positions_mm([Slice((0.0, 0.0, 1.0)), bad])
    assert positions_mm([]).shape == (0,)


def test_duplicates_gaps_and_step() -> None:
    """A repeated place, a hole of two images, and the usual step between them."""
    positions = np.array([0.0, 5.0, 5.0, 10.0, 25.0, 30.0])
    np.testing.assert_array_equal(duplicates(positions), [False, False, True, False, False, False])
    assert step_mm(positions) == 5.0
    assert gaps(positions) == [(4, 15.0)]
    assert gaps(np.array([3.0])) == []
    assert step_mm(np.array([3.0, 3.0])) is None


def test_extents_add_up_to_what_was_scanned() -> None:
    """Evenly spaced images stand for one step each; a hole belongs to nobody; repeats share their place."""
    assert extents_mm(np.array([0.0, 5.0, 10.0, 15.0])).tolist() == [5.0] * 4
    assert extents_mm(np.array([0.0, 5.0, 10.0, 60.0, 65.0])).sum() == pytest.approx(25.0)
    assert extents_mm(np.array([0.0, 5.0, 5.0, 10.0])).sum() == pytest.approx(15.0)
    np.testing.assert_array_equal(extents_mm(np.array([7.0, 7.0])), [1.0, 1.0])
    assert extents_mm(np.zeros(0)).shape == (0,)


def test_places_are_along_the_normal_of_each_plane() -> None:
    """Axial and sagittal images of one series do not disturb each other's positions."""
    mixed = [Slice((0.0, 0.0, 30.0)), Slice((-5.0, 0.0, 100.0), SAGITTAL), Slice((0.0, 0.0, 25.0)),
             Slice((7.0, 0.0, 100.0), SAGITTAL)]  # fmt: skip
    np.testing.assert_allclose(places_mm(mixed), [30.0, -5.0, 25.0, 7.0])


def test_heights_of_an_image_reach_from_its_lowest_to_its_highest_corner() -> None:
    """A sagittal image reaches as far down as its rows do; an axial one has one height."""
    assert heights_mm(SAGITTAL, (0.0, 0.0, 120.0), (300.0, 200.0)) == (-180.0, 120.0)
    assert heights_mm(AXIAL, (0.0, 0.0, 120.0), (300.0, 200.0)) == (120.0, 120.0)


@pytest.mark.parametrize("plain", [SAGITTAL, CORONAL])
@pytest.mark.parametrize("exchanged", [False, True])
@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_standing_undoes_what_a_scanner_may_do(
    plain: Orientation, exchanged: bool, signs: tuple[int, int]
) -> None:
    """However rows and columns run, the turned image has the head above, and front or right at the left."""
    row, column = np.array(plain[:3]) * signs[0], np.array(plain[3:]) * signs[1]
    stored = (*column, *row) if exchanged else (*row, *column)
    turned = standing(tuple(float(cosine) for cosine in stored))  # type: ignore[arg-type]
    assert turned == (exchanged, signs[1] < 0, signs[0] < 0)


def test_axial_images_stay_as_they_are() -> None:
    """Only planes along the body are turned."""
    assert standing((-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)) == (False, False, False)
    assert standing(None) == (False, False, False)
