"""Figures of whole series: boundaries in mm, sets of regions, and associations with confounders."""

import numpy as np
import pytest
from scipy.stats.contingency import association as scipy_association

from model.training.bootstrap import Places
from model.training.cases import Case
from model.training.confounders import (
    all_associations,
    association,
    chi_squared,
    contrast,
    sequence_family,
    spacing,
)
from model.training.series_metrics import boundaries, change_mm, series_figures

PIXELS = np.zeros((4, 4), np.float32)


def case(
    *truth: str | None, step_mm: float = 5.0, name: str = "v", subject: str = "a", also: str = ""
) -> Case:
    """Return a volume with a slice for each label, from the feet up."""
    heights = np.arange(len(truth), dtype=np.float64) * step_mm
    return Case(name, subject, "s", truth, (PIXELS,) * len(truth), (1.0, 1.0), heights, also)


def said(text: str) -> tuple[str, ...]:
    """Return regions by their first letters: p(elvis), a(bdomen), c(hest), n(eck), h(ead)."""
    names = {"p": "pelvis", "a": "abdomen", "c": "chest", "n": "neck", "h": "head", "m": "abdomen_chest"}
    return tuple(names[letter] for letter in text)


ABDOMEN_TO_CHEST = case("abdomen", "abdomen", "abdomen", None, None, "chest", "chest")
"""Labelled at 0, 5, 10 and 25, 30 mm: the gap lies from 10 to 25, its middle at 17.5."""


@pytest.mark.parametrize(
    ("predicted", "error_mm"),
    [
        ("aaaaacc", 0.0),
        ("aaacccc", 0.0),
        ("aaccccc", 2.5),
        ("acccccc", 7.5),
        ("aaaaaac", 2.5),
        ("aacaccc", 0.0),
    ],
)
def test_boundary_error_by_hand(predicted: str, error_mm: float) -> None:
    """A change within the gap is no error; beyond, the distance from the gap's edge counts."""
    (found,) = boundaries(ABDOMEN_TO_CHEST, said(predicted))
    assert (found.below, found.above, found.gap_mm, found.middle_mm) == ("abdomen", "chest", 15.0, 17.5)
    assert found.error_mm == pytest.approx(error_mm)


def test_boundary_that_was_not_found_has_no_error() -> None:
    """Where one of the two regions is never predicted there is nothing to measure, but it is counted."""
    (found,) = boundaries(ABDOMEN_TO_CHEST, said("aaaaaaa"))
    assert np.isnan(found.error_mm)
    figures = series_figures([ABDOMEN_TO_CHEST], [said("aaaaaaa")], resolves=True)
    assert figures is not None
    assert (figures.boundaries[0].boundaries, figures.boundaries[0].found) == (1, 0)


def test_abdomen_chest_is_itself_a_transition() -> None:
    """Images labelled `abdomen_chest` widen the gap between abdomen and chest."""
    volume = case("abdomen", "abdomen", "abdomen_chest", "abdomen_chest", "chest", "chest")
    (found,) = boundaries(volume, said("aammcc"))
    assert (found.gap_mm, found.error_mm) == (15.0, 0.0)


def test_regions_apart_make_no_boundary() -> None:
    """Labels of two regions that do not share a border have an unlabelled region between them."""
    assert boundaries(case("pelvis", None, "chest"), said("pac")) == ()


def test_change_is_the_same_from_either_end() -> None:
    """A volume stored upside down has its change at the mirrored height."""
    heights = np.arange(7, dtype=np.float64) * 5.0
    regions = said("aacaccc")
    up = change_mm(heights, regions, "abdomen", "chest")
    down = change_mm(heights, regions[::-1], "chest", "abdomen")
    assert up == pytest.approx(30.0 - down)


def test_sets_of_regions_by_hand() -> None:
    """One series exact, one with a false region, one that lacks a region; unlabelled images do not count."""
    volumes = [case("abdomen", None, "chest", name=name, subject=name) for name in "xyz"]
    found = series_figures(volumes, [said("apc"), said("aan"), said("aaa")], resolves=True)
    assert found is not None
    assert (found.series, found.subjects) == (3, 3)
    assert found.exact.value == pytest.approx(1 / 3)
    assert found.false.value == pytest.approx(1 / 3)


