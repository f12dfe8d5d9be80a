"""Figures of slices: arithmetic against small cases worked by hand."""

import numpy as np
import pytest

from model.regions import UNKNOWN
from model.training import compare
from model.training.bootstrap import Places
from model.training.calibration import by_coverage, calibration_error, fit_temperature, reliability
from model.training.metrics import ADJACENT, Outcome, credited, figures, measures, non_adjacent_share

CLASSES = ("head", "neck", "foot")


def outcome(*cases: tuple[str, str, str], confidence: float = 0.8) -> Outcome:
    """Return an outcome of (subject, truth, said) cases, single images of one confidence."""
    names = tuple(f"image {number}" for number in range(len(cases)))
    return Outcome(
        CLASSES,
        tuple(case[1] for case in cases),
        tuple(case[2] for case in cases),
        np.full(len(cases), confidence),
        ("",) * len(cases),
        Places(tuple(case[0] for case in cases), ("s",) * len(cases), names, (0.0,) * len(cases)),
    )


FOUR = outcome(("a", "head", "head"), ("a", "head", "neck"), ("b", "neck", "neck"), ("b", "neck", "foot"))


def test_figures_by_hand() -> None:
    """Sensitivity, specificity and F1 of four slices are those worked out on paper."""
    found = {row.region: row for row in figures(FOUR).regions}
    assert set(found) == {"head", "neck"}
    assert found["head"].sensitivity.value == pytest.approx(0.5)
    assert found["head"].specificity.value == pytest.approx(1.0)
    assert found["head"].f1.value == pytest.approx(2 / 3)
    assert found["neck"].specificity.value == pytest.approx(0.5)
    assert (found["neck"].slices, found["neck"].subjects) == (2, 1)


def test_averages_leave_out_regions_without_slices() -> None:
    """Foot has no slice, so it enters neither the macro nor the weighted average."""
    found = figures(FOUR)
    assert found.macro["sensitivity"].value == pytest.approx(0.5)
    assert found.weighted["sensitivity"].value == pytest.approx(0.5)
    assert found.confusion == ((1, 1, 0, 0), (0, 1, 1, 0), (0, 0, 0, 0))


def test_grave_confusions_are_those_of_regions_apart() -> None:
    """Neck for foot is counted, head for neck is not, and unknown is no region."""
    assert float(non_adjacent_share(FOUR.confusion(), CLASSES)) == pytest.approx(0.25)
    assert frozenset(("head", "neck")) in ADJACENT
    doubted = outcome(("a", "neck", UNKNOWN), ("a", "neck", "foot"))
    assert float(non_adjacent_share(doubted.confusion(), CLASSES)) == pytest.approx(0.5)


def test_unknown_is_not_right() -> None:
    """A rejected slice lowers sensitivity, but no other region's specificity."""
    found = figures(outcome(("a", "head", UNKNOWN), ("a", "head", "head"), ("b", "neck", "neck")))
    assert found.weighted["sensitivity"].value == pytest.approx(2 / 3)
    assert found.weighted["specificity"].value == pytest.approx(1.0)
    assert found.unknown == pytest.approx(1 / 3)


def test_interval_is_over_subjects() -> None:
    """A hundred single images of each subject still leave the interval as wide as two subjects have it."""
    few = [("a", "head", "head"), ("b", "head", "neck")]
    wide, narrow = figures(outcome(*few)), figures(outcome(*(few * 100)))
    assert wide.weighted["sensitivity"].low == narrow.weighted["sensitivity"].low == 0.0
    assert narrow.weighted["sensitivity"].high == 1.0


def test_interval_contains_the_value() -> None:
    """With many subjects the interval lies about the value and inside 0..1, and so does the paper's count."""
    cases = [(f"s{i}", "head", "head" if i % 3 else "foot") for i in range(60)]
    found = figures(outcome(*cases))
    for one in (found.weighted["sensitivity"], found.spaced["sensitivity"]):
        assert 0.4 < one.low < one.value < one.high < 0.9


