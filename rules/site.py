"""Site rules: what a hospital decides for itself, by facts of a series and by its verdict.

Declarative: a rule is a list of conditions that must all hold, and what then happens. Patterns are
RE2's, which match in linear time whatever they are; nothing is evaluated as code.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import re2

from rules.terms import SeriesTerm
from rules.verdict import Verdict

SITE: Final = "site:"
"""`Verdict.rule` is this and the rule's name where a site rule set the term."""
MAXIMUM_PATTERN: Final = 200
NO_TERM: Final = "unknown"
"""Stands in conditions for a verdict without a term, and for none at all."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a series before its images are looked at; "" where it says nothing."""

    modality: str
    source: str
    body_part: str
    study_description: str
    series_description: str


@dataclass(frozen=True, slots=True)
class Found:
    """What the images gave: the term, None without one, and the confidence, 0..1."""

    term: str | None
    confidence: float


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must hold, all of it; an empty tuple or None asks for nothing.

    Of the values in a tuple one must be equal, in any case. The last four ask about the verdict.
    """

    modality: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    body_part: tuple[str, ...] = ()
    study_description: str | None = None
    series_description: str | None = None
    verdict: tuple[str, ...] = ()
    not_verdict: tuple[str, ...] = ()
    confidence_from: float | None = None
    confidence_below: float | None = None

    @property
    def of_verdict(self) -> bool:
        """Whether any of them asks about the verdict."""
        asked = (self.confidence_from, self.confidence_below)
        return bool(self.verdict or self.not_verdict) or any(one is not None for one in asked)


@dataclass(frozen=True, slots=True)
class SiteRule:
    """A named rule: set a `term`, `keep` the tags, `route` to these destinations only, `skip` the images."""

    name: str
    when: Conditions
    term: SeriesTerm | None = None
    keep: bool = False
    route: tuple[str, ...] = ()
    skip: bool = False

    @property
    def without_verdict(self) -> "SiteRule":
        """The rule as far as it can be judged before the images are looked at."""
        unasked = replace(self.when, verdict=(), not_verdict=(), confidence_from=None, confidence_below=None)
        return replace(self, when=unasked)

    @property
    def does(self) -> str:
        """What the rule does, in words."""
        done = [
            "does not look at the images" if self.skip else "",
            f"sets {self.term.term}" if self.term else "",
            "keeps the tags as received" if self.keep else "",
            f"sends to {', '.join(self.route)} only" if self.route else "",
        ]
        return " and ".join(part for part in done if part)


def check_pattern(pattern: str) -> None:
    """Raise ValueError, with one sentence, for a pattern that RE2 does not take or that is too long."""
    if len(pattern) > MAXIMUM_PATTERN:
        raise ValueError(f"a pattern has at most {MAXIMUM_PATTERN} characters")
    try:
        _compiled(pattern)
    except re2.error as error:
        raise ValueError(f"the pattern '{pattern}' cannot be used: {_reason(error)}") from error


def before(rules: Sequence[SiteRule], facts: Facts) -> SiteRule | None:
    """Return the first rule that says not to look at the images of this series."""
    return next((rule for rule in rules if rule.skip and unmet(rule, facts, None) is None), None)


def after(rules: Sequence[SiteRule], facts: Facts, found: Found) -> SiteRule | None:
    """Return the first other rule that applies once the images have been looked at."""
    return next((rule for rule in rules if not rule.skip and unmet(rule, facts, found) is None), None)


def unmet(rule: SiteRule, facts: Facts, found: Found | None) -> str | None:
    """Return why a rule does not apply, its first condition that does not hold; None if all do."""
    return next(_unmet(rule.when, facts, found), None)


def met(conditions: Conditions, facts: Facts, found: Found) -> bool:
    """Tell whether all conditions hold for a series whose images were looked at."""
    return next(_unmet(conditions, facts, found), None) is None


def applied(rule: SiteRule, verdict: Verdict | None) -> Verdict | None:
    """Return the verdict under a rule: with the rule's term, sure and flagged, or as it is."""
    if rule.term is None:
        return None if verdict is None else replace(verdict, flags=(*verdict.flags, _flag(rule)))
    if verdict is None:
        verdict = Verdict((), (), (), None, None, paired=False, confidence=0.0, rule="")
    was = f"in place of {verdict.term}" if verdict.term else "where there was none"
    named = rule.term
    return replace(
        verdict,
        term=named.term,
        code=named.code,
        paired=named.paired,
        confidence=1.0,
        rule=f"{SITE}{rule.name}",
        flags=(*verdict.flags, f"{_flag(rule)} {was}"),
    )


def _flag(rule: SiteRule) -> str:
    return f"the site rule '{rule.name}' {rule.does}"


def _unmet(when: Conditions, facts: Facts, found: Found | None) -> Iterator[str]:
    for name, wanted, given in (
        ("modality", when.modality, facts.modality),
        ("source", when.source, facts.source),
        ("body_part", when.body_part, facts.body_part),
    ):
        if wanted and given.strip().upper() not in {value.strip().upper() for value in wanted}:
            yield f"{name} is '{given}', not {_either(wanted)}"
    for name, pattern, text in (
        ("study_description", when.study_description, facts.study_description),
        ("series_description", when.series_description, facts.series_description),
    ):
        readable = text.encode("utf-8", "replace").decode("utf-8")
        if pattern is not None and _compiled(pattern).search(readable) is None:
            yield f"{name} '{text}' does not match '{pattern}'"
    if when.of_verdict:
        yield from _unmet_verdict(when, found)


def _unmet_verdict(when: Conditions, found: Found | None) -> Iterator[str]:
    term = NO_TERM if found is None or found.term is None else found.term
    confidence = 0.0 if found is None else found.confidence
    if when.verdict and term not in when.verdict:
        yield f"the verdict is {term}, not {_either(when.verdict)}"
    if term in when.not_verdict:
        yield f"the verdict is {term}"
    if when.confidence_from is not None and confidence < when.confidence_from:
        yield f"the confidence {confidence:.2f} is below {when.confidence_from:g}"
    if when.confidence_below is not None and confidence >= when.confidence_below:
        yield f"the confidence {confidence:.2f} is not below {when.confidence_below:g}"


def _either(values: Sequence[str]) -> str:
    return " or ".join(values)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    """Compile a pattern for searching in any case."""
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    return re2.compile(pattern, options)


def _reason(error: Exception) -> str:
    first = error.args[0] if error.args else error
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)
