"""Tests of the paper's rules, case by case and by their symmetry."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.regions import MR_CLASSES
from rules.paper import abdomen_chest, breast, outliers, smooth, without_abdomen_chest
from rules.state import State

EVERY = (abdomen_chest, without_abdomen_chest, breast, outliers, smooth)


def state(*regions: str, score: float = 0.9) -> State:
    """Make a state in which each image scores `score` for the region named and little for the rest."""
    k = len(MR_CLASSES)
    scores = np.full((len(regions), k), (1 - score) / (k - 1))
    for i, region in enumerate(regions):
        scores[i, MR_CLASSES.index(region)] = score
    return State(MR_CLASSES, scores)


def test_abdomen_chest_takes_the_predominant_region() -> None:
    """Two chest images against one abdomen image turn the mixed ones into chest, and the other way round."""
    mixed = state("chest", "chest", "abdomen_chest", "abdomen")
    assert abdomen_chest(mixed).regions == ("chest", "chest", "chest", "abdomen")
    mixed = state("chest", "abdomen_chest", "abdomen", "abdomen")
    assert abdomen_chest(mixed).regions == ("chest", "abdomen", "abdomen", "abdomen")


def test_abdomen_chest_without_either_becomes_abdomen() -> None:
    """With neither abdomen nor chest in the series, and with as many of each, it becomes abdomen."""
    assert abdomen_chest(state("abdomen_chest", "pelvis")).regions == ("abdomen", "pelvis")
    assert abdomen_chest(state("chest", "abdomen_chest", "abdomen")).regions[1] == "abdomen"


def test_abdomen_chest_changes_no_other_label() -> None:
    """An image whose best class is another keeps it, though the mixed class came second."""
    scores = np.zeros((2, len(MR_CLASSES)))
    scores[0, [MR_CLASSES.index("neck"), MR_CLASSES.index("abdomen_chest")]] = 0.51, 0.49
    scores[1, MR_CLASSES.index("chest")] = 1.0
    after = abdomen_chest(State(MR_CLASSES, scores))
    assert after.regions == ("neck", "chest")
    np.testing.assert_allclose(after.scores.max(axis=1), [0.51, 1.0])


def test_abdomen_chest_keeps_the_confidence() -> None:
    """The mixed class's score goes to the winner, and on images of chest or abdomen to themselves."""
    assert abdomen_chest(state("abdomen_chest")).scores.max() > 0.9
    scores = np.zeros((1, len(MR_CLASSES)))
    scores[0, [MR_CLASSES.index("chest"), MR_CLASSES.index("abdomen_chest")]] = 0.55, 0.45
    assert abdomen_chest(State(MR_CLASSES, scores)).scores[0, MR_CLASSES.index("chest")] == 1.0


def test_without_abdomen_chest_takes_the_larger_of_the_two() -> None:
    """Image by image, the larger of abdomen and chest stands in; the mixed class scores nothing any more."""
    scores = np.zeros((2, len(MR_CLASSES)))
    abdomen, chest, mixed = (MR_CLASSES.index(key) for key in ("abdomen", "chest", "abdomen_chest"))
    scores[0, [abdomen, chest, mixed]] = 0.1, 0.2, 0.7
    scores[1, [abdomen, chest, mixed]] = 0.2, 0.1, 0.7
    after = without_abdomen_chest(State(MR_CLASSES, scores))
    assert after.regions == ("chest", "abdomen")
    assert not after.scores[:, mixed].any()


def test_breast_takes_the_series_at_one_half() -> None:
    """Exactly half of the images is enough; one image less is not."""
    assert breast(state("breast", "chest", "breast", "chest")).regions == ("breast",) * 4
    few = state("breast", "chest", "chest")
    assert breast(few).regions == few.regions


def test_breast_is_no_rule_for_ct() -> None:
    """Classes without breast pass unchanged."""
    plain = State(("head", "neck"), np.array([[0.2, 0.8]]))
    assert breast(plain) is plain


def test_outlier_between_equal_neighbours_is_removed() -> None:
    """A lone label inside a run takes the run's label."""
    assert outliers(state("chest", "chest", "knee", "chest")).regions == ("chest",) * 4


def test_border_edge_and_alternation_are_left_alone() -> None:
    """A one-image region between two others, one at the end, and alternating labels are no outliers."""
    for regions in (
        ("head", "neck", "chest"),
        ("knee", "chest", "chest"),
        ("chest", "neck", "chest", "neck", "chest"),
        ("chest", "knee", "knee", "chest"),
    ):
        assert outliers(state(*regions)).regions == regions


def test_smooth_is_the_mean_of_three() -> None:
    """The middle image gets the mean of three rows, the first the mean of two."""
    before = state("head", "neck", "chest")
    after = smooth(before)
    np.testing.assert_allclose(after.scores[1], before.scores.mean(axis=0))
    np.testing.assert_allclose(after.scores[0], before.scores[:2].mean(axis=0))


def test_smooth_overrules_an_unsure_image() -> None:
    """An unsure image between two sure ones of another region follows them."""
    scores = state("chest", "chest", "chest").scores.copy()
    scores[1] = state("neck", score=0.4).scores[0]
    assert smooth(State(MR_CLASSES, scores)).regions == ("chest",) * 3


def test_rules_survive_the_empty_and_the_single_series() -> None:
    """No image and one image go through every rule."""
    for rule in EVERY:
        assert rule(State(MR_CLASSES, np.zeros((0, len(MR_CLASSES))))).regions == ()
        assert rule(state("knee")).regions == ("knee",)


@st.composite
def states(draw: st.DrawFn) -> State:
    """Draw a series of up to 12 images whose scores are coarse enough for ties."""
    n = draw(st.integers(0, 12))
    rows: list[list[int]] = draw(
        st.lists(
            st.lists(st.integers(0, 4), min_size=len(MR_CLASSES), max_size=len(MR_CLASSES)).filter(any),
            min_size=n,
            max_size=n,
        )
    )
    scores = np.array(rows, dtype=np.float64).reshape(n, len(MR_CLASSES))
    total: NDArray[np.float64] = np.maximum(scores.sum(axis=1, keepdims=True), 1)
    return State(MR_CLASSES, scores / total)


@given(states())
def test_rules_mirror_and_stay_within_bounds(drawn: State) -> None:
    """The reversed series gives the reversed result, inputs stay as they are, no row exceeds 1."""
    mirrored = State(drawn.classes, drawn.scores[::-1])
    before = drawn.scores.copy()
    for rule in EVERY:
        assert rule(mirrored).regions == rule(drawn).regions[::-1]
        scores = rule(drawn).scores
        assert np.all(scores >= 0)
        assert np.all(scores.sum(axis=1) < 1 + 1e-9)
    np.testing.assert_array_equal(drawn.scores, before)