def test_draws_that_miss_a_weak_region_do_not_lift_the_macro_average() -> None:
    """A region of one patient, all wrong, counts in every draw; else its absence would look like success."""
    cases = [(f"s{i}", "head", "head") for i in range(20)] + [("one", "foot", "head")]
    found = figures(outcome(*cases)).macro["sensitivity"]
    assert (found.low, found.value, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_second_reading_counts_apart() -> None:
    """A slice read as its `also` is wrong, but right where a second reading counts."""
    plain = outcome(("a", "neck", "head"))
    other = Outcome(CLASSES, ("neck",), ("head",), plain.confidences, ("head",), plain.places)
    assert figures(plain).with_also == 0.0
    assert figures(other).with_also == 1.0
    assert figures(other).weighted["sensitivity"].value == 0.0


def test_either_half_of_abdomen_chest_is_credited_to_rules() -> None:
    """After rules abdomen and chest are right for `abdomen_chest`; for the network alone they are not."""
    assert credited("abdomen_chest", "chest", resolves=True) == "abdomen_chest"
    assert credited("abdomen_chest", "chest", resolves=False) == "chest"
    assert credited("abdomen_chest", "pelvis", resolves=True) == "pelvis"
    assert credited("abdomen", "chest", resolves=True) == "chest"


def test_nothing_to_score_is_an_error() -> None:
    """An outcome without a slice has no figures."""
    with pytest.raises(ValueError, match="no labelled slice"):
        figures(outcome())


def test_calibration_by_hand() -> None:
    """A confidence of 0.8 that is right in half of the cases is off by 0.3."""
    bins = reliability(FOUR.confidences, FOUR.right)
    assert calibration_error(bins) == pytest.approx(0.3)
    assert [(one.images, one.right) for one in bins if one.images] == [(4, 0.5)]


def test_accuracy_against_coverage_by_hand() -> None:
    """The most confident come first; images of equal confidence come together."""
    curve = by_coverage(np.array([0.9, 0.5, 0.7, 0.5]), np.array([True, False, False, True]))
    assert [one.coverage for one in curve] == pytest.approx([0.25, 0.5, 1.0])
    assert [one.right for one in curve] == pytest.approx([1.0, 0.5, 0.5])


def test_temperature_is_found_again() -> None:
    """Labels drawn from logits at a temperature of 2.5 give that temperature back."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (20000, 3))
    chances = np.exp(logits / 2.5) / np.exp(logits / 2.5).sum(axis=1, keepdims=True)
    truth = (rng.random((20000, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    assert fit_temperature(logits, truth.astype(np.int64), ["a"] * len(truth)) == pytest.approx(2.5, rel=0.06)


def test_temperature_never_sharpens() -> None:
    """Timid logits that are always right keep a temperature of 1."""
    logits = np.tile(np.array([[1.0, 0.0, 0.0]]), (50, 1))
    found = fit_temperature(logits, np.zeros(50, np.int64), [f"s{i}" for i in range(50)])
    assert found == pytest.approx(1.0, abs=1e-3)


def test_paired_differences_by_hand() -> None:
    """One subject's neck no longer taken for a foot: accuracy gains a quarter, grave errors lose one."""
    better = outcome(
        *(("a", "head", "head"), ("a", "head", "neck"), ("b", "neck", "neck"), ("b", "neck", "neck"))
    )
    found = {row.measure: row for row in compare.differences(FOUR, better)}
    accuracy, grave = found["accuracy"], found["neither theirs nor adjacent"]
    assert [accuracy.before, accuracy.after] == pytest.approx([0.5, 0.75])
    assert accuracy.change.value == pytest.approx(0.25)
    assert accuracy.change.low == 0.0  # not drawn at all, subject b changes nothing
    assert grave.change.value == pytest.approx(-0.25)


def test_nothing_differs_from_itself() -> None:
    """An outcome compared with itself changes by nothing, with an interval of no width."""
    for row in compare.differences(FOUR, FOUR):
        assert (row.change.value, row.change.low, row.change.high) == (0.0, 0.0, 0.0)


def test_pairing_narrows_what_is_hard_for_both() -> None:
    """Of two outcomes that fail the same patients the difference is surer than either value."""
    cases = [(f"s{i}", "head", "neck" if i % 2 else "head") for i in range(40)]
    better = [*cases[:1], ("s1", "head", "head"), *cases[2:]]
    change = compare.differences(outcome(*cases), outcome(*better))[0].change
    alone = figures(outcome(*cases)).weighted["sensitivity"]
    assert change.high - change.low < 0.5 * (alone.high - alone.low)


def test_other_slices_are_not_compared() -> None:
    """Outcomes of different slices are an error, not a difference."""
    with pytest.raises(ValueError, match="same slices"):
        compare.differences(FOUR, outcome(("a", "head", "head")))


def test_measures_of_many_matrices_at_once() -> None:
    """Measures of a stack of matrices are those of each matrix by itself."""
    one, other = FOUR.confusion(), outcome(("a", "head", "foot"), ("a", "neck", "neck")).confusion()
    together = measures(np.stack([one, other]), CLASSES)
    for name, values in together.items():
        assert values == pytest.approx([float(measures(each, CLASSES)[name]) for each in (one, other)])
