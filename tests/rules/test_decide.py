"""Tests of the decision: unknown images, spans, the series' term, the rule that decided, properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.regions import ABDOMEN_CHEST, CLASSES, CT_CLASSES, UNKNOWN
from rules.decide import GROUPS, RULES, check, decide, expanded
from rules.ladder import LADDER
from rules.paper import PAPER
from rules.verdict import Evidence
from tests.rules.series import evidence


def join(first: Evidence, second: Evidence) -> Evidence:
    """Put one series on top of another."""
    assert first.positions_mm is not None
    assert second.positions_mm is not None
    positions = np.concatenate([first.positions_mm, second.positions_mm + first.positions_mm[-1] + 5.0])
    return Evidence(first.classes, np.concatenate([first.probabilities, second.probabilities]), positions)


def test_paper_stands_for_its_rules_in_order() -> None:
    """One name in the configuration gives what the four give."""
    assert expanded(("paper",)) == PAPER == ("abdomen_chest", "breast", "outliers", "smooth")
    series = evidence(("chest", 5), ("knee", 1), ("abdomen_chest", 2), ("chest", 5))
    assert decide(series, ("paper",), 0.5) == decide(series, PAPER, 0.5)


@pytest.mark.parametrize(
    ("rules", "said"),
    [(("viterbo",), "no rule 'viterbo'; known are abdomen_chest"), (("order", "smooth"), "last rule")],
)
def test_wrong_lists_of_rules_are_one_sentence(rules: tuple[str, ...], said: str) -> None:
    """An unknown name and a rule after the one that decides are refused."""
    with pytest.raises(ValueError, match=said):
        check(rules)
    check((*GROUPS, *(name for name in RULES if name != "order"), "order"))


def test_no_rules_is_the_plain_best_class() -> None:
    """Without rules each image has its best class, outliers included, and the network decided."""
    verdict = decide(evidence(("chest", 5), ("knee", 1), ("chest", 5)), (), 0.5)
    assert verdict.regions == ("chest",) * 5 + ("knee",) + ("chest",) * 5
    assert verdict.rule == "network"
    assert verdict.term == "CHEST"


def test_the_last_rule_that_changed_a_region_is_named() -> None:
    """An outlier is removed by `outliers`; smoothing then changes scores but no region."""
    verdict = decide(evidence(("chest", 5), ("knee", 1), ("chest", 5)), PAPER, 0.5)
    assert set(verdict.regions) == {"chest"}
    assert verdict.rule == "outliers"


def test_spans_have_positions_counts_and_confidence() -> None:
    """A span runs from its first to its last image; the confidence is the mean of its images'."""
    spans = decide(evidence(("pelvis", 20), ("abdomen", 30)), (), 0.5).spans
    assert [(s.region, s.first_mm, s.last_mm, s.images) for s in spans] == [
        ("pelvis", 0.0, 95.0, 20),
        ("abdomen", 100.0, 245.0, 30),
    ]
    assert spans[0].confidence == pytest.approx(0.9)


def test_a_combination_has_its_term_and_code() -> None:
    """Abdomen above pelvis is ABDOMENPELVIS with its SNOMED CT code."""
    verdict = decide(evidence(("pelvis", 20), ("abdomen", 30)), PAPER, 0.5)
    assert verdict.term == "ABDOMENPELVIS"
    assert verdict.code is not None
    assert verdict.code.value == "818982008"
    assert verdict.confidence == pytest.approx(0.9, abs=0.03)
    assert not verdict.flags


def test_unsure_images_are_unknown_and_do_not_count() -> None:
    """Images below the confidence are `unknown`; the mean confidence and the term leave them out."""
    series = join(evidence(("knee", 8), score=0.8), evidence(("hand", 4), score=0.3))
    verdict = decide(series, (), 0.5)
    assert verdict.regions == ("knee",) * 8 + (UNKNOWN,) * 4
    assert verdict.spans[1].region == UNKNOWN
    assert verdict.confidence == pytest.approx(0.8)
    assert (verdict.term, verdict.paired, verdict.rule) == ("KNEE", True, "network")


