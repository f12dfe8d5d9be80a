"""Tests of the explanation: one sentence with the term, the rule, the regions, and what the tags said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.decide import RULES, decide
from rules.explain import DECIDED, Received, explain
from rules.site import Conditions, SiteRule, applied
from rules.terms import named_term
from tests.rules.series import evidence


def test_a_sentence_holds_everything() -> None:
    """Term, confidence, rule, regions with mm and images, tag and descriptions."""
    verdict = decide(evidence(("pelvis", 20), ("knee", 1), ("pelvis", 20), ("abdomen", 30)), ("paper",), 0.5)
    said = explain(verdict, Received("PELVIS", "CT abdomen and pelvis", "LIVER 5 mm"))
    assert said.startswith("ABDOMENPELVIS with confidence 0.8")
    assert "decided by the rule that single images follow their neighbours" in said
    assert "the images show pelvis 205 mm (41), abdomen 150 mm (30)" in said
    assert "the tag PELVIS disagrees" in said
    assert "the study description 'CT abdomen and pelvis' agrees" in said
    assert "the series description 'LIVER 5 mm' agrees in part" in said
    assert said.endswith(".")
    assert "\n" not in said


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("", "the tag was empty"),
        ("KNEE", "the tag KNEE agrees"),
        ("Knie", "the tag Knie agrees"),
        ("PATELLA", "the tag PATELLA is finer"),
        ("EXTREMITY", "the tag EXTREMITY is vague"),
        ("CHEST", "the tag CHEST disagrees"),
    ],
)
def test_the_tag_is_judged(tag: str, said: str) -> None:
    """How the received tag stands to the verdict."""
    assert said in explain(decide(evidence(("knee", 9)), (), 0.5), Received(tag))


def test_doubt_is_explained() -> None:
    """Without a term the sentence says why, and what the tag said."""
    said = explain(decide(evidence(("knee", 9), score=0.3), (), 0.5), Received("KNEE", "", "knee"))
    assert said.startswith("no term, decided by doubt; the images show unknown 45 mm (9)")
    assert "the tag says KNEE" in said
    assert "0 of 9 images reach the confidence 0.5" in said


def test_a_site_rule_is_named() -> None:
    """What the site decided is told by the rule's name."""
    verdict = decide(evidence(("head", 9)), (), 0.5)
    dental = applied(SiteRule("dental", Conditions(modality=("CT",)), term=named_term("SKULL")), verdict)
    assert dental is not None
    assert "decided by the site rule 'dental'" in explain(dental, Received("HEAD"))


def test_every_rule_has_its_words() -> None:
    """No rule's bare name reaches a reader."""
    assert set(RULES) <= set(DECIDED)


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_texts_are_explained(tag: str, text: str) -> None:
    """Whatever came, there is a sentence."""
    assert explain(decide(evidence(("knee", 3)), (), 0.5), Received(tag, text, text)).endswith(".")


def test_a_single_image_has_no_length() -> None:
    """One image spans no mm, nor do films."""
    single = decide(evidence(("knee", 1)), (), 0.5)
    assert np.isclose(single.spans[0].last_mm, single.spans[0].first_mm)
    assert "knee (1)" in explain(single, Received(""))
