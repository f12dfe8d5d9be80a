"""Whether a series' copies are relabelled: decided once per series and destination, over all its instances.

BodyPartExamined is one value in a whole series (PS3.3 C.7.3.1), so one decision holds for every
instance, late ones included.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from model.regions import ARM_CHAIN, BODY_CHAIN, BY_KEY, SPINE_CHAIN
from node.settings.config import Relabel
from node.settings.destinations import Destination
from node.settings.types import Policy
from rules.terms import (
    COMBINATIONS,
    LOWER_LIMB,
    PELVIS_LEGS,
    UPPER_LIMB,
    WHOLE_BODY,
    SeriesTerm,
    agrees,
    read_term,
    vague,
)

WRITE: Final = "write"
"""The term is written into copies that keep their UIDs."""
NEW_SERIES: Final = "new_series"
"""The term is written into copies that are a series of their own."""
KEEP: Final = "keep"
"""Everything is sent as received."""

RELABELLED_MODALITIES: Final = frozenset({"CT", "MR", "CR", "DX", "RG"})


@dataclass(frozen=True, slots=True)
class Incoming:
    """What the received instances of one series say; empty strings where they say nothing.

    `codes` are the code values of their anatomic regions, of images and of frames.
    """

    body_parts: frozenset[str]
    lateralities: frozenset[str]
    codes: frozenset[str] = frozenset()


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
    return WRITE if verdict.confidence >= _needed(incoming, verdict.term, settings) else KEEP


def action_for(destination: Destination, incoming: Incoming, verdict: Term | None, settings: Relabel) -> str:
    """Return WRITE, NEW_SERIES or KEEP for one destination; a right series is never made anew."""
    found = action(destination.relabel, incoming, verdict, settings)
    if found == KEEP or not destination.new_series or verdict is None:
        return found
    right = incoming.body_parts == {verdict.term} and not _contradictory(incoming.codes, verdict.term)
    return KEEP if right else NEW_SERIES


def contradicts(code_value: str, term: str) -> bool:
    """Tell whether an anatomic region says another place than a term does.

    Finer regions and the parts of a combination fit: Chest to CHESTABDOMEN. A code that is not understood
    contradicts nothing.
    """
    said = read_term(code_value).term
    if said is None or vague(code_value, term):
        return False
    return not any(agrees(said, part) for part in (term, *_PARTS.get(term, ())))


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


def _contradictory(codes: Collection[str], term: str) -> bool:
    return any(contradicts(code, term) for code in codes)


def _needed(incoming: Incoming, term: str, settings: Relabel) -> float:
    """The confidence from which the term may be written, above 1 where it must not be."""
    unlike = [part for part in incoming.body_parts if part and not agrees(part, term)]
    wrong = any(not vague(part, term) for part in unlike)
    if wrong or _contradictory(incoming.codes, term):
        return settings.replace_confidence
    if unlike or "" in incoming.body_parts or len(incoming.body_parts) > 1:
        return settings.fill_confidence  # missing, or so vague that nothing true is lost
    return float("inf")  # every instance says the same already, perhaps in finer words


def _parts() -> dict[str, tuple[str, ...]]:
    """List the terms of the regions that each term of several regions spans."""
    spans: list[tuple[SeriesTerm, tuple[str, ...]]] = [(term, keys) for keys, term in COMBINATIONS.items()]
    legs = BODY_CHAIN[BODY_CHAIN.index("pelvis") + 1 :]
    whole = (*BODY_CHAIN, *SPINE_CHAIN, *ARM_CHAIN, "breast")
    spans += [
        (UPPER_LIMB, ARM_CHAIN),
        (LOWER_LIMB, legs),
        (PELVIS_LEGS, ("pelvis", *legs)),
        (WHOLE_BODY, whole),
    ]
    return {term.term: tuple(BY_KEY[key].term for key in keys) for term, keys in spans if term.term}


_PARTS: Final = _parts()
