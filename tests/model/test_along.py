"""Means over the vicinity of images."""

import numpy as np

from model.along import VICINITY_MM, means_within, steadied

INFINITE = float("-inf")


def test_means_count_what_lies_within() -> None:
    """The edges of the window belong to it; images at one place share their values."""
    values = np.array([[0.0, 8.0], [2.0, 6.0], [4.0, 4.0], [9.0, 0.0]])
    found = means_within(values, np.array([0.0, 10.0, 10.0, 30.0]), 10.0)
    np.testing.assert_allclose(found, [[2.0, 6.0], [2.0, 6.0], [2.0, 6.0], [9.0, 0.0]])


def test_energies_are_steadied_by_their_vicinity() -> None:
    """An odd image among known ones looks nearly known; what is no number stays so by itself."""
    places = np.arange(5, dtype=np.float64) * VICINITY_MM
    found = steadied(np.array([-9.0, -9.0, 0.0, np.nan, -6.0]), places)
    np.testing.assert_allclose(found, [-9.0, -6.0, -4.5, np.nan, -6.0])


def test_without_places_energies_stay() -> None:
    """Single images, no images, and energies far below any threshold."""
    single = np.array([-3.0, 0.0])
    assert steadied(single, None) is single
    assert not len(steadied(np.zeros(0), np.zeros(0)))
    assert (steadied(np.full(3, INFINITE), np.arange(3.0)) < -1e5).all()
