"""Words of the pages: what a tag is worth, what a rule means, ages, sizes, names of people."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from db.queries import SeriesRow
from rules.explain import DECIDED
from rules.site import SITE
from rules.terms import agrees, read_term, vague


@dataclass(frozen=True, slots=True)
class TagVerdict:
    """How an incoming tag stands to the verdict: a word, its badge, and a sentence."""

    word: str
    badge: str
    sentence: str


def tag_verdict(row: SeriesRow) -> TagVerdict:
    """Hold the incoming Body Part Examined against the verdict's term."""
    said, term = row.incoming_body_part.strip(), row.term
    if row.decided_at is None:
        return TagVerdict("waiting", "plain", "The images were not looked at yet.")
    if term is None:
        return TagVerdict("no verdict", "plain", "There is nothing to hold the tag against.")
    if not said:
        return TagVerdict("missing", "warn", "The tag was missing or empty.")
    if agrees(said, term):
        same = read_term(said).term == term
        return TagVerdict("right" if same else "finer", "good", "The tag says what the images show.")
    if vague(said, term):
        return TagVerdict("vague", "warn", "The tag is not wrong, but says less than the images show.")
    return TagVerdict("wrong", "bad", "The tag says something else than the images show.")


def rule_meaning(rule: str | None) -> str:
    """Say in a few words what decided."""
    if rule is None:
        return "nothing was decided"
    if rule.startswith(SITE):
        return f"the site's rule “{rule.removeprefix(SITE)}”"
    return DECIDED.get(rule, rule)


def person(name: str) -> str:
    """Write a person name (PS3.5 6.2.1.1) for people: the family name first, its first group alone."""
    first = name.split("=")[0]
    parts = [part.strip() for part in first.split("^")]
    family, given = parts[0], " ".join(part for part in parts[1:3] if part)
    return f"{family}, {given}" if family and given else family or given


def study_day(date: str) -> str:
    """Write a date as DICOM keeps it for people; anything else as it is."""
    if len(date) == 8 and date.isdigit():
        return f"{date[:4]}-{date[4:6]}-{date[6:]}"
    return date


def age(since: datetime | None, now: datetime) -> str:
    """Say how long ago something was, in the largest unit that fits."""
    if since is None:
        return "–"
    seconds = max(0.0, (now - since) / timedelta(seconds=1))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}" if seconds >= 10 * size else f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def size(count_bytes: float) -> str:
    """Write a number of bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count_bytes) < 1024:
            return f"{count_bytes:.0f} {unit}" if unit == "B" else f"{count_bytes:.1f} {unit}"
        count_bytes /= 1024
    return f"{count_bytes:.1f} TiB"
