"""Tests of thinning: which slices are looked at, and what is said of the others."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rules.thin import between, chosen, spread

Places = NDArray[np.float64]
PLACES = st.lists(st.floats(-500, 500), min_size=1, max_size=60).map(sorted).map(np.array)


def test_of_a_thin_stack_every_fourth_is_chosen() -> None:
    """At 1 mm and `every_mm: 4` every fourth slice is looked at, and both ends."""
    assert chosen(np.arange(10.0), 4.0).tolist() == [0, 4, 8, 9]


def test_thick_slices_are_all_chosen() -> None:
    """A stack that is coarse already stays whole, and so does one without thinning."""
    assert chosen(np.linspace(0.0, 25.0, 6), 4.0).tolist() == list(range(6))
    assert chosen(np.arange(10.0), None).tolist() == list(range(10))


def test_all_images_of_a_place_are_looked_at() -> None:
    """Phases in one place may show different things: places are left out, never some of their images."""
    assert chosen(np.repeat(np.arange(4) * 5.0, 3), 4.0).tolist() == list(range(12))
    assert chosen(np.repeat(np.arange(6.0), 2), 4.0).tolist() == [0, 1, 8, 9, 10, 11]


def test_what_was_looked_at_keeps_its_own() -> None:
    """Of two images in one place each stays as it is; between places the shares are those of the distance."""
    places = np.array([0.0, 0.0, 1.0, 4.0])
    values = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], np.float32)
    found = spread(np.array([0, 1, 3]), values, places)
    assert np.allclose(found, np.array([[1, 0], [0.5, 0.5], [0.375, 0.625], [0, 1]]))


@given(places=PLACES, every_mm=st.floats(0.5, 50))
def test_gaps_are_bounded(places: Places, every_mm: float) -> None:
    """Between two chosen slices lies no more than was asked for, unless nothing lies in between."""
    picked = chosen(places, every_mm)
    assert picked[0] == 0
    assert places[picked[-1]] >= places[-1] - 0.01 * len(places)
    for first, last in pairwise(picked):
        inside = places[first + 1 : last]
        assert places[last] - places[first] <= every_mm or (inside - places[first] < 0.01 * len(places)).all()


def test_between_two_slices_the_shares_are_those_of_the_distance() -> None:
    """A quarter of the way is three quarters of the nearer one; ends hold; what was seen stays as it was."""
    seen = np.array([0.0, 4.0])
    values = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    found = between(seen, values, np.array([-1.0, 0.0, 1.0, 4.0, 9.0]))
    assert np.allclose(found, np.array([[1, 0], [1, 0], [0.75, 0.25], [0, 1], [0, 1]]))


@given(places=PLACES, every_mm=st.floats(0.5, 50))
def test_distributions_stay_distributions(places: Places, every_mm: float) -> None:
    """Whatever the places, rows sum to 1 and no value leaves the range of its neighbours."""
    rng = np.random.default_rng(len(places))
    picked = chosen(places, every_mm)
    values = rng.dirichlet(np.ones(4), len(picked)).astype(np.float32)
    found = between(places[picked], values, places)
    assert found.shape == (len(places), 4)
    assert np.allclose(found.sum(axis=1), 1.0, atol=1e-5)
    assert (found >= 0).all()


def test_nothing_seen_is_an_error() -> None:
    """Without any slice there is nothing to go by."""
    with pytest.raises(ValueError, match="nothing was seen"):
        between(np.zeros(0), np.zeros((0, 2), np.float32), np.zeros(3))
