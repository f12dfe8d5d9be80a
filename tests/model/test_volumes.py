"""Tests of volumes: how stacks lie in the patient, their views, and which images make them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.frames import read_headers
from model.projections import ROWS, SIZE, THIRDS, TONES, row_places, views
from model.read import ImageHeader, read_pixels
from model.series_labels import AXES
from model.series_networks import STACK_SIZE, default
from model.series_stack import FEWEST, Gatherer, plan
from model.series_volumes import paper_input, stack_views
from model.volumes import (
    DEEPEST,
    SIDE,
    STORED,
    Volume,
    axis_name,
    evenly,
    kept,
    laid,
    small,
    turn_of,
    upright,
)
from tests.builders import AXIAL, CORONAL, SAGITTAL, Recipe, write

Directions = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]


def numbered(shape: tuple[int, int, int]) -> Volume:
    """Return a volume whose values name their places."""
    return Volume(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), (1.0, 2.0, 3.0))


def headers_of(folder: Path, recipe: Recipe) -> list[ImageHeader]:
    """Write a series and read its headers."""
    return [header for path in write(folder, recipe) for header in read_headers(path)]


@pytest.mark.parametrize("axis", AXES)
def test_laying_undoes_standing(axis: str) -> None:
    """A stack of each axis, stood upright and laid again, is what it was, with its spacing."""
    volume = numbered((3, 4, 5))
    again = upright(laid(volume, axis), STORED[axis])
    assert again.spacing_mm == volume.spacing_mm
    assert (again.values == volume.values).all()


@pytest.mark.parametrize(
    ("directions", "axis"),
    [
        (((1, 0, 0), (0, 1, 0), (0, 0, 1)), "axial"),
        (((1, 0, 0), (0, 0, -1), (0, 1, 0)), "coronal"),
        (((0, 1, 0), (0, 0, -1), (1, 0, 0)), "sagittal"),
        (((1, 0, 0), (0, 0.87, -0.5), (0, 0.5, 0.87)), "axial"),
        (((0, -1, 0), (0, 0, 1), (-1, 0, 0)), "sagittal"),
    ],
)
def test_a_turn_follows_the_directions(directions: Directions, axis: str) -> None:
    """The head comes first, then front to back, then right to left, whatever way it was stored."""
    row, column, across = (np.array(each, np.float64) for each in directions)
    turn = turn_of(row, column, across)
    assert axis_name(turn) == axis
    stack = Volume(place_of(np.stack([across, column, row])), (1.0, 1.0, 1.0))
    stood = upright(stack, turn).values
    assert stood[0].mean() > stood[-1].mean()


def place_of(directions: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a stack (4, 5, 6) whose values are heights in the patient."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in (4, 5, 6)), indexing="ij"))
    return np.asarray(np.tensordot(directions[:, 2], index, 1), np.float32)


def test_slices_are_made_small_and_few() -> None:
    """A large slice keeps its shape, a small one is kept as it is; of many slices both ends are kept."""
    less, times = small(np.ones((512, 256), np.float32))
    assert (less.shape, times) == ((SIDE, SIDE // 2), 4.0)
    assert small(np.ones((64, 40), np.float32))[1] == 1.0
    chosen = kept(1000)
    assert (len(chosen), chosen[0], chosen[-1]) == (DEEPEST, 0, 999)


def test_holes_are_filled_by_the_nearest() -> None:
    """A stack with a hole becomes evenly spaced, so that heights stay true."""
    slices = np.arange(4, dtype=np.float32)[:, np.newaxis, np.newaxis] * np.ones((4, 2, 2), np.float32)
    filled = evenly(slices, np.array([0.0, 1.0, 2.0, 6.0]), 1.0)
    assert filled[:, 0, 0].tolist() == [0.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0]


def body(shape: tuple[int, int, int] = (40, 30, 20)) -> NDArray[np.float32]:
    """Return a block of water in air."""
    values = np.full(shape, -1000.0, np.float32)
    values[10:30, 5:25, 4:16] = 0.0
    return values


def test_views_cut_off_air_and_know_where_the_body_was() -> None:
    """Air round the body is cut off in all views; the rows still tell shares of the whole height."""
    seen = views(Volume(body(), (2.0, 2.0, 2.0)))
    assert seen.pixels.shape == (3, SIZE, SIZE, 4)
    assert seen.tones.shape == (THIRDS * TONES,)
    assert (seen.first, seen.last) == (0.25, 0.75)
    assert (seen.top, seen.bottom) == (0, SIZE)
    places = row_places(seen)
    assert places.shape == (ROWS,)
    assert 0.25 < places[0] < places[-1] < 0.75


def test_what_is_enhanced_shows_in_the_tones() -> None:
    """An even organ at 150 HU is counted at its value; the same noise as bone is not."""
    plain, enhanced, noisy = body(), body(), body()
    enhanced[12:28, 8:20, 6:14] = 150.0
    noisy[12:28, 8:20, 6:14] = np.random.default_rng(1).choice([-200.0, 500.0], (16, 12, 8))
    place = int((150 + 100) / 512 * TONES)
    tones = [
        views(Volume(each, (2.0, 2.0, 2.0))).tones.reshape(THIRDS, TONES) for each in (plain, enhanced, noisy)
    ]
    assert tones[1][1, place] > 0.5
    assert tones[0][1, place] == tones[2][1, place] == 0.0


def test_inputs_have_the_networks_shapes() -> None:
    """The stack's views are little, the paper's volume is resized slice by slice and in depth."""
    stack = Volume(body(), (2.0, 2.0, 2.0))
    assert stack_views(stack).shape == (3, STACK_SIZE, STACK_SIZE, 4)
    found = paper_input(stack, replace(default("resnet50_3d"), shape=(16, 24, 32)))
    assert found.shape == (16, 24, 32, 1)
    assert 0.0 <= found.min() < found.max() <= 1.0


@pytest.mark.parametrize(
    ("orientation", "axis"), [(AXIAL, "axial"), (CORONAL, "coronal"), (SAGITTAL, "sagittal")]
)
def test_a_series_is_planned_by_its_geometry(
    orientation: tuple[float, ...], axis: str, tmp_path: Path
) -> None:
    """Slices in any order of files are put in order, and lie as their orientation says."""
    headers = headers_of(tmp_path, Recipe(n=8, orientation=orientation))
    planned = plan(headers[::-1])
    assert planned is not None
    assert planned.turn is not None
    assert axis_name(planned.turn) == axis
    assert (planned.step_mm, len(planned.headers)) == (5.0, 8)
    assert planned.reach_mm is not None
    length = 8 * 5.0 if axis == "axial" else 64 * 0.8
    assert planned.reach_mm[1] - planned.reach_mm[0] == pytest.approx(length)


def test_a_geometry_that_contradicts_itself_is_not_believed(tmp_path: Path) -> None:
    """Images that follow each other within their own plane are ordered by number."""
    headers = headers_of(tmp_path, Recipe(n=6))
    shifted = [replace(header, position=(5.0 * i, 0.0, 0.001 * i)) for i, header in enumerate(headers)]
    planned = plan(shifted)
    assert planned is not None
    assert (planned.turn, planned.reach_mm) == (None, None)
    assert planned.doubt


def test_few_images_make_no_volume(tmp_path: Path) -> None:
    """Below a handful of places there is nothing to look at."""
    assert plan(headers_of(tmp_path, Recipe(n=FEWEST - 1))) is None


def test_a_gatherer_keeps_what_was_planned(tmp_path: Path) -> None:
    """Decoded images are kept small, each once; what is missing is named."""
    headers = headers_of(tmp_path, Recipe(n=6, rows=256, columns=256))
    planned = plan(headers)
    assert planned is not None
    gatherer = Gatherer(planned)
    for header in (*headers[:5], headers[0]):
        gatherer.look(header, read_pixels(header))
    assert gatherer.missing() == [headers[5]]
    stack = gatherer.stack()
    assert stack is not None
    assert stack.values.shape == (5, SIDE, SIDE)
    assert stack.spacing_mm == (5.0, 1.6, 1.6)