def test_second_reading_is_no_false_region() -> None:
    """A region that a reader could reasonably give makes the set inexact, but is not false."""
    found = series_figures([case("neck", "neck", also="cspine")], [("neck", "cspine")], resolves=True)
    assert found is not None
    assert (found.exact.value, found.false.value) == (0.0, 0.0)


def test_either_half_completes_a_set_after_rules() -> None:
    """Rules that make chest of `abdomen_chest` leave the set exact."""
    volume = case("abdomen", "abdomen_chest", "chest")
    for resolves, exact in ((True, 1.0), (False, 0.0)):
        found = series_figures([volume], [said("acc")], resolves)
        assert found is not None
        assert found.exact.value == exact


def test_single_images_are_no_series() -> None:
    """Without heights there is nothing to judge as a series."""
    image = Case("i", "a", "s", ("neck",), (PIXELS,), None, None)
    assert series_figures([image], [("neck",)], resolves=True) is None


@pytest.mark.parametrize("seed", range(5))
def test_cramers_v_is_that_of_scipy(seed: int) -> None:
    """Chi-squared and V of random tables are those of another implementation."""
    table = np.random.default_rng(seed).integers(1, 60, (2, 4)).astype(np.float64)
    statistic, v = chi_squared(table)
    assert float(v) == pytest.approx(scipy_association(table.astype(np.int64), method="cramer"))
    assert float(v) == pytest.approx(float(np.sqrt(statistic / table.sum())))


def test_a_table_without_wrong_slices_has_no_association() -> None:
    """Where all are right, or all of one value, V is 0 and no number is missing."""
    statistic, v = chi_squared(np.array([[[5.0, 7.0], [0.0, 0.0]], [[5.0, 0.0], [3.0, 0.0]]]))
    assert statistic.tolist() == [0.0, 0.0]
    assert v.tolist() == [0.0, 0.0]


def test_association_is_found_and_its_absence_too() -> None:
    """A factor that decides over right and wrong has V near 1; one that does not, a large p."""
    n = 60
    where = Places(tuple(f"s{i}" for i in range(n)), ("s",) * n, tuple(f"i{i}" for i in range(n)), (0.0,) * n)
    right = np.arange(n) % 2 == 0
    strong = association("f", ["yes" if ok else "no" for ok in right], right, where)
    weak = association("f", ["yes" if i % 4 < 2 else "no" for i in range(n)], right, where)
    assert strong is not None
    assert weak is not None
    assert strong.cramers_v == pytest.approx(1.0)
    assert strong.p < 0.001
    assert weak.p > 0.5
    assert {row.value: row.right.value for row in strong.strata} == {"yes": 1.0, "no": 0.0}


def test_factors_with_one_value_are_left_out() -> None:
    """Nothing can be associated with what does not vary."""
    where = Places(("a", "b"), ("s", "s"), ("x", "y"), (0.0, 0.0))
    found = all_associations([{"f": "1", "g": "1"}, {"f": "1", "g": "2"}], np.array([True, False]), where)
    assert [one.factor for one in found] == ["g"]


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("ADC", "diffusion"), ("DWI calc b", "diffusion"), ("TOF MRA", "angiography"), ("IDEAL fat", "Dixon"),
        ("STIR", "inversion recovery"), ("T2 TSE", "T2"), ("T1 SE", "T1"), ("3D GRE MToff", "gradient echo"),
        ("PD/T2 fs", "fat-suppressed"), ("T2*", "gradient echo"), ("cine SSFP short axis", "cine"),
        ("PD", "proton density"), ("", "not known"),
    ],
)  # fmt: skip
def test_sequences_have_a_family(text: str, family: str) -> None:
    """The manifests' words for a sequence give its family."""
    assert sequence_family(text) == family


def test_classes_of_spacing_and_contrast() -> None:
    """Spacing has the paper's three classes, contrast what the text begins with; else not known."""
    assert [spacing(np.array([0.0, step])) for step in (2.0, 3.0, 5.0)] == [
        "up to 2 mm", "2 to 5 mm", "5 mm and more",
    ]  # fmt: skip
    assert spacing(None) == "not known"
    assert [contrast(text) for text in ("yes (arterial)", "no", "unknown (mixed)")] == [
        "yes",
        "no",
        "not known",
    ]
