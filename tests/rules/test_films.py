"""Rules for radiographs: both heads together, doubt, several views, terms and sides."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from model.radiographs import GROUPS, PART_KEYS, PARTS, groups_of
from model.regions import UNKNOWN
from rules.explain import DECIDED, Received, explain
from rules.films import Films, decide_films, joined
from rules.terms import named_term


def head(names: tuple[str, ...], **scores: float) -> NDArray[np.float32]:
    """Return one row of probabilities; what is left goes to the other classes alike."""
    rest = (1.0 - sum(scores.values())) / max(1, len(names) - len(scores))
    return np.array([[scores.get(name, rest) for name in names]], np.float32)


def films(*images: tuple[str, float]) -> Films:
    """Return images that show parts with these probabilities, the groups as sure."""
    groups = [head(GROUPS, **{groups_of(part)[0]: 0.95}) for part, _ in images]
    parts = [head(PART_KEYS, **{part: sure}) for part, sure in images]
    return Films(np.concatenate(groups), np.concatenate(parts))


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.key)
def test_a_single_part_gets_its_term(part: object) -> None:
    """Every part names its series, with a code and whether it has a side; the term may be written."""
    key, term = part.key, part.term  # type: ignore[attr-defined]
    found = decide_films(films((key, 0.9)), 0.5)
    assert (found.term, found.regions, found.rule) == (term, (key,), "network")
    assert named_term(term) is not None
    assert found.paired == named_term(term).paired  # type: ignore[union-attr]


def test_a_childs_chest_is_a_chest() -> None:
    """Body Part Examined of a child's chest is CHEST; the group tells the age."""
    child = Films(head(GROUPS, pediatric_chest=0.9), head(PART_KEYS, chest=0.95))
    found = decide_films(child, 0.5)
    assert (found.term, found.group, found.paired) == ("CHEST", "pediatric_chest", False)


def test_a_chest_of_unsure_age_is_still_a_chest() -> None:
    """Where adult and child are as likely, the term is sure and the group is not."""
    unsure = Films(head(GROUPS, pediatric_chest=0.5, adult_chest=0.5), head(PART_KEYS, chest=0.95))
    found = decide_films(unsure, 0.6)
    assert (found.term, found.group) == ("CHEST", None)


def test_doubt_is_unknown() -> None:
    """What no part reaches is unknown, without a term, with the reason."""
    flat = Films(head(GROUPS, others=0.9), head(PART_KEYS))
    found = decide_films(flat, 0.5)
    assert (found.regions, found.term, found.rule, found.group) == ((UNKNOWN,), None, "doubt", "others")
    assert found.flags == ("0 of 1 images reach the confidence 0.5",)


def test_parts_that_belong_together_are_named_by_the_whole() -> None:
    """Hand or wrist is HAND, calf or ankle LOWERLIMB, a spine of unsure height SPINE."""
    hand = Films(head(GROUPS, others=0.95), head(PART_KEYS, hand=0.45, wrist=0.45))
    assert decide_films(hand, 0.6).term == "HAND"
    leg = Films(head(GROUPS, others=0.95), head(PART_KEYS, calf=0.45, ankle=0.45))
    assert (decide_films(leg, 0.6).term, decide_films(leg, 0.6).paired) == ("LOWERLIMB", True)
    spine = Films(head(GROUPS, spine=0.95), head(PART_KEYS, tspine=0.4, tlspine=0.35, lspine=0.2))
    assert decide_films(spine, 0.6).term == "SPINE"


@pytest.mark.parametrize(
    ("views", "term"),
    [
        (("hand", "wrist"), "HAND"),
        (("ankle", "foot", "foot"), "FOOT"),
        (("knee", "calf"), "LOWERLIMB"),
        (("forearm", "elbow"), "UPPERLIMB"),
        (("chest", "abdomen"), "CHESTABDOMEN"),
        (("tspine", "lspine"), "TLSPINE"),
        (("cspine", "tspine", "lspine"), "SPINE"),
        (("skull", "pelvis"), None),
    ],
)
def test_several_views_get_one_term(views: tuple[str, ...], term: str | None) -> None:
    """A series of several parts is called by all of them, or not at all."""
    found = decide_films(films(*((view, 0.9) for view in views)), 0.5)
    assert (found.term, found.rule) == (term, "views")
    assert sum(span.images for span in found.spans) == len(views)
    assert "views" in DECIDED
    assert explain(found, Received("")).count("(1)") >= 1


def test_what_looks_foreign_is_doubted_on_request() -> None:
    """The card's threshold takes images out only where the rule is configured."""
    one = films(("knee", 0.9))
    strange = Films(one.groups, one.parts, np.array([3.0], np.float32), 1.0)
    assert decide_films(strange, 0.5).term == "KNEE"
    assert decide_films(strange, 0.5, doubt=True).term is None


def test_shapes_are_checked() -> None:
    """Outputs of another network are refused."""
    with pytest.raises(ValueError, match="shapes"):
        Films(np.zeros((1, 4), np.float32), np.zeros((1, len(PART_KEYS)), np.float32))


@settings(deadline=None, max_examples=60)
@example(np.zeros((3, len(GROUPS)), np.float32), np.full((3, len(PART_KEYS)), 0.5, np.float32), 1.0)
@given(
    arrays(np.float32, (3, len(GROUPS)), elements=st.floats(0, 1, width=32)),
    arrays(np.float32, (3, len(PART_KEYS)), elements=st.one_of(st.floats(0, 1, width=32), st.just(np.nan))),
    st.floats(0, 1),
)
def test_any_scores_give_a_verdict(
    groups: NDArray[np.float32], parts: NDArray[np.float32], minimum: float
) -> None:
    """Whatever the network says, there is a verdict of three images, and its numbers are shares."""
    found = decide_films(Films(groups, parts), minimum)
    assert len(found.regions) == 3
    assert all(0.0 <= each <= 1.0 + 1e-6 for each in (*found.confidences, found.confidence))
    both = joined(groups, parts)
    assert np.all(both.groups.sum(axis=1) <= len(GROUPS) + 1e-6)
