"""`check-config --try`: which rule of the site would apply to a file, and why the others do not."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from model.classify import Classifier
from model.read import read_header
from node import facts, site, worker
from node.settings.config import Config
from rules.site import Facts, Found, SiteRule, unmet


@dataclass(frozen=True, slots=True)
class Tried:
    """What a site rule says of a file: what it would do, and why it does not apply, None where it does."""

    rule: str
    does: str
    applies: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class Trial:
    """A file's facts, what its image alone shows if that was asked for, and every rule of the site."""

    facts: Facts
    found: Found | None
    rules: tuple[Tried, ...]

    @property
    def as_json(self) -> dict[str, object]:
        """The trial as plain values."""
        return asdict(self)

    @property
    def lines(self) -> Iterator[str]:
        """The trial for a person."""
        for name, value in asdict(self.facts).items():
            yield f"  {name}: {value or '(empty)'}"
        if self.found is not None:
            yield f"  verdict of this image alone: {self.found.term or 'unknown'} {self.found.confidence:.2f}"
        for each in self.rules:
            said = f"applies: {each.does}" if each.applies else f"does not apply: {each.reason}"
            yield f"  site rule '{each.rule}' {said}"
        if not any(each.applies for each in self.rules):
            yield "  no site rule applies"


def try_file(config: Config, path: Path, source: str | None) -> Trial:
    """Judge one file by the site's rules; its image is classified only if a rule asks for the verdict.

    `source` stands for the AE title that sent it, else the one that the file names. Raises
    NotDicomError or OSError where the file cannot be read.
    """
    header = read_header(path)
    known = site.facts_of(facts.of_path(path))
    if source is not None:
        known = replace(known, source=source)
    rules = site.rules_of(config)
    skipping = site.skipping(config, known)
    found = None
    if skipping is None and any(_asks(rule, known) for rule in rules):
        classifier = Classifier.load(config.weights(), replace(config.engine(), shelf=None))
        verdict = worker.classify([header], config, classifier, lambda: None).verdict
        found = Found(None, 0.0) if verdict is None else Found(verdict.term, verdict.confidence)
    return Trial(known, found, tuple(_tried(rules, known, found, skipping)))


def _asks(rule: SiteRule, known: Facts) -> bool:
    """Tell whether a rule applies or not by the verdict alone, everything else holding."""
    return rule.when.of_verdict and unmet(rule.without_verdict, known, None) is None


def _tried(
    rules: tuple[SiteRule, ...], known: Facts, found: Found | None, skipping: SiteRule | None
) -> Iterator[Tried]:
    """Say of each rule whether it applies; the first that does decides, one that skips before all others."""
    decided = skipping
    for rule in rules:
        reason = unmet(rule, known, found or Found(None, 0.0))
        if decided is not None and rule.name != decided.name and reason is None:
            reason = f"'{decided.name}' decides"
        if reason is None:
            decided = rule
        yield Tried(rule.name, rule.does, reason is None, reason)
