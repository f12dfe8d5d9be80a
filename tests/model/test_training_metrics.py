"""Figures and reports: arithmetic against small cases worked by hand, tables between markers."""

from pathlib import Path

import numpy as np
import pytest

from model.training import compare
from model.training.metrics import (
    ADJACENT,
    Outcome,
    Scored,
    calibration_error,
    confusion_by_subject,
    figures,
    fit_temperature,
    non_adjacent_share,
)
from model.training.provenance import Origin, table
from model.training.report import insert, plain, tables

CLASSES = ("head", "neck", "foot")


def outcome(*cases: tuple[str, str, str], confidence: float = 0.8) -> Outcome:
    """Return an outcome of (subject, truth, predicted) cases, each with one confidence."""
    probabilities = np.full((len(cases), 3), (1 - confidence) / 2, np.float32)
    for i, (_, _, predicted) in enumerate(cases):
        probabilities[i, CLASSES.index(predicted)] = confidence
    return Outcome(CLASSES, tuple(c[1] for c in cases), tuple(c[0] for c in cases), probabilities)


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


def test_grave_confusions_are_those_of_regions_apart() -> None:
    """Neck for foot is counted, head for neck is not."""
    share = non_adjacent_share(confusion_by_subject(FOUR).sum(axis=0), CLASSES)
    assert float(share) == pytest.approx(0.25)
    assert frozenset(("head", "neck")) in ADJACENT
    assert frozenset(("neck", "foot")) not in ADJACENT


def test_interval_is_over_subjects() -> None:
    """A hundred slices of one subject are one draw: the interval stays as wide as that of one slice."""
    few = [("a", "head", "head"), ("b", "head", "neck")]
    many = few * 100
    wide, narrow = figures(outcome(*few)), figures(outcome(*many))
    assert wide.weighted["sensitivity"].low == narrow.weighted["sensitivity"].low == 0.0
    assert narrow.weighted["sensitivity"].high == 1.0


def test_interval_contains_the_value() -> None:
    """With many subjects the interval lies about the value and inside 0..1."""
    cases = [(f"s{i}", "head", "head" if i % 3 else "foot") for i in range(60)]
    found = figures(outcome(*cases)).weighted["sensitivity"]
    assert 0.4 < found.low < found.value < found.high < 0.9


def test_calibration_error_by_hand() -> None:
    """A confidence of 0.8 that is right in half of the cases is off by 0.3."""
    assert calibration_error(FOUR) == pytest.approx(0.3, abs=1e-6)


def test_temperature_is_found_again() -> None:
    """Labels drawn from logits at a temperature of 2.5 give that temperature back."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (20000, 3))
    chances = np.exp(logits / 2.5) / np.exp(logits / 2.5).sum(axis=1, keepdims=True)
    truth = (rng.random((20000, 1)) > chances.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    assert fit_temperature(logits, truth.astype(np.int64), ["a"] * len(truth)) == pytest.approx(2.5, rel=0.06)


def test_table_names_regions_without_a_figure() -> None:
    """The Markdown has a row per region with slices and names the regions that have none."""
    text = tables("CT", [Scored("evaluation", figures(FOUR), 0.5, {"s": (4, 2)})])
    assert "| head | 2 | 1 | 50.0" in text
    assert "no figure: foot." in text
    assert "neck as foot 1" in text


def test_plain_figures_have_no_nan() -> None:
    """What goes into the card is JSON: numbers or null, never NaN."""
    values = plain(figures(FOUR))
    assert "nan" not in repr(values)
    assert values["confusion"] == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_tables_go_between_their_markers(tmp_path: Path) -> None:
    """Inserting twice leaves one copy, and the text around it as it was."""
    card = tmp_path / "card.md"
    card.write_text("before\n<!-- CT data: begin -->\nold\n<!-- CT data: end -->\nafter\n", encoding="utf-8")
    for _ in range(2):
        insert(card, "CT data", "new")
    text = card.read_text(encoding="utf-8")
    assert text.count("new") == 1
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")


def test_missing_markers_are_an_error(tmp_path: Path) -> None:
    """A model card without markers is not written to."""
    card = tmp_path / "card.md"
    card.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the markers"):
        insert(card, "MR data", "new")


def test_origins_show_their_licence() -> None:
    """The table of sources has the licence of each."""
    assert "| here | CC0 | images | 2 | 7 |" in table([Origin("here", "CC0", "images", 2, 7)])


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
    # drawn twice, subject b gains half of the slices; not drawn at all, nothing changes
    assert [accuracy.change.low, accuracy.change.high] == pytest.approx([0.0, 0.5])
    assert grave.change.value == pytest.approx(-0.25)
    assert "| evaluation | accuracy | 50.0 | 75.0 | +25.0 (+0.0 to +50.0) |" in compare.table(
        {"evaluation": tuple(found.values())}
    )


def test_nothing_differs_from_itself() -> None:
    """An outcome compared with itself changes by nothing, with an interval of no width."""
    for row in compare.differences(FOUR, FOUR):
        assert (row.change.value, row.change.low, row.change.high) == (0.0, 0.0, 0.0)


def test_other_slices_are_not_compared() -> None:
    """Outcomes of different slices are an error, not a difference."""
    with pytest.raises(ValueError, match="same slices"):
        compare.differences(FOUR, outcome(("a", "head", "head")))
