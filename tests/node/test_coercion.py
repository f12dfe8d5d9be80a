"""Tests of the decision whether a series is relabelled."""

import pytest

from node.relabelling.coercion import (
    KEEP,
    NEW_SERIES,
    WRITE,
    Incoming,
    Term,
    action,
    action_for,
    contradicts,
    remarks,
)
from node.settings.config import Relabel
from node.settings.destinations import DicomDestination

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


@pytest.mark.parametrize(
    ("code", "term", "expected"),
    [
        ("816094009", "CHEST", False),
        ("43799004", "CHEST", False),
        ("T-D3000", "CHEST", False),
        ("69536005", "CHEST", True),
        ("816094009", "CHESTABDOMEN", False),
        ("818981001", "CHESTABDPELVIS", False),
        ("45048000", "CHESTABDPELVIS", True),
        ("72696002", "LOWERLIMB", False),
        ("72696002", "WHOLEBODY", False),
        ("72696002", "PELVISLOWEXTREMT", False),
        ("85562004", "PELVISLOWEXTREMT", True),
        ("12738006", "HEAD", False),
        ("12738006", "CHEST", True),
        ("38266002", "CHEST", True),
        ("999999999", "CHEST", False),
        ("", "CHEST", False),
    ],
)
def test_regions_that_contradict_a_term(code: str, term: str, expected: bool) -> None:
    """Another place contradicts; a finer one, a part of a combination and an unknown code do not."""
    assert contradicts(code, term) == expected


def test_a_contradicting_region_is_a_wrong_tag() -> None:
    """It is replaced with the confidence for that, even where Body Part Examined says the term."""
    head = frozenset({"69536005"})
    for parts in ({"CHEST"}, {""}, set()):
        said = Incoming(frozenset(parts), frozenset({""}), head)
        assert action("when_missing_or_wrong", said, Term("CHEST", False, 0.8), SETTINGS) == WRITE
        assert action("when_missing_or_wrong", said, Term("CHEST", False, 0.79), SETTINGS) == KEEP


def test_frames_that_say_the_term_need_no_other_tag() -> None:
    """An Enhanced object without Body Part Examined whose frames fit the term is right as it is."""
    said = Incoming(frozenset(), frozenset({"U"}), frozenset({"816094009", "818981001"}))
    assert action("when_missing_or_wrong", said, Term("CHESTABDOMEN", False, 1.0), SETTINGS) == KEEP


@pytest.mark.parametrize(
    ("new_series", "policy", "said", "expected"),
    [
        (False, "always", incoming("HEAD"), WRITE),
        (True, "always", incoming("HEAD"), NEW_SERIES),
        (True, "always", incoming("CHEST"), KEEP),
        (False, "always", incoming("CHEST"), WRITE),
        (True, "always", incoming("CHEST", "THORAX"), NEW_SERIES),
        (True, "always", Incoming(frozenset({"CHEST"}), frozenset(), frozenset({"69536005"})), NEW_SERIES),
        (True, "when_missing_or_wrong", incoming("THORAX"), KEEP),
        (True, "never", incoming("HEAD"), KEEP),
    ],
)
def test_each_destination_has_its_own_way(
    new_series: bool, policy: str, said: Incoming, expected: str
) -> None:
    """Policy and mode are a destination's; a series that is right is never made anew."""
    place = {"name": "archive", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": 104}
    destination = DicomDestination.model_validate(place | {"relabel": policy, "new_series": new_series})
    assert action_for(destination, said, Term("CHEST", False, 1.0), SETTINGS) == expected
    assert action_for(destination, said, None, SETTINGS) == KEEP
