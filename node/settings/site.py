"""The section `site_rules` of the configuration: its keys, its checks, and the rules made of it."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from rules.site import NO_TERM, Conditions, SiteRule, check_pattern
from rules.terms import named_term


def _pattern(value: str) -> str:
    check_pattern(value)
    return value


def _term(value: str) -> str:
    if named_term(value) is None:
        raise ValueError(f"'{value}' is no term that can be written; see README.md")
    return value


def _verdict(value: str) -> str:
    return value if value == NO_TERM else _term(value)


Pattern = Annotated[str, AfterValidator(_pattern)]
WrittenTerm = Annotated[str, AfterValidator(_term)]
VerdictTerm = Annotated[str, AfterValidator(_verdict)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class When(_Section):
    """The conditions of a site rule; all that are given must hold."""

    modality: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    body_part: tuple[str, ...] = ()
    study_description: Pattern | None = None
    series_description: Pattern | None = None
    verdict: tuple[VerdictTerm, ...] = ()
    not_verdict: tuple[VerdictTerm, ...] = ()
    confidence_from: Share | None = None
    confidence_below: Share | None = None

    @property
    def conditions(self) -> Conditions:
        """The conditions as the rules know them."""
        return Conditions(**dict(self))


class SiteRuleSection(_Section):
    """One rule of the site: when it applies, and what it does."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_. -]{1,40}$")]
    when: When
    set: WrittenTerm | None = None
    keep: bool = False
    route: tuple[str, ...] = ()
    skip: bool = False

    @model_validator(mode="after")
    def _check(self) -> "SiteRuleSection":
        if self.when == When():
            raise ValueError("when: a rule without a condition would apply to everything")
        if not (self.set or self.keep or self.route or self.skip):
            raise ValueError("a rule must say what to do: set, keep, route or skip")
        if self.set and self.keep:
            raise ValueError("a rule cannot set the term and keep the tags")
        if self.skip and self.when.conditions.of_verdict:
            raise ValueError("a rule that skips the images cannot ask about their verdict")
        return self

    @property
    def rule(self) -> SiteRule:
        """The rule as the rules know it."""
        term = None if self.set is None else named_term(self.set)
        return SiteRule(self.name, self.when.conditions, term, self.keep, self.route, self.skip)