def test_doubt_is_an_answer() -> None:
    """With less than half of the images known there is no term; at one half there is."""
    doubtful = decide(
        join(evidence(("knee", 4), score=0.8), evidence(("hand", 5), score=0.3)), PAPER[:2], 0.5
    )
    assert (doubtful.term, doubtful.code, doubtful.rule) == (None, None, "doubt")
    assert "4 of 9 images" in doubtful.flags[0]
    assert (
        decide(join(evidence(("knee", 4), score=0.8), evidence(("hand", 4), score=0.3)), (), 0.5).term
        == "KNEE"
    )


def test_empty_series_is_doubt() -> None:
    """No image, no region, no span, no term."""
    verdict = decide(
        Evidence(CT_CLASSES, np.zeros((0, len(CT_CLASSES)), np.float32), np.zeros(0)), PAPER, 0.5
    )
    assert (verdict.regions, verdict.spans, verdict.term, verdict.rule) == ((), (), None, "doubt")
    assert verdict.confidence == 0.0


def test_abdomen_chest_never_survives() -> None:
    """Even without rules the mixed class gives way, to the larger of abdomen and chest."""
    series = evidence((ABDOMEN_CHEST, 3))
    series.probabilities[1, series.classes.index("chest")] += 0.01
    assert decide(series, (), 0.0).regions == ("abdomen", "chest", "abdomen")


@pytest.mark.parametrize(
    ("runs", "term"),
    [
        ((("knee", 2), ("thigh", 30)), "THIGH"),
        ((("abdomen", 6), ("chest", 56), ("neck", 4)), "CHEST"),
        ((("neck", 3), ("head", 30)), "HEAD"),
        ((("thigh", 8), ("pelvis", 40), ("abdomen", 45), ("chest", 6)), "ABDOMENPELVIS"),
        ((("abdomen", 15), ("chest", 56)), "CHESTABDOMEN"),
        ((("chest", 20), ("knee", 2), ("chest", 20)), "CHEST"),
        ((("knee", 1), ("thigh", 4)), "LOWERLIMB"),
    ],
)
def test_overscan_does_not_change_the_term(runs: tuple[tuple[str, int], ...], term: str) -> None:
    """A thin region at the edge, or a stray one, stays in the spans and out of the term."""
    verdict = decide(evidence(*runs), (), 0.5)
    assert verdict.term == term
    assert [(span.region, span.images) for span in verdict.spans] == list(runs)


def test_a_thin_region_between_two_others_counts() -> None:
    """A short neck between head and chest is on the way: the set stays contiguous and is not refused."""
    verdict = decide(evidence(("chest", 40), ("neck", 4), ("head", 20)), (), 0.5)
    assert verdict.term == "NECKCHEST"
    assert "head + neck + chest" in verdict.flags[0]


def test_a_series_in_one_place_is_named() -> None:
    """Repeats of one slice (perfusion, bolus tracking) have no extent in mm and still get their term."""
    series = evidence(("head", 10), step_mm=0.0)
    assert decide(series, PAPER, 0.5).term == "HEAD"


def test_scores_that_are_no_numbers_count_for_nothing() -> None:
    """NaN in a row leaves the other classes' scores; a row of NaN is unknown."""
    series = evidence(("knee", 3))
    series.probabilities[1] = np.nan
    series.probabilities[2, 0] = np.nan
    assert decide(series, (), 0.0).regions == ("knee", UNKNOWN, "knee")


def test_wrong_evidence_and_unknown_rules_are_errors() -> None:
    """Shapes that do not fit and rules that do not exist are refused."""
    good = evidence(("knee", 3))
    assert good.positions_mm is not None
    with pytest.raises(ValueError, match="expected"):
        Evidence(good.classes, good.probabilities, good.positions_mm[:2])
    with pytest.raises(ValueError, match="expected"):
        Evidence(good.classes[:3], good.probabilities, good.positions_mm)
    with pytest.raises(ValueError, match="no rule"):
        decide(good, ("viterbo",), 0.5)


def test_images_may_come_in_any_order() -> None:
    """Regions follow the images as they came, spans the body; the term is that of the sorted series."""
    series = evidence(("pelvis", 20), ("abdomen", 30))
    assert series.positions_mm is not None
    mixed = np.random.default_rng(1).permutation(50)
    shuffled = Evidence(series.classes, series.probabilities[mixed], series.positions_mm[mixed])
    verdict, plain = decide(shuffled, PAPER, 0.5), decide(series, PAPER, 0.5)
    assert verdict.regions == tuple(plain.regions[i] for i in mixed)
    assert (verdict.spans, verdict.term) == (plain.spans, plain.term)


