"""Tests of the decision whether a series is relabelled."""

import pytest

from node.coercion import KEEP, WRITE, Incoming, Term, action, remarks
from node.config import Relabel

SETTINGS = Relabel(fill_confidence=0.5, replace_confidence=0.8)


def incoming(*body_parts: str, laterality: str = "") -> Incoming:
    """Say what the instances of a series carried."""
    return Incoming(frozenset(body_parts), frozenset({laterality}))


@pytest.mark.parametrize(
    ("policy", "said", "confidence", "expected"),
    [
        ("when_missing_or_wrong", incoming(""), 0.5, WRITE),
        ("when_missing_or_wrong", incoming(""), 0.49, KEEP),
        ("when_missing_or_wrong", incoming("HEAD"), 0.8, WRITE),
        ("when_missing_or_wrong", incoming("HEAD"), 0.79, KEEP),
        ("when_missing_or_wrong", incoming("CHEST"), 1.0, KEEP),
        ("when_missing_or_wrong", incoming("THORAX"), 1.0, KEEP),
        ("when_missing_or_wrong", incoming("", "CHEST"), 0.5, WRITE),
        ("when_missing_or_wrong", incoming("", "HEAD"), 0.79, KEEP),
        ("when_missing_or_wrong", incoming("CHEST", "THORAX"), 0.5, WRITE),
        ("always", incoming("THORAX"), 0.1, WRITE),
        ("never", incoming(""), 1.0, KEEP),
    ],
)
def test_policy(policy: str, said: Incoming, confidence: float, expected: str) -> None:
    """Filling and replacing need their confidence; what agrees is left; always and never mean it."""
    assert action(policy, said, Term("CHEST", False, confidence), SETTINGS) == expected  # type: ignore[arg-type]


def test_a_vague_tag_is_filled_not_replaced() -> None:
    """EXTREMITY beside a knee needs the confidence for filling; beside a chest that for replacing."""
    said = incoming("EXTREMITY", "")
    assert action("when_missing_or_wrong", said, Term("KNEE", True, 0.5), SETTINGS) == WRITE
    assert action("when_missing_or_wrong", said, Term("KNEE", True, 0.49), SETTINGS) == KEEP
    assert action("when_missing_or_wrong", said, Term("CHEST", False, 0.79), SETTINGS) == KEEP
    assert (
        action("when_missing_or_wrong", incoming("PARTIALBODY"), Term("CHEST", False, 0.5), SETTINGS) == WRITE
    )


def test_without_a_term_nothing_is_written() -> None:
    """Doubt keeps the tags as received, whatever the policy."""
    assert action("always", incoming(""), None, SETTINGS) == KEEP


def test_a_side_on_an_unpaired_term_is_for_a_person() -> None:
    """Laterality L beside CHEST is neither overwritten nor contradicted, but remarked."""
    chest, knee = Term("CHEST", False, 1.0), Term("KNEE", True, 1.0)
    said = incoming("KNEE", laterality="L")
    assert action("always", said, chest, SETTINGS) == KEEP
    assert remarks(said, chest) == (
        "Laterality is given, which CHEST does not have; the tags stay as received",
    )
    assert action("always", said, knee, SETTINGS) == WRITE
    assert remarks(said, knee) == ()


def test_mixed_tags_are_remarked() -> None:
    """Different values within one series are against the standard, and told."""
    assert remarks(incoming("", "CHEST"), None) == (
        "the instances of the series carried different values of BodyPartExamined",
    )
