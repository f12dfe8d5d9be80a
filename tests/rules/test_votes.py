"""Tests of votes: other series of the same Frame of Reference speak for a height, and for no more."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.regions import CT_CLASSES, UNKNOWN
from rules.decide import decide
from rules.verdict import Evidence, Vote
from rules.votes import votes
from tests.rules.series import evidence, simulated, state


def vote(region: str, n: int = 20, confidence: float = 0.95, step_mm: float = 5.0) -> Vote:
    """Make a series of n images of one region from 0 mm on."""
    return Vote(np.arange(n, dtype=np.float64) * step_mm, (region,) * n, np.full(n, confidence))


def test_a_vote_tips_an_unsure_image() -> None:
    """Knee and head equally likely, another series says knee: knee it is; without reach nothing happens."""
    unsure = state(("knee", 3), score=0.4)
    scores = unsure.scores.copy()
    scores[:, unsure.classes.index("head")] = 0.4
    unsure = replace(unsure, scores=scores / scores.sum(axis=1, keepdims=True))
    tipped = votes(replace(unsure, votes=(vote("knee"),)))
    assert tipped.regions == ("knee",) * 3
    assert tipped.confidences.min() > unsure.confidences.max()
    far = Vote(np.array([500.0]), ("knee",), np.array([1.0]))
    np.testing.assert_allclose(votes(replace(unsure, votes=(far,))).scores, unsure.scores)


def test_a_sure_image_is_not_outvoted() -> None:
    """Ten series that all say something else weigh no more than one, and do not turn a sure image."""
    sure = state(("knee", 5), score=0.95)
    turned = votes(replace(sure, votes=(vote("head"),) * 10))
    assert turned.regions == sure.regions
    np.testing.assert_allclose(turned.scores, votes(replace(sure, votes=(vote("head"),))).scores)


@pytest.mark.parametrize(
    ("said", "shown"), [("abdomen", "lspine"), ("lspine", "pelvis"), ("abdomen", "hand")]
)
def test_one_level_has_several_regions(said: str, shown: str) -> None:
    """A spine protocol, and an arm at the side, are not contradicted by the trunk at their level."""
    images = state((shown, 5), score=0.6)
    assert votes(replace(images, votes=(vote(said),))).confidences.min() >= 0.59


def test_unknown_and_doubtful_images_say_nothing() -> None:
    """Votes without a known region or without confidence change no score."""
    images = state(("knee", 4))
    for silent in (vote(UNKNOWN), vote("head", confidence=0.0)):
        np.testing.assert_allclose(votes(replace(images, votes=(silent,))).scores, images.scores)
    assert votes(images) is images


def test_votes_are_a_rule() -> None:
    """A noisy series beside a clear one of the same place gets the clear one's regions."""
    clear, noisy = (
        evidence(("abdomen", 20), ("chest", 20)),
        evidence(("abdomen", 20), ("chest", 20), score=0.2),
    )
    first = decide(clear, ("order",), 0.5)
    assert clear.positions_mm is not None
    told = Vote(clear.positions_mm, first.regions, np.array(first.confidences))
    alone, helped = (decide(replace(noisy, votes=given), ("votes", "order"), 0.0) for given in ((), (told,)))
    assert helped.regions == first.regions
    assert helped.confidence > alone.confidence


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(0, 30))
def test_any_votes_keep_the_sums(seed: int, n: int, m: int) -> None:
    """Scores stay in bounds and rows keep their sums, whatever the others say."""
    rng = np.random.default_rng(seed)
    images = simulated(seed % 1000).state
    chosen = np.sort(rng.choice(len(images.scores), min(n, len(images.scores)), replace=False))
    positions = None if images.positions_mm is None else images.positions_mm[chosen]
    regions = tuple(rng.choice([*CT_CLASSES, UNKNOWN], m))
    other = Vote(rng.uniform(-10, 500, m), regions, rng.uniform(0, 1, m))
    given_state = replace(images, scores=images.scores[chosen], positions_mm=positions, votes=(other,))
    found = votes(given_state)
    np.testing.assert_allclose(found.scores.sum(axis=1), given_state.scores.sum(axis=1))
    assert np.all(found.scores >= 0)


def test_votes_of_a_second_look_help_on_simulated_bodies() -> None:
    """Two independent looks at one body: with the vote of the other, more images are right."""
    right = []
    for seed in range(60):
        first, second = simulated(seed, noise=2.2), simulated(seed, noise=2.2, look=1)
        told = decide(_evidence(second.state.scores, second.state.positions_mm), ("order",), 0.0)
        assert second.state.positions_mm is not None
        other = Vote(second.state.positions_mm, told.regions, np.array(told.confidences))
        made = _evidence(first.state.scores, first.state.positions_mm)
        alone = decide(made, ("order",), 0.0).regions
        helped = decide(replace(made, votes=(other,)), ("votes", "order"), 0.0).regions
        allowed = {"abdomen_chest": ("chest", "abdomen")}
        right.append(
            [
                np.mean([s in allowed.get(t, (t,)) for s, t in zip(said, first.truth, strict=True)])
                for said in (alone, helped)
            ]
        )
    alone_share, helped_share = np.mean(right, axis=0)
    assert helped_share > alone_share + 0.005


def _evidence(scores: np.ndarray[tuple[int, ...], np.dtype[np.float64]], positions: object) -> Evidence:
    assert isinstance(positions, np.ndarray)
    return Evidence(CT_CLASSES, scores.astype(np.float32), positions)
