"""Site rules at work: which one applies to a series, and what becomes of its outcome and its routes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from db.queries import SeriesRow
from db.records import ImageResult, Outcome, SeriesFacts
from model.read import ImageHeader
from node import version
from node.settings.config import Config
from node.settings.destinations import Destination
from rules.site import SITE, Facts, Found, SiteRule, after, before, met
from rules.site import applied as ruled
from rules.verdict import Verdict

NOTHING: Final = Found(None, 0.0)
"""What the conditions see where there is no verdict."""


def rules_of(config: Config) -> tuple[SiteRule, ...]:
    """Return the site's rules in the order of the configuration."""
    return tuple(section.rule for section in config.site_rules)


def facts_of(series: SeriesFacts | SeriesRow) -> Facts:
    """Return what the site's rules may ask about a series."""
    return Facts(
        modality=series.modality,
        source=series.calling_ae_title,
        body_part=series.incoming_body_part,
        study_description=series.study_description,
        series_description=series.series_description,
    )


def skipping(config: Config, facts: Facts) -> SiteRule | None:
    """Return the rule that keeps the node from looking at the images of a series."""
    return before(rules_of(config), facts)


def deciding(config: Config, facts: Facts, verdict: Verdict | None) -> SiteRule | None:
    """Return the rule that applies to a series whose images were looked at."""
    return after(rules_of(config), facts, found(verdict))


def unclassified(config: Config, facts: Facts) -> SiteRule | None:
    """Return the rule that applies to a series without a verdict, be it skipped or failed."""
    return skipping(config, facts) or deciding(config, facts, None)


def decided(config: Config, row: SeriesRow) -> SiteRule | None:
    """Return the rule that applies, as configured now, to a series that has its decision.

    A rule that set the term is known by its name; what the images gave is not kept beside that.
    """
    facts, known = facts_of(row), found_of(row)
    named = (rule for rule in rules_of(config) if f"{SITE}{rule.name}" == row.rule)
    return next(named, None) or skipping(config, facts) or after(rules_of(config), facts, known)


def found_of(row: SeriesRow) -> Found:
    """Return what the conditions may ask about a decided series."""
    return Found(row.term, row.confidence or 0.0)


def skipped(rule: SiteRule, headers: Sequence[ImageHeader]) -> Outcome:
    """Return the outcome of a series whose images are not looked at, each with the reason."""
    why = f"not classified: the site rule '{rule.name}' says so"
    uids = dict.fromkeys(header.sop_instance_uid for header in headers)  # frames share that of their object
    images = tuple(ImageResult(uid, None, None, None, why) for uid in uids)
    return Outcome(None, images, why, None, version.VERSION)


def applied(rule: SiteRule | None, outcome: Outcome) -> Outcome:
    """Return an outcome under the rule that applies, if one does."""
    if rule is None:
        return outcome
    verdict = ruled(rule, outcome.verdict)
    return replace(outcome, verdict=verdict, reason=None if verdict else outcome.reason)


def keeps(rule: SiteRule | None) -> bool:
    """Tell whether the tags stay as received, whatever a destination's policy."""
    return rule is not None and rule.keep


def destinations(
    config: Config, rule: SiteRule | None, facts: Facts, found: Found
) -> tuple[Destination, ...]:
    """Return where a series goes: where its rule says, and of these who wants such series."""
    named = config.forwarded
    if rule is not None and rule.route:
        named = tuple(each for each in named if each.name in rule.route)
    return tuple(each for each in named if each.when is None or met(each.when.conditions, facts, found))


def unasked(config: Config, facts: Facts) -> tuple[Destination, ...]:
    """Return where an instance goes whose series went nowhere: who wants such series whatever they show."""
    wanting = destinations(config, None, facts, NOTHING)
    return tuple(each for each in wanting if each.when is None or not each.when.conditions.of_verdict)


def found(verdict: Verdict | None) -> Found:
    """Return what the conditions may ask about a verdict."""
    return NOTHING if verdict is None else Found(verdict.term, verdict.confidence)
