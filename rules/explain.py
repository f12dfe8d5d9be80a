"""Why a series is called what it is called, in one sentence for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from model.regions import UNKNOWN
from rules.description import Agreement, agreement
from rules.site import SITE
from rules.terms import agrees, read_term, vague
from rules.verdict import Span

PROJECTION: Final = "projection"
"""`Verdict.rule` of a series whose regions were read off its projection, not off its images."""
DECIDED: Final = {
    "network": "each image by itself",
    "abdomen_chest": "the rule that images of lung base and upper abdomen go with the series",
    "breast": "the rule that half of the images make a breast series",
    "together": "the rule that sagittal and coronal images are judged together",
    "outliers": "the rule that single images follow their neighbours",
    "smooth": "smoothing over three images",
    "smooth_25mm": "smoothing over 25 mm",
    "order": "the order of the regions along the body",
    "views": "the parts that its views show together",
    "votes": "other series of the same Frame of Reference",
    "doubt": "doubt",
    "whole": "what the whole series shows at each height",
    PROJECTION: "a look at the whole series from the front and the side",
}
"""What `Verdict.rule` means, after 'decided by'."""


class Explainable(Protocol):
    """A verdict, or a row of the database that holds one."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """Regions along the body."""

    @property
    def term(self) -> str | None:
        """The series' term."""

    @property
    def confidence(self) -> float | None:
        """0..1."""

    @property
    def rule(self) -> str | None:
        """The rule that decided."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Remarks."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came with a series: its tag and its descriptions, empty where there was none."""

    body_part: str
    study_description: str = ""
    series_description: str = ""


def explain(found: Explainable, received: Received) -> str:
    """Say in one sentence what was decided, by which rule, on what, and what the tags said instead."""
    name = f"{found.term} with confidence {found.confidence or 0.0:.2f}" if found.term else "no term"
    parts = [f"{name}, decided by {_rule(found.rule)}"]
    if found.spans:
        parts.append(f"the images show {_shown(found.spans)}")
    parts += [_tag(received.body_part, found.term), *_texts(received, found.term)]
    return "; ".join([part for part in parts if part] + list(found.flags)) + "."


def _rule(rule: str | None) -> str:
    if rule is not None and rule.startswith(SITE):
        return f"the site rule '{rule.removeprefix(SITE)}'"
    return DECIDED.get(rule or "", rule or "nothing")


def _shown(spans: Sequence[Span]) -> str:
    """Write regions with their mm and images, the longest first."""
    extents: dict[str, float] = {}
    images: dict[str, int] = {}
    for span in spans:
        extents[span.region] = extents.get(span.region, 0.0) + _extent_mm(span)
        images[span.region] = images.get(span.region, 0) + span.images
    ranked = sorted(extents, key=lambda key: (key == UNKNOWN, -extents[key], -images[key]))
    if not any(extents.values()):  # films, or a single slice
        return ", ".join(f"{key} ({images[key]})" for key in ranked)
    return ", ".join(f"{key} {extents[key]:.0f} mm ({images[key]})" for key in ranked)


def _extent_mm(span: Span) -> float:
    """Return what a span stands for: half a step beyond its first and last image."""
    length = span.last_mm - span.first_mm
    return length * span.images / (span.images - 1) if span.images > 1 else 0.0


def _tag(text: str, term: str | None) -> str:
    said = text.strip()
    if not said:
        return "the tag was empty"
    if term is None:
        return f"the tag says {said}"
    if agrees(said, term):
        same = "agrees" if read_term(said).term == term else "is finer"
        return f"the tag {said} {same}"
    return f"the tag {said} {'is vague' if vague(said, term) else 'disagrees'}"


def _texts(received: Received, term: str | None) -> list[str]:
    """Say how each description stands to the term; those that name no body part are left out."""
    texts = {"study": received.study_description, "series": received.series_description}
    found = {kind: agreement(text, term) for kind, text in texts.items()}
    return [
        f"the {kind} description '{texts[kind].strip()}' {how}"
        for kind, how in found.items()
        if how is not Agreement.SILENT
    ]