@pytest.mark.parametrize("rules", [PAPER, ("order",), ("smooth_25mm",)])
@pytest.mark.parametrize("broken", [None, np.array([0.0, np.nan, 10.0])])
def test_without_positions_the_images_lie_in_one_place(
    rules: tuple[str, ...], broken: NDArray[np.float64] | None
) -> None:
    """Missing positions, or one that is no number: every image is judged, the term goes by their number."""
    series = evidence(("knee", 3))
    verdict = decide(Evidence(series.classes, series.probabilities, broken), rules, 0.5)
    assert verdict.regions == ("knee",) * 3
    assert (verdict.term, verdict.spans[0].first_mm, verdict.spans[0].last_mm) == ("KNEE", 0.0, 0.0)


def test_the_dominant_region_has_the_greatest_extent() -> None:
    """Not the number of images but the mm that they stand for: three phases of ten places are ten places."""
    phases = evidence(("pelvis", 30))
    assert phases.positions_mm is not None
    places = np.repeat(phases.positions_mm[:10], 3)
    low = Evidence(phases.classes, phases.probabilities, places)
    assert decide(join(low, evidence(("abdomen", 20))), (), 0.5).dominant == "abdomen"
    assert decide(evidence(("knee", 5), score=0.2), (), 0.5).dominant is None


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    """Draw up to 15 images of CT or MR with coarse scores, so that ties occur, at positions with repeats."""
    classes = CLASSES[draw(st.sampled_from(["CT", "MR"]))]
    n, seed = draw(st.integers(0, 15)), draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    rows = random.integers(0, 5, (n, len(classes))) ** random.integers(1, 8)
    scores = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1)
    return Evidence(classes, scores.astype(np.float32), np.cumsum(random.integers(0, 4, n) * 2.5))


scoring = [name for name in (*GROUPS, *RULES) if name != "order"]
rule_lists = st.builds(
    lambda names, last: [*names, *last],
    st.lists(st.sampled_from(scoring), max_size=6),
    st.sampled_from([[], ["order"]]),
)


@settings(max_examples=150)
@given(evidences(), rule_lists, st.floats(0, 1))
def test_every_verdict_is_well_formed(drawn: Evidence, rules: list[str], minimum: float) -> None:
    """Regions are known keys, spans hold every image once, and the same input gives the same verdict."""
    before = drawn.probabilities.copy()
    verdict = decide(drawn, rules, minimum)
    assert set(verdict.regions) <= {*drawn.classes, UNKNOWN} - {ABDOMEN_CHEST}
    assert [region for span in verdict.spans for region in [span.region] * span.images] == list(
        verdict.regions
    )
    assert len(verdict.confidences) == len(verdict.regions) == len(drawn.probabilities)
    assert all(0 <= value <= 1 for value in (*verdict.confidences, verdict.confidence))
    assert (verdict.term is None) == (verdict.code is None)
    assert verdict.rule in (*expanded(rules), "network", "doubt")
    assert decide(drawn, rules, minimum) == verdict
    np.testing.assert_array_equal(drawn.probabilities, before)


@settings(max_examples=100)
@given(evidences())
def test_the_reversed_series_gives_the_mirrored_verdict(drawn: Evidence) -> None:
    """Under the paper's rules a series turned upside down has its regions in reverse and the same term."""
    assert drawn.positions_mm is not None
    last = drawn.positions_mm[-1] if len(drawn.positions_mm) else 0.0
    mirrored = Evidence(drawn.classes, drawn.probabilities[::-1], last - drawn.positions_mm[::-1])
    verdict, reverse = decide(drawn, PAPER, 0.2), decide(mirrored, PAPER, 0.2)
    assert reverse.regions == verdict.regions[::-1]
    assert (reverse.term, reverse.rule) == (verdict.term, verdict.rule)


def test_every_rung_of_the_ladder_is_a_legal_list_of_rules() -> None:
    """What is measured side by side can be configured, under unique names, and ends in all rules."""
    for rung in LADDER:
        check(rung.rules)
        assert ("votes" in rung.rules) == rung.needs_votes
    names = [rung.name for rung in LADDER]
    assert names[:2] == ["argmax", "paper"]
    assert len(set(names)) == len(names)
