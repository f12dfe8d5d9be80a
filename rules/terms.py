"""Set of regions -> BodyPartExamined defined term and Anatomic Region code; incoming text -> defined term.

Terms and codes: PS3.16 Annex L, Table L-1.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

from model.radiographs import ANKLE, SKULL, WRIST
from model.regions import ARM_CHAIN, BODY_CHAIN, BREAST, BY_KEY, REGIONS, SPINE_CHAIN, Code
from rules.synonyms import COARSER, FILLER, FINER, SAYS_NOTHING, SYNONYMS


@dataclass(frozen=True, slots=True)
class SeriesTerm:
    """What a series is called: None where no one term may be written; `flags` say why or what is missing."""

    term: str | None
    code: Code | None
    paired: bool
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Incoming:
    """What a received BodyPartExamined means: `term` is None where it is empty or not understood."""

    text: str
    term: str | None


UPPER_LIMB: Final = SeriesTerm("UPPERLIMB", Code("53120007", "Upper limb"), paired=True)
LOWER_LIMB: Final = SeriesTerm("LOWERLIMB", Code("61685007", "Lower limb"), paired=True)
PELVIS_LEGS: Final = SeriesTerm("PELVISLOWEXTREMT", Code("1231522001", "Pelvis and lower extremities"), False)
WHOLE_BODY: Final = SeriesTerm("WHOLEBODY", Code("38266002", "Entire body"), paired=False)

FINER_TERMS: Final = (
    *(SeriesTerm(part.term, part.code, part.paired) for part in (SKULL, WRIST, ANKLE)),
    SeriesTerm("HIP", Code("24136001", "Hip joint"), paired=True),
    SeriesTerm("FINGER", Code("7569003", "Finger"), paired=True),
)
"""Terms that no region has, for radiographs and for rules of a site."""

COMBINATIONS: Final[dict[tuple[str, ...], SeriesTerm]] = {
    keys: SeriesTerm(term, Code(value, meaning), paired=False)
    for keys, term, value, meaning in (
        (("head", "neck"), "HEADNECK", "774007", "Head and Neck"),
        (("neck", "chest"), "NECKCHEST", "417437006", "Neck and Chest"),
        (("neck", "chest", "abdomen"), "NECKCHESTABDOMEN", "416152001", "Neck, Chest and Abdomen"),
        (
            ("neck", "chest", "abdomen", "pelvis"),
            "NECKCHESTABDPELV",
            "416319003",
            "Neck, Chest, Abdomen and Pelvis",
        ),
        (("chest", "abdomen"), "CHESTABDOMEN", "416550000", "Chest and Abdomen"),
        (("chest", "abdomen", "pelvis"), "CHESTABDPELVIS", "416775004", "Chest, Abdomen and Pelvis"),
        (("abdomen", "pelvis"), "ABDOMENPELVIS", "818982008", "Abdomen and Pelvis"),
        (("cspine", "tspine"), "CTSPINE", "1217257000", "Cervico-thoracic spine"),
        (("tspine", "lspine"), "TLSPINE", "1217256009", "Thoraco-lumbar spine"),
        (("cspine", "tspine", "lspine"), "SPINE", "421060004", "Spine"),
    )
}

_CHAINS: Final[tuple[tuple[str, ...], ...]] = (BODY_CHAIN, SPINE_CHAIN, ARM_CHAIN, (BREAST.key,))
_LETTERS: Final = str.maketrans({"Ł": "L", "Ø": "O", "Æ": "AE", "Œ": "OE", "\u0131": "I"})
"""Letters that do not decompose into one of ASCII and an accent."""
_LEGS: Final = frozenset(BODY_CHAIN[5:])
_WHOLE: Final = frozenset(BODY_CHAIN[:6])


def series_term(extents_mm: Mapping[str, float]) -> SeriesTerm:
    """Name a series by its regions and the mm of each; keys that are no region are ignored.

    Trunk and legs, spine, arm and breast are four chains. Regions of more than one chain are two
    readings of one place (cspine beside neck, shoulder beside chest) or bystanders (hand beside
    pelvis): the chain with the greatest extent is named, trunk before spine before arm in a tie,
    and the others are flagged.
    """
    totals = [(sum(extents_mm.get(key, 0.0) for key in chain), chain) for chain in _CHAINS]
    chain = max(totals, key=lambda total: total[0])[1]
    keys = tuple(key for key in chain if key in extents_mm)
    left_out = [region.key for region in REGIONS if region.key in extents_mm and region.key not in keys]
    if not keys:
        return SeriesTerm(None, None, paired=False)
    named = _name(chain, keys, extents_mm)
    flags = (f"left out of the term: {', '.join(left_out)}",) if left_out else ()
    return replace(named, flags=(*named.flags, *flags))


def _name(chain: Sequence[str], keys: tuple[str, ...], extents_mm: Mapping[str, float]) -> SeriesTerm:
    """Name regions of one chain, in its order."""
    if not is_contiguous(chain, keys):
        return SeriesTerm(None, None, False, (f"regions are not contiguous: {' + '.join(keys)}",))
    exact = exact_term(keys)
    if exact is not None:
        return exact
    parts = [keys[i:j] for i, j in combinations(range(len(keys) + 1), 2)]
    # The greatest extent; of equals the one of more regions, then the one nearest to the head.
    _, _, _, named = max(
        (round(sum(extents_mm[key] for key in part), 6), len(part), -keys.index(part[0]), term)
        for part in parts
        if (term := exact_term(part)) is not None
    )
    flag = f"no term for {' + '.join(keys)}: its largest part is named"
    return replace(named, flags=(flag,))


def is_contiguous(chain: Sequence[str], keys: Iterable[str]) -> bool:
    """Say whether regions follow each other along a chain without a hole."""
    places = sorted(chain.index(key) for key in keys)
    return places == list(range(places[0], places[0] + len(places)))


def exact_term(keys: tuple[str, ...]) -> SeriesTerm | None:
    """Return the term of exactly these contiguous regions of one chain, None where there is none."""
    if len(keys) == 1:
        region = BY_KEY[keys[0]]
        return SeriesTerm(region.term, region.code, region.paired)
    if keys in COMBINATIONS:
        return COMBINATIONS[keys]
    found = frozenset(keys)
    if found <= frozenset(ARM_CHAIN):
        return UPPER_LIMB
    if found <= _LEGS:
        return LOWER_LIMB
    if found >= _WHOLE:
        return WHOLE_BODY
    return PELVIS_LEGS if found <= _LEGS | {"pelvis"} else None


def read_term(text: str | None) -> Incoming:
    """Read an incoming BodyPartExamined: any case, accents, separators, languages, codes, cut-off ends.

    Text of 15 or 16 characters, all that the VR CS holds, may be the start of a longer spelling.
    """
    given = (text or "").strip(" \0")
    words = re.split(r"[^A-Z0-9]+", plain(given))
    without_filler = "".join(word for word in words if word not in FILLER)
    term = _SPELLINGS.get("".join(words)) or _SPELLINGS.get(without_filler)
    if term is None and len(given) >= 15:
        ends = {name for spelling, name in _SPELLINGS.items() if spelling.startswith("".join(words))}
        term = ends.pop() if len(ends) == 1 else None
    return Incoming(given, term)


def agrees(text: str | None, term: str | None) -> bool:
    """Say whether an incoming text is right beside a verdict: the same term, or a finer one inside it.

    BRAIN agrees with HEAD, FINGER with HAND. CHEST does not agree with CHESTABDPELVIS, nor
    EXTREMITY with KNEE: they leave out or blur what the images show.
    """
    found = read_term(text).term
    while found is not None and found != term:
        found = FINER.get(found)
    return found is not None


def vague(text: str | None, term: str | None) -> bool:
    """Say whether an incoming text, though not the verdict's term, is not wrong beside it either.

    It names nothing (PARTIALBODY, OTHER, a side alone), or blurs what the verdict says (EXTREMITY
    beside KNEE, SPINE beside LSPINE). An empty text is missing, not vague.
    """
    found = read_term(text)
    if not found.text or term is None:
        return False
    if found.term is not None:
        return term in COARSER.get(found.term, ())
    if any(letter.isalpha() for letter in found.text) and not re.search("[A-Z]", plain(found.text)):
        return False  # a script that is not read here may say anything
    words = [word for word in re.split(r"[^A-Z0-9]+", plain(found.text)) if word not in FILLER]
    return "".join(words) in SAYS_NOTHING


def plain(text: str) -> str:
    """Return a text in upper case and ASCII, accents off."""
    decomposed = unicodedata.normalize("NFKD", text.upper()).translate(_LETTERS)
    return decomposed.encode("ascii", "ignore").decode()


def spelled(name: str) -> str | None:
    """Return the defined term that a spelling, already reduced to A-Z and 0-9, stands for."""
    return _SPELLINGS.get(name)


def _key(text: str) -> str:
    """Reduce a spelling to A-Z and 0-9."""
    return re.sub(r"[^A-Z0-9]", "", plain(text))


def named_term(term: str) -> SeriesTerm | None:
    """Return a term that may be written, with its code, by its name; None for any other text."""
    return _WRITTEN.get(term)


def _written() -> dict[str, SeriesTerm]:
    """Index every term that a verdict can have, and the finer ones of radiographs, by its name."""
    named = [UPPER_LIMB, LOWER_LIMB, PELVIS_LEGS, WHOLE_BODY, *COMBINATIONS.values(), *FINER_TERMS]
    named += [SeriesTerm(region.term, region.code, region.paired) for region in REGIONS]
    return {one.term: one for one in named if one.term is not None}


def _spellings() -> dict[str, str]:
    """Index every spelling, code and defined term by its key."""
    index = {_key(text): term for term, texts in SYNONYMS.items() for text in (term, *texts)}
    index |= {_key(term): term for term in FINER}
    for term, named in _WRITTEN.items():
        index[term] = term
        if named.code is not None:
            index[named.code.value] = term
    return index


_WRITTEN: Final[dict[str, SeriesTerm]] = _written()
_SPELLINGS: Final[dict[str, str]] = _spellings()
