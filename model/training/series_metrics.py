"""Figures of whole series: the exact set of regions, false regions, and where regions change, in mm."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.regions import ABDOMEN_CHEST, MR_CLASSES, UNKNOWN
from model.training.bootstrap import Figure, Number, Places, mean
from model.training.cases import Case
from model.training.metrics import ADJACENT, credited

LEAST_IMAGES: Final = 2
"""Labelled images that a series has at least to be judged as a series; single images are not."""


@dataclass(frozen=True)
class Boundary:
    """A change of region in one volume, from `below` to `above` on the way to the head.

    `gap_mm` is the unlabelled transition between the two labelled regions. `error_mm` is how far
    beyond the gap the predicted change lies, 0 within it, NaN where one of the regions was not found.
    """

    case: str
    subject: str
    source: str
    below: str
    above: str
    middle_mm: float
    gap_mm: float
    error_mm: float


@dataclass(frozen=True)
class BoundaryFigures:
    """The boundaries between two regions, and the error of those found: mean, median and 95th percentile."""

    regions: str
    boundaries: int
    subjects: int
    found: int
    gap_mm: float
    error_mm: Figure
    median_mm: Number
    worst_mm: Number


@dataclass(frozen=True)
class SeriesFigures:
    """The figures of the series of one part. `exact` and `false` are shares of the series, 0..1."""

    series: int
    subjects: int
    exact: Figure
    false: Figure
    boundaries: tuple[BoundaryFigures, ...]


def series_figures(
    cases: Sequence[Case], decided: Sequence[tuple[str, ...]], resolves: bool
) -> SeriesFigures | None:
    """Return the figures of all series with a height for each image, None where there is none.

    `decided` holds the regions of all images of each case. Sets are those of the labelled images
    alone: what an unlabelled one shows is not known. `unknown` is no region: it is neither missing
    from a set that other images complete, nor false.
    """
    judged = [
        (case, regions)
        for case, regions in zip(cases, decided, strict=True)
        if case.positions_mm is not None and len(case.scored) >= LEAST_IMAGES
    ]
    if not judged:
        return None
    exact, false = zip(*(sets(case, regions, resolves) for case, regions in judged), strict=True)
    places = Places(
        tuple(case.subject for case, _ in judged),
        tuple(case.source for case, _ in judged),
        tuple(case.name for case, _ in judged),
        (0.0,) * len(judged),
    )
    found = tuple(one for case, regions in judged for one in boundaries(case, regions))
    return SeriesFigures(
        len(judged),
        len(set(places.subjects)),
        mean(np.array(exact, np.float64), places),
        mean(np.array(false, np.float64), places),
        summarised(found),
    )


def sets(case: Case, regions: tuple[str, ...], resolves: bool) -> tuple[bool, bool]:
    """Return whether the set of regions is the true one, and whether it holds a false one."""
    truth = {case.truth[index] for index in case.scored}
    said = {credited(str(case.truth[index]), regions[index], resolves) for index in case.scored} - {UNKNOWN}
    return said == truth, bool(said - truth - {case.also})


def boundaries(case: Case, regions: tuple[str, ...]) -> tuple[Boundary, ...]:
    """Return the labelled changes of region of one volume, and how far off the predicted ones are.

    `abdomen_chest` is itself a transition: its images count as unlabelled here. A boundary is where
    labels of two regions that share a border follow each other; its place is the middle of the gap
    between them.
    """
    if case.positions_mm is None:
        return ()
    heights, runs = case.positions_mm, _runs(case)
    found = []
    for (below, first, end), (above, begin, last) in pairwise(runs):
        if frozenset((below, above)) not in ADJACENT:
            continue
        low, high = float(heights[end]), float(heights[begin])
        at = change_mm(heights[first : last + 1], regions[first : last + 1], below, above)
        error = max(0.0, abs(at - (low + high) / 2) - (high - low) / 2) if np.isfinite(at) else np.nan
        found.append(
            Boundary(
                case.name, case.subject, case.source, below, above, (low + high) / 2, high - low, float(error)
            )
        )
    return tuple(found)


def _runs(case: Case) -> list[tuple[str, int, int]]:
    """Return the labelled runs from the feet up: region, first and last index."""
    runs: list[tuple[str, int, int]] = []
    for index, label in enumerate(case.truth):
        if label is None or label == ABDOMEN_CHEST:
            continue
        if runs and runs[-1][0] == label:
            runs[-1] = (label, runs[-1][1], index)
        else:
            runs.append((label, index, index))
    return runs


def change_mm(heights: NDArray[np.float64], regions: Sequence[str], below: str, above: str) -> float:
    """Return the height that parts two predicted regions best, NaN where one of them is not there.

    Best is where the fewest images lie on the wrong side; of several such heights the middle one.
    Images of other regions count on neither side.
    """
    upper = np.array([region == above for region in regions])
    lower = np.array([region == below for region in regions])
    if not upper.any() or not lower.any():
        return float("nan")
    # split i lies below image i: the images before it should be `below`, the others `above`
    wrong = np.concatenate([[0], np.cumsum(upper)]) + np.concatenate([np.cumsum(lower[::-1])[::-1], [0]])
    best = np.flatnonzero(wrong == wrong.min())
    ends = np.concatenate([[heights[0]], (heights[1:] + heights[:-1]) / 2, [heights[-1]]])
    return float((ends[best[0]] + ends[best[-1]]) / 2)


def summarised(found: Sequence[Boundary]) -> tuple[BoundaryFigures, ...]:
    """Return the figures of all boundaries, then of each pair of regions, the most frequent first."""
    if not found:
        return ()
    pairs: dict[str, list[Boundary]] = {}
    for one in found:
        pair = sorted((one.above, one.below), key=MR_CLASSES.index)
        pairs.setdefault(" / ".join(pair), []).append(one)
    rows = [_summary(name, pairs[name]) for name in sorted(pairs, key=lambda name: -len(pairs[name]))]
    return (_summary("all", found), *rows)


def _summary(name: str, found: Sequence[Boundary]) -> BoundaryFigures:
    known = [one for one in found if np.isfinite(one.error_mm)]
    errors = np.array([one.error_mm for one in known])
    places = Places(
        tuple(one.subject for one in known),
        tuple(one.source for one in known),
        tuple(one.case for one in known),
        tuple(one.middle_mm for one in known),
    )
    return BoundaryFigures(
        name,
        len(found),
        len({one.subject for one in found}),
        len(known),
        float(np.mean([one.gap_mm for one in found])),
        mean(errors, places),
        float(np.median(errors)) if len(errors) else np.nan,
        float(np.quantile(errors, 0.95)) if len(errors) else np.nan,
    )
