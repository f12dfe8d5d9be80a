"""What was examined: the regions of a series that count, its term, and the dominant one, all by extent."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.geometry import extents_mm
from model.regions import ARM_CHAIN, BODY_CHAIN, SPINE_CHAIN, UNKNOWN
from rules.terms import SeriesTerm, series_term

MINOR_MM: Final = 50.0
MINOR_SHARE: Final = 0.15
"""A region of less than this many mm and this share of the images does not change the series' term.

Every chest CT reaches a little into neck and abdomen, every knee into thigh and calf: that is
overscan, not what was examined. The region stays in the verdict's regions and spans.
"""


@dataclass(frozen=True, slots=True)
class Examined:
    """The series' term, and the region of the greatest extent, None where none is known."""

    named: SeriesTerm
    dominant: str | None


def examined(regions: Sequence[str], positions: NDArray[np.float64]) -> Examined:
    """Name a series by the regions of its images (n,) that count, at sorted positions (n,) in mm."""
    extents: dict[str, float] = {}
    counts: dict[str, int] = {}
    for region, extent in zip(regions, extents_mm(positions), strict=True):
        if region != UNKNOWN:
            extents[region] = extents.get(region, 0.0) + float(extent)
            counts[region] = counts.get(region, 0) + 1
    total = sum(counts.values())
    minor = {key for key in extents if extents[key] < MINOR_MM and counts[key] < MINOR_SHARE * total}
    if minor == set(extents):
        minor = set()
    major = {key: mm for key, mm in extents.items() if key not in minor or _links(key, extents, minor)}
    dominant = max(extents, key=lambda key: (round(extents[key], 6), counts[key])) if extents else None
    return Examined(series_term(major), dominant)


def _links(key: str, extents: dict[str, float], minor: set[str]) -> bool:
    """Say whether a minor region lies between two that count: thin, but on the way from one to the other."""
    for chain in (BODY_CHAIN, SPINE_CHAIN, ARM_CHAIN):
        if key in chain:
            place = chain.index(key)
            major = [chain.index(other) for other in extents if other in chain and other not in minor]
            return any(i < place for i in major) and any(i > place for i in major)
    return False
