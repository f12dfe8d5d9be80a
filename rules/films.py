"""Radiographs: two heads' outputs in, one verdict out. A series of films has no order along the body.

The group and the finer part are decided together: what the first head says of a group is weighed with
what the second says of its parts, then the part is the best of that group.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.radiographs import (
    BY_KEY,
    CHESTS,
    GROUPS,
    LOWER_LIMB,
    PART_KEYS,
    SPINE,
    UPPER_LIMB,
    WHOLES,
    groups_of,
)
from model.regions import UNKNOWN
from rules.decide import DOUBT, KNOWN_SHARE, NETWORK
from rules.terms import SeriesTerm, series_term
from rules.verdict import Span, Verdict

VIEWS: Final = "views"
"""`Verdict.rule` where the images show several parts, and the series is called by all of them."""
TOGETHER: Final[dict[str, tuple[str, ...]]] = {
    "hand": ("hand", "wrist"),
    "foot": ("foot", "ankle"),
    SPINE.key: ("cspine", "tspine", "tlspine", "lspine", "spine"),
    LOWER_LIMB.key: ("thigh", "knee", "calf", "ankle", "foot"),
    UPPER_LIMB.key: ("shoulder", "arm", "elbow", "forearm", "wrist", "hand"),
}
"""What an image shows where the network is sure of no single part, but of these together."""

Table = NDArray[np.float64]


@dataclass(frozen=True)
class Films:
    """What the network says of the n images of a series.

    `groups` (n, 5) and `parts` (n, p) are probabilities in the order of GROUPS and PART_KEYS. `energy`
    (n,) says how foreign each looks, `maximum_energy` from where on that is doubted.
    """

    groups: NDArray[np.float32]
    parts: NDArray[np.float32]
    energy: NDArray[np.float32] | None = None
    maximum_energy: float | None = None

    def __post_init__(self) -> None:
        n = len(self.groups)
        if self.groups.shape != (n, len(GROUPS)) or self.parts.shape != (n, len(PART_KEYS)):
            raise ValueError(f"probabilities have shapes {self.groups.shape} and {self.parts.shape}")


@dataclass(frozen=True)
class Joined:
    """Both heads together: probabilities (n, 5) of the groups and (n, p) of the parts, rows summing to 1."""

    groups: Table
    parts: Table


def joined(groups: NDArray[np.float32], parts: NDArray[np.float32]) -> Joined:
    """Return what both heads say together; scores that are no numbers count as 0."""
    first, second = (np.nan_to_num(table.astype(np.float64), nan=0.0) for table in (groups, parts))
    belongs = np.array([[group in groups_of(key) for key in PART_KEYS] for group in GROUPS], np.float64)
    share = np.where(belongs.sum(axis=0) > 1, _share_of_chests(first), 1.0)  # (n, groups, parts)
    members = belongs * share * second[:, np.newaxis, :]
    both = _rows(np.sqrt(first * members.sum(axis=2)), first)
    inside = members / np.maximum(members.sum(axis=2, keepdims=True), 1e-30)
    return Joined(both, _rows((both[:, :, np.newaxis] * inside).sum(axis=1), second))


def _share_of_chests(groups: Table) -> NDArray[np.float64]:
    """Return (n, groups, 1): how the probability of a chest is divided between adult and child."""
    chest = [GROUPS.index(name) for name in CHESTS]
    total = np.maximum(groups[:, chest].sum(axis=1, keepdims=True), 1e-30)
    return np.asarray((groups / total)[:, :, np.newaxis])


def _rows(table: Table, instead: Table) -> Table:
    """Make rows sum to 1; a row of zeros is replaced."""
    sums = table.sum(axis=1, keepdims=True)
    return np.where(sums > 0, table / np.where(sums > 0, sums, 1.0), instead)


def decide_films(films: Films, minimum_confidence: float, doubt: bool = False) -> Verdict:
    """Turn the outputs for the images of a series into a verdict.

    An image's part must reach `minimum_confidence` (0..1), else it is `unknown`; with `doubt` also where it
    looks more foreign than the weights' card allows. Where less than half of the images are known there is
    no term. The group is None below the same confidence, whatever the parts.
    """
    both = joined(films.groups, films.parts)
    named = [_named(row, minimum_confidence) for row in both.parts]
    if doubt and films.energy is not None and films.maximum_energy is not None:
        foreign = ~(films.energy <= films.maximum_energy)  # NaN is foreign, too
        named = [(UNKNOWN, 0.0) if strange else one for strange, one in zip(foreign, named, strict=True)]
    regions = tuple(region for region, _ in named)
    confidences = np.array([confidence for _, confidence in named], np.float64)
    known = np.array([region != UNKNOWN for region in regions], np.bool_)
    found = _examined(regions, minimum_confidence)
    counted = Counter(region for region in regions if region != UNKNOWN)
    rule = NETWORK if len(counted) == 1 else VIEWS
    return Verdict(
        regions=regions,
        confidences=tuple(map(float, confidences)),
        spans=_spans(regions, confidences),
        term=found.term,
        code=found.code,
        paired=found.paired,
        confidence=float(confidences[known].mean()) if known.any() else 0.0,
        rule=DOUBT if known.sum() < KNOWN_SHARE * len(known) or not known.any() else rule,
        flags=found.flags,
        dominant=counted.most_common(1)[0][0] if counted else None,
        group=_group(both.groups, minimum_confidence),
    )


def _named(row: Table, minimum: float) -> tuple[str, float]:
    """Return the part of an image (p,) and its confidence, `unknown` where none reaches the minimum."""
    best = int(np.argmax(row))
    if row[best] >= minimum and row[best] > 0:
        return PART_KEYS[best], float(row[best])
    for whole, parts in TOGETHER.items():
        sum_of = min(1.0, float(row[[PART_KEYS.index(key) for key in parts]].sum()))
        if sum_of >= minimum and PART_KEYS[best] in parts:
            return whole, sum_of
    return UNKNOWN, float(row[best])


def _examined(regions: Sequence[str], minimum: float) -> SeriesTerm:
    """Name a series by the parts of its images."""
    known = [region for region in regions if region != UNKNOWN]
    if not known or len(known) < KNOWN_SHARE * len(regions):
        why = f"{len(known)} of {len(regions)} images reach the confidence {minimum:g}"
        return SeriesTerm(None, None, False, (why,))
    if len(set(known)) == 1:
        part = BY_KEY[known[0]]
        return SeriesTerm(part.term, part.code, part.paired)
    extents: dict[str, float] = {}
    for region in known:
        for key in WHOLES.get(region, (region,)):
            extents[key] = extents.get(key, 0.0) + 1.0
    return series_term(extents)


def _group(groups: Table, minimum: float) -> str | None:
    """Return the group of a series: the mean over its images, None where that is not sure."""
    if not len(groups):
        return None
    mean = groups.mean(axis=0)
    best = int(np.argmax(mean))
    return GROUPS[best] if mean[best] >= minimum else None


def _spans(regions: Sequence[str], confidences: Table) -> tuple[Span, ...]:
    """Return one span for each part, at height 0 as films have none; together they hold every image once."""
    order = sorted(range(len(regions)), key=lambda index: regions[index])
    found = []
    for region, run in groupby(order, key=lambda index: regions[index]):
        images = list(run)
        found.append(Span(region, 0.0, 0.0, len(images), float(confidences[images].mean())))
    return tuple(found)
