"""Whether a series' copies are relabelled: decided once per series and destination, over all its instances.

BodyPartExamined is one value in a whole series (PS3.3 C.7.3.1), so one decision holds for every
instance, late ones included.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from node.config import Policy, Relabel
from rules.terms import agrees, vague

WRITE: Final = "write"
KEEP: Final = "keep"

RELABELLED_MODALITIES: Final = frozenset({"CT", "MR", "CR", "DX", "RG"})


@dataclass(frozen=True, slots=True)
class Incoming:
    """What the received instances of one series say; empty strings where they say nothing."""

    body_parts: frozenset[str]
    lateralities: frozenset[str]


@dataclass(frozen=True, slots=True)
class Term:
    """A series' term with what its writing depends on; `confidence` is 0..1."""

    term: str
    paired: bool
    confidence: float


def action(policy: Policy, incoming: Incoming, verdict: Term | None, settings: Relabel) -> str:
    """Return WRITE if the series' term is to be written into the copies, else KEEP."""
    if verdict is None or policy == "never" or _contradicted(incoming, verdict):
        return KEEP
    if policy == "always":
        return WRITE
    return WRITE if verdict.confidence >= _needed(incoming.body_parts, verdict.term, settings) else KEEP


def remarks(incoming: Incoming, verdict: Term | None) -> tuple[str, ...]:
    """Return what a reviewer should know of the incoming tags."""
    found: list[str] = []
    if len(incoming.body_parts) > 1:
        found.append("the instances of the series carried different values of BodyPartExamined")
    if verdict is not None and _contradicted(incoming, verdict):
        found.append(f"Laterality is given, which {verdict.term} does not have; the tags stay as received")
    return tuple(found)


def _contradicted(incoming: Incoming, verdict: Term) -> bool:
    """Laterality L or R beside an unpaired term is for a person to resolve (PS3.3 C.7.3.1)."""
    return not verdict.paired and not incoming.lateralities.isdisjoint({"L", "R"})


def _needed(body_parts: Collection[str], term: str, settings: Relabel) -> float:
    """The confidence from which the term may be written, above 1 where it must not be."""
    unlike = [part for part in body_parts if part and not agrees(part, term)]
    if any(not vague(part, term) for part in unlike):
        return settings.replace_confidence
    if unlike or "" in body_parts or len(body_parts) > 1:
        return settings.fill_confidence  # missing, or so vague that nothing true is lost
    return float("inf")  # every instance says the same already, perhaps in finer words
