"""Tests of a site's rules: every condition, what comes first, what they do, and patterns that bite nobody."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.decide import decide
from rules.site import (
    MAXIMUM_PATTERN,
    Conditions,
    Facts,
    Found,
    SiteRule,
    after,
    applied,
    before,
    check_pattern,
    unmet,
)
from rules.terms import named_term
from tests.rules.series import evidence

FACTS = Facts("MR", "MR1", "EXTREMITY", "MRI Knee left", "t2_tse_ax Knie")
FOUND = Found("KNEE", 0.9)


def rule(name: str = "a", **conditions: Any) -> SiteRule:
    """Make a rule that keeps the tags under these conditions."""
    return SiteRule(name, Conditions(**conditions), keep=True)


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ({"modality": ("CT", "MR")}, None),
        ({"modality": ("CT",)}, "modality is 'MR', not CT"),
        ({"source": ("mr1",)}, None),
        ({"source": ("CT1", "CT2")}, "source is 'MR1', not CT1 or CT2"),
        ({"body_part": ("Extremity",)}, None),
        ({"body_part": ("KNEE",)}, "body_part is 'EXTREMITY', not KNEE"),
        ({"study_description": "knee|knie"}, None),
        ({"study_description": "^knee"}, "study_description 'MRI Knee left' does not match '^knee'"),
        ({"series_description": r"\bKNIE\b"}, None),
        ({"series_description": r"\bt2\b"}, r"series_description 't2_tse_ax Knie' does not match '\bt2\b'"),
        ({"verdict": ("KNEE", "THIGH")}, None),
        ({"verdict": ("unknown",)}, "the verdict is KNEE, not unknown"),
        ({"not_verdict": ("KNEE",)}, "the verdict is KNEE"),
        ({"not_verdict": ("CHEST",)}, None),
        ({"confidence_from": 0.9}, None),
        ({"confidence_from": 0.91}, "the confidence 0.90 is below 0.91"),
        ({"confidence_below": 0.95}, None),
        ({"confidence_below": 0.9}, "the confidence 0.90 is not below 0.9"),
        ({"modality": ("MR",), "verdict": ("CHEST",)}, "the verdict is KNEE, not CHEST"),
    ],
)
def test_each_condition(conditions: dict[str, Any], reason: str | None) -> None:
    """A condition holds, or says in words why it does not; all must hold."""
    assert unmet(rule(**conditions), FACTS, FOUND) == reason


def test_a_series_without_a_verdict_is_unknown() -> None:
    """No term and no verdict at all are both `unknown`, at no confidence."""
    asked = rule(verdict=("unknown",), confidence_below=0.1)
    assert unmet(asked, FACTS, Found(None, 0.0)) is None
    assert unmet(asked, FACTS, None) is None


def test_the_first_rule_that_applies_decides_and_skipping_comes_before() -> None:
    """Rules that skip are asked before the images are looked at, the others after, each in order."""
    never, first, second = (
        rule("never", modality=("CT",)),
        rule("first", modality=("MR",)),
        rule("second", source=("MR1",)),
    )
    skip = SiteRule("skip", Conditions(modality=("MR",)), skip=True)
    assert after((never, skip, first, second), FACTS, FOUND) is first
    assert before((first, skip), FACTS) is skip
    assert before((first, second), FACTS) is None
    assert after((never, skip), FACTS, FOUND) is None


def test_a_rule_sets_the_term() -> None:
    """The site's term is sure, has its code and its name as the rule, and says what was there before."""
    verdict = decide(evidence(("knee", 10)), (), 0.5)
    set_skull = SiteRule("dental", Conditions(modality=("CT",)), term=named_term("SKULL"))
    changed = applied(set_skull, verdict)
    assert changed is not None
    assert changed.code is not None
    assert (changed.term, changed.code.value, changed.confidence) == ("SKULL", "89546000", 1.0)
    assert changed.rule == "site:dental"
    assert changed.flags[-1] == "the site rule 'dental' sets SKULL in place of KNEE"
    assert (changed.regions, changed.spans) == (verdict.regions, verdict.spans)


def test_a_rule_sets_the_term_where_there_is_no_verdict() -> None:
    """A series that no model looks at can be named by the site."""
    made = applied(SiteRule("mammo", Conditions(modality=("MR",)), term=named_term("BREAST")), None)
    assert made is not None
    assert (made.term, made.paired, made.regions, made.spans) == ("BREAST", True, (), ())


def test_other_rules_leave_the_verdict_and_are_flagged() -> None:
    """Keeping and routing change no verdict; without one there is still none."""
    verdict = decide(evidence(("knee", 10)), (), 0.5)
    route = SiteRule("out", Conditions(modality=("MR",)), keep=True, route=("a", "b"))
    changed = applied(route, verdict)
    assert changed is not None
    assert replace(changed, flags=()) == replace(verdict, flags=())
    assert changed.flags == ("the site rule 'out' keeps the tags as received and sends to a, b only",)
    assert applied(route, None) is None


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(a", "missing )"), ("(?=x)", "invalid perl operator"), (r"(a)\1", "invalid escape sequence"),
        ("a" * (MAXIMUM_PATTERN + 1), "at most 200"),
    ],
)  # fmt: skip
def test_patterns_that_cannot_be_used(pattern: str, said: str) -> None:
    """What RE2 does not take, look-around and back-references among them, is one sentence."""
    with pytest.raises(ValueError, match="pattern") as raised:
        check_pattern(pattern)
    assert said in str(raised.value)


def test_patterns_cannot_run_away() -> None:
    """What takes other engines for ever is answered at once, on a description of any length."""
    evil = rule(series_description="(a+)+$")
    check_pattern("(a+)+$")
    assert unmet(evil, replace(FACTS, series_description="a" * 100_000 + "b"), None) is not None


@settings(max_examples=60)
@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=20))
def test_any_text_is_answered(text: str, other: str, pattern: str) -> None:
    """Whatever a header says, half a character included, a rule applies or says why not."""
    facts = Facts(text, other, text, other, text + "\udcff")
    try:
        check_pattern(pattern)
    except ValueError:
        return
    said = unmet(rule(series_description=pattern), facts, None)
    assert said is None or "does not match" in said
