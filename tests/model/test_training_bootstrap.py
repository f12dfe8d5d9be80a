"""The spatially aware bootstrap: slices apart, one series a patient, intervals that hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.training.bootstrap import APART_MM, Places, draw, mean, thinned


def places(*series: tuple[str, int, float], images: tuple[str, ...] = ()) -> Places:
    """Return series of (subject, slices, spacing in mm), and single images of these subjects.

    A subject is "name" or "name/study".
    """
    subjects, names, heights = [], [], []
    for number, (subject, count, spacing_mm) in enumerate(series):
        subjects += [subject] * count
        names += [f"series {number}"] * count
        heights += [index * spacing_mm for index in range(count)]
    for number, subject in enumerate(images):
        subjects.append(subject)
        names.append(f"image {number}")
        heights.append(0.0)
    people = tuple(name.split("/")[0] for name in subjects)
    return Places(people, tuple(subjects), tuple(names), tuple(heights))


STEPS = st.lists(st.floats(0.0, 25.0), min_size=0, max_size=40)


@given(STEPS, st.integers(0, 40))
def test_thinned_slices_lie_apart(steps: list[float], start: int) -> None:
    """Whatever the heights, kept slices are 10 mm apart, the start is kept, none can be added."""
    heights = np.concatenate([[0.0], np.cumsum(steps)])
    first = start % len(heights)
    kept = thinned(heights, first)
    assert first in kept
    assert (np.diff(heights[kept]) >= APART_MM - 1e-5).all()
    nearest = np.abs(heights[:, None] - heights[kept][None, :]).min(axis=1)
    assert (nearest < APART_MM + 1e-5).all()


def test_draws_hold_one_series_of_a_patient_and_slices_apart() -> None:
    """In every draw the slices of a patient are of one series and 10 mm apart."""
    where = places(("a", 30, 3.0), ("a", 12, 5.0), ("b", 40, 1.0), images=("b", "c", "c"))
    series, heights = np.array(where.series), np.array(where.positions_mm)
    subjects = np.array(where.subjects)
    for row in draw(where, 200).spaced.toarray():
        for subject in ("a", "b", "c"):
            kept = np.flatnonzero((row > 0) & (subjects == subject))
            assert len(set(series[kept])) <= 1
            assert (np.diff(np.sort(heights[kept])) >= APART_MM - 1e-5).all()


def test_studies_of_a_patient_come_together() -> None:
    """Of each study of a patient one series is drawn, and all of the patient's studies or none."""
    drawn = draw(places(("a/1", 12, 10.0), ("a/2", 6, 10.0), ("a/2", 4, 10.0), ("b", 9, 10.0)), 500)
    for row in drawn.scaled.toarray():
        times = row[:12]
        assert row[12:22].sum() == pytest.approx(10 * times[0])
        assert (row[12:18].sum() == 0) or (row[18:22].sum() == 0)
        assert times.sum() + row[12:22].sum() + row[22:].sum() == pytest.approx(22 * times[0] + 9 * row[22])


def test_draws_are_over_patients() -> None:
    """Patients are drawn as often as chance has it; in `once` each one is there once."""
    drawn = draw(places(images=("a", "b", "c", "d")), 4000)
    times = drawn.spaced.toarray()
    assert (times.sum(axis=1) == 4).all()
    assert np.mean(times[:, 0] == 0) == pytest.approx(0.75**4, abs=0.03)
    assert (drawn.once.toarray() == 1).all()


def test_scaled_draws_centre_on_the_plain_count() -> None:
    """On average each slice weighs one, however densely its series was cut."""
    where = places(("a", 60, 1.0), ("b", 12, 5.0), ("c", 20, 10.0), images=("c", "d", "d"))
    weights = draw(where, 20_000).scaled.mean(axis=0)
    assert np.asarray(weights).ravel() == pytest.approx(1.0, abs=0.12)
    assert float(np.mean(weights)) == pytest.approx(1.0, abs=0.01)


def test_same_places_give_the_same_draws() -> None:
    """Draws depend on the places alone, so two outcomes of the same slices are paired."""
    where = places(("a", 9, 4.0), ("b", 7, 4.0))
    first, again = (draw.__wrapped__(where, 50, 3).scaled for _ in range(2))
    assert np.array_equal(first.toarray(), again.toarray())


def test_interval_of_equal_values_has_no_width() -> None:
    """Where every slice has the same value, the interval is that value."""
    found = mean(np.full(21, 0.25), places(("a", 10, 3.0), ("b", 11, 3.0)))
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_copies_of_a_slice_do_not_narrow_the_interval() -> None:
    """Many slices of one patient within a few millimetres are as much evidence as one."""
    few = mean(np.repeat([1.0, 0.0, 1.0, 1.0], 1), places(*((s, 1, 1.0) for s in "abcd")))
    many = mean(np.repeat([1.0, 0.0, 1.0, 1.0], 9), places(*((s, 9, 1.0) for s in "abcd")))
    assert (few.low, few.high) == pytest.approx((many.low, many.high))


def test_interval_covers_the_truth() -> None:
    """Of 100 samples of 40 patients with slices alike, about 95 intervals hold the true share."""
    rng = np.random.default_rng(5)
    where = places(*((f"p{number}", 8, 4.0) for number in range(40)))
    held = 0
    for _ in range(100):
        of_patient = rng.beta(8, 2, 40)
        right = (rng.random(320) < np.repeat(of_patient, 8)).astype(np.float64)
        found = mean(right, where)
        held += found.low <= 0.8 <= found.high
    assert 88 <= held <= 100


def test_no_values_no_figure() -> None:
    """Of nothing there is neither a value nor an interval."""
    assert np.isnan(mean(np.array([]), places()).value)
