"""Tests of the whole series as one more voice for each image."""

from dataclasses import replace

import numpy as np

from rules.decide import decide
from rules.state import State
from rules.verdict import Evidence
from rules.whole import whole

CLASSES = ("chest", "abdomen", "pelvis")


def state(said: list[list[float]] | None) -> State:
    """Return two images, the second of which is torn between chest and abdomen."""
    scores = np.array([[0.9, 0.05, 0.05], [0.5, 0.5, 0.0]])
    return State(CLASSES, scores, whole=None if said is None else np.array(said))


def test_it_decides_where_the_slices_do_not() -> None:
    """A torn image follows the projection; the sum of its scores stays."""
    found = whole(state([[1.0, 0.0, 0.0], [0.05, 0.9, 0.05]]))
    assert found.regions == ("chest", "abdomen")
    assert np.allclose(found.scores.sum(axis=1), [1.0, 1.0])


def test_a_sure_image_stands_against_it() -> None:
    """One look from afar does not overrule an image that is sure."""
    assert whole(state([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])).regions[0] == "chest"


def test_nothing_said_changes_nothing() -> None:
    """Without a projection, or where it shows nothing, scores stay as they are."""
    before = state(None)
    assert whole(before) is before
    assert (whole(state([[0.0] * 3] * 2)).scores == before.scores).all()


def test_it_goes_with_the_images_through_sorting() -> None:
    """The evidence may come in any order: what is said of an image stays with it."""
    evidence = Evidence(
        CLASSES,
        np.array([[0.5, 0.5, 0.0], [0.9, 0.05, 0.05]], np.float32),
        np.array([10.0, 90.0]),
        whole=np.array([[0.05, 0.9, 0.05], [1.0, 0.0, 0.0]]),
    )
    assert decide(evidence, ("whole",), 0.4).regions == ("abdomen", "chest")
    turned = replace(evidence.of(np.array([1, 0])))
    assert decide(turned, ("whole",), 0.4).regions == ("chest", "abdomen")
