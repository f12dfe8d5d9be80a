"""Tests of doubt: the threshold on the energy, how it is fitted and measured, and smoothing in mm."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.regions import UNKNOWN
from rules.decide import decide
from rules.doubt import accepted, doubt, fit_maximum_energy
from rules.smooth import smooth_25mm
from tests.rules.series import evidence, state


def test_foreign_images_lose_their_scores() -> None:
    """Above the threshold, and where the energy is no number, an image has no scores and is marked."""
    images = replace(
        state(("knee", 4), step_mm=30.0), energy=np.array([-9.0, -1.0, np.nan, -5.0]), maximum_energy=-5.0
    )
    found = doubt(images)
    assert found.foreign is not None
    assert found.foreign.tolist() == [False, True, True, False]
    assert not found.scores[1:3].any()
    np.testing.assert_array_equal(found.scores[[0, 3]], images.scores[[0, 3]])


def test_the_vicinity_is_doubted_not_the_image() -> None:
    """One odd image among known ones is kept; what looks odd all along goes, its one known image too."""
    odd = np.where(np.arange(40) < 20, -9.0, -2.0)
    odd[[10, 30]] = -2.0, -9.0
    found = doubt(replace(state(("knee", 40), step_mm=5.0), energy=odd, maximum_energy=-5.5))
    assert found.foreign is not None
    assert found.foreign.tolist() == [False] * 20 + [True] * 20


def test_without_energy_or_threshold_nothing_is_doubted() -> None:
    """Weights whose card has no threshold, and networks that give no energy, leave every image alone."""
    images = state(("knee", 2))
    assert doubt(images) is images
    known = replace(images, energy=np.array([100.0, 100.0]))
    assert doubt(known) is known
    unmeasured = replace(images, maximum_energy=-5.0)
    assert doubt(unmeasured) is unmeasured


@pytest.mark.parametrize("rules", [("doubt",), ("doubt", "order"), ("paper", "doubt")])
def test_a_foreign_series_is_unknown(rules: tuple[str, ...]) -> None:
    """A phantom that the network calls knee, however surely, gets no term."""
    series = replace(
        evidence(("knee", 30), score=0.99), energy=np.full(30, 0.0, np.float32), maximum_energy=-5.0
    )
    verdict = decide(series, rules, 0.5)
    assert set(verdict.regions) == {UNKNOWN}
    assert (verdict.term, verdict.rule) == (None, "doubt")


def test_the_threshold_keeps_the_share_of_known_images() -> None:
    """Of one subject's hundred images 95 lie at or below it."""
    energies = np.arange(100, dtype=np.float64)
    threshold = fit_maximum_energy(energies, ["a"] * 100)
    assert (energies <= threshold).mean() == pytest.approx(0.95)


def test_subjects_weigh_the_same_in_the_threshold() -> None:
    """A subject of a thousand easy images does not outweigh one of ten hard ones."""
    energies = np.concatenate([np.zeros(1000), np.arange(1.0, 11.0)])
    subjects = ["easy"] * 1000 + ["hard"] * 10
    assert fit_maximum_energy(energies, subjects, coverage=0.75) == 5.0


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=30), st.floats(0.01, 1.0))
def test_the_threshold_covers_what_it_was_fitted_on(energies: list[float], coverage: float) -> None:
    """At least the share asked for is let through, whatever the energies."""
    values = np.array(energies)
    threshold = fit_maximum_energy(values, [str(i) for i in range(len(values))], coverage)
    assert (values <= threshold).mean() >= coverage - 1e-6


def test_fitting_and_measuring_need_images() -> None:
    """No image, no threshold and no measurement."""
    with pytest.raises(ValueError, match="held-out"):
        fit_maximum_energy(np.zeros(0), [])
    with pytest.raises(ValueError, match="left out"):
        accepted(np.zeros(0), np.ones(3))


def test_what_is_accepted_of_a_left_out_region() -> None:
    """With 19 of 20 known images above 0.5, the share of the others above it is accepted."""
    known = np.array([0.1] + [0.5] * 19)
    assert accepted(known, np.array([0.2, 0.4, 0.6, np.nan])) == 0.25
    assert accepted(known, np.array([0.2]), coverage=1.0) == 1.0


def test_smoothing_in_mm_counts_length() -> None:
    """A wrong stretch of 10 mm vanishes in thin and in thick images; one of 30 mm stays."""
    for step in (1.0, 5.0):
        short, long = round(10 / step), round(30 / step)
        assert set(
            smooth_25mm(state(("chest", 60), ("knee", short), ("chest", 60), step_mm=step)).regions
        ) == {"chest"}
        kept = smooth_25mm(state(("chest", 60), ("knee", long), ("chest", 60), step_mm=step))
        assert kept.regions.count("knee") == pytest.approx(long, abs=1)


def test_smoothing_in_mm_is_the_mean_of_the_window() -> None:
    """Images at one place share their scores; without positions nothing changes."""
    images = replace(state(("chest", 1), ("neck", 1)), positions_mm=np.zeros(2))
    np.testing.assert_allclose(smooth_25mm(images).scores[0], images.scores.mean(axis=0))
    unplaced = replace(images, positions_mm=None)
    assert smooth_25mm(unplaced) is unplaced
