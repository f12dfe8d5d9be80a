"""What free text says: the regions and sides that a study or series description names, beside a verdict."""

import re
from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum
from typing import Final

from model.regions import ARM_CHAIN, BODY_CHAIN, BY_KEY
from rules.anatomy import SAME_LEVEL
from rules.synonyms import COARSER, FINER, NOT_IN_TEXT, SHORT_IN_TEXT
from rules.terms import COMBINATIONS, plain, spelled

_LONGEST: Final = 5
"""Words of which a name of a body part consists at most."""
_LEFT: Final = frozenset(
    {"LEFT", "LT", "LINKS", "LI", "GAUCHE", "IZQUIERDA", "IZQUIERDO", "ESQUERDA", "ESQUERDO", "SINISTRA",
     "SINISTRO", "LEWA", "LEWY", "LEWE"}
)  # fmt: skip
_RIGHT: Final = frozenset(
    {"RIGHT", "RT", "RECHTS", "RE", "DROIT", "DROITE", "DERECHA", "DERECHO", "DIREITA", "DIREITO", "DESTRA",
     "DESTRO", "PRAWA", "PRAWY", "PRAWE"}
)  # fmt: skip

_SIDES: Final = {"L": "left", "R": "right"}
_FIRST: Final = re.compile(r"\b(HEAD|FEET)[ _-]?FIRST\b")
"""How the patient lies, not what was examined."""


class Agreement(StrEnum):
    """How a text stands to a verdict: `partly` names more, less, or another field of view of one level."""

    AGREES = "agrees"
    PARTLY = "agrees in part"
    CONTRADICTS = "contradicts"
    SILENT = "says nothing"


def named_terms(text: str) -> tuple[str, ...]:
    """Return the defined terms that a text names, in its order; the longest name at a place counts."""
    return tuple(_terms(_words(text)))


def _terms(words: list[str]) -> Iterator[str]:
    at = 0
    while at < len(words):
        for length in range(min(_LONGEST, len(words) - at), 0, -1):
            name = "".join(words[at : at + length])
            term = spelled(name)
            if term is not None and (length > 1 or _counts(name)):
                yield term
                break
        at += length


def _counts(word: str) -> bool:
    """Say whether a single word means a body part in running text; numbers and codes do not."""
    return not word.isdigit() and word not in NOT_IN_TEXT and (len(word) > 3 or word in SHORT_IN_TEXT)


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^A-Z0-9]+", _FIRST.sub(" ", plain(text))) if word]


def regions_of(term: str) -> frozenset[str]:
    """Return the regions that a defined term names, e.g. abdomen for LIVER; none for EXTREMITY."""
    at: str | None = term
    while at is not None:
        if at in _REGIONS:
            return _REGIONS[at]
        at = FINER.get(at)
    return frozenset()


def sides(text: str) -> frozenset[str]:
    """Return the sides, L and R, that a text names in words; a single letter is no word."""
    words = set(_words(text))
    return frozenset(side for side, names in (("L", _LEFT), ("R", _RIGHT)) if not words.isdisjoint(names))


def agreement(text: str, term: str | None) -> Agreement:
    """Compare what a text names with a verdict's term; a text that names nothing, or no term, is silent."""
    named = named_terms(text)
    if not named or term is None:
        return Agreement.SILENT
    vague = [name for name in named if term in COARSER.get(name, ())]
    exact = frozenset(region for name in named if name not in vague for region in regions_of(name))
    shown = regions_of(term)
    if exact == shown or (vague and exact <= shown):
        return Agreement.AGREES
    return Agreement.PARTLY if vague or exact & shown or _same_level(exact, shown) else Agreement.CONTRADICTS


def text_remarks(texts: Sequence[str], term: str | None, laterality: Collection[str]) -> tuple[str, ...]:
    """Return what a reviewer should know of descriptions, the nearest to the series first.

    Only the first that names a body part is held against the term: a study's description is wider
    than its series. A side is compared with the received Laterality and never written.
    """
    found: list[str] = []
    speaking = [text for text in texts if agreement(text, term) is not Agreement.SILENT]
    if speaking and agreement(speaking[0], term) is Agreement.CONTRADICTS:
        names = ", ".join(dict.fromkeys(named_terms(speaking[0])))
        found.append(f"the description '{speaking[0].strip()}' names {names}, the images show {term}")
    said = frozenset[str]().union(*(sides(text) for text in texts))
    given = frozenset(laterality) & {"L", "R"}
    if len(said) == len(given) == 1 and said != given:
        found.append(f"Laterality says {min(given)}, the description says {_SIDES[min(said)]}")
    return tuple(found)


def _same_level(some: Collection[str], others: Collection[str]) -> bool:
    return any((a in some and b in others) or (b in some and a in others) for a, b in SAME_LEVEL)


_REGIONS: Final[dict[str, frozenset[str]]] = {
    **{region.term: frozenset({key}) for key, region in BY_KEY.items()},
    **{named.term: frozenset(keys) for keys, named in COMBINATIONS.items() if named.term is not None},
    "UPPERLIMB": frozenset(ARM_CHAIN),
    "LOWERLIMB": frozenset(BODY_CHAIN[5:]),
    "PELVISLOWEXTREMT": frozenset(BODY_CHAIN[4:]),
    "WHOLEBODY": frozenset(BODY_CHAIN),
}
