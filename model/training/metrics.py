"""Figures of a slice classifier: sensitivity, specificity, F1, grave confusions, with their intervals.

Everything is computed from confusion matrices, once of all slices (the value) and once of each draw of
the spatially aware bootstrap (its interval).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from model.regions import ABDOMEN, ABDOMEN_CHEST, ARM_CHAIN, BODY_CHAIN, CHEST, SPINE_CHAIN, UNKNOWN
from model.training.bootstrap import Figure, Places, draw, figure
from model.training.calibration import Bin, Covered, by_coverage, calibration_error, reliability

Matrices = NDArray[np.float64]
"""Confusion matrices (..., k, k + 1): rows are the truth, columns what was predicted, `unknown` last."""

_BESIDE: Final = (
    ("abdomen_chest", "chest"), ("abdomen_chest", "abdomen"), ("breast", "chest"),
    ("breast", "abdomen_chest"),
    ("cspine", "head"), ("cspine", "neck"), ("cspine", "chest"), ("tspine", "neck"), ("tspine", "chest"),
    ("tspine", "abdomen_chest"), ("tspine", "abdomen"), ("lspine", "abdomen"), ("lspine", "pelvis"),
    ("shoulder", "neck"), ("shoulder", "chest"), ("lspine", "abdomen_chest"),
)  # fmt: skip
ADJACENT: Final[frozenset[frozenset[str]]] = frozenset(
    frozenset(pair)
    for pair in (*_BESIDE, *pairwise(BODY_CHAIN), *pairwise(ARM_CHAIN), *pairwise(SPINE_CHAIN))
)
"""Pairs of regions that share slices or a border; confusing others is the graver error."""

MEASURES: Final = ("accuracy", "macro sensitivity", "macro F1", "neither theirs nor adjacent")
"""What two outcomes are compared by."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a stage said of n scored slices: truth, region (or `unknown`) and confidence (n,) of each.

    `also` is a second region that a reader could reasonably give, "" where there is none.
    """

    classes: tuple[str, ...]
    truth: tuple[str, ...]
    predicted: tuple[str, ...]
    confidences: NDArray[np.float64]
    also: tuple[str, ...]
    places: Places

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether each slice's region is its truth, (n,)."""
        return np.array([t == p for t, p in zip(self.truth, self.predicted, strict=True)], np.bool_)

    @cached_property
    def cells(self) -> csr_array[np.float64]:
        """One row a slice: 1 in its cell of the flattened confusion matrix, (n, k * (k + 1))."""
        columns, k = (*self.classes, UNKNOWN), len(self.classes)
        place = [self.classes.index(t) * (k + 1) + columns.index(p)
                 for t, p in zip(self.truth, self.predicted, strict=True)]  # fmt: skip
        n = len(place)
        return csr_array((np.ones(n), (np.arange(n), place)), shape=(n, k * (k + 1)))

    def confusion(self) -> Matrices:
        """Return the confusion matrix (k, k + 1) of all slices."""
        k = len(self.classes)
        return np.asarray(self.cells.sum(axis=0), np.float64).reshape(k, k + 1)

    def resampled(self, spaced: bool = False) -> Matrices:
        """Return the confusion matrix of every draw, (draws, k, k + 1)."""
        k, draws = len(self.classes), draw(self.places)
        weights = draws.spaced if spaced else draws.scaled
        return np.asarray((weights @ self.cells).toarray(), np.float64).reshape(-1, k, k + 1)


@dataclass(frozen=True)
class RegionFigures:
    """The figures of one region over `slices` of `subjects`."""

    region: str
    slices: int
    subjects: int
    sensitivity: Figure
    specificity: Figure
    f1: Figure


@dataclass(frozen=True)
class Figures:
    """What is reported of one outcome. Macro averages run over the regions that have slices.

    `spaced` are the weighted averages as the paper counts: slices of a draw, 10 mm apart and of one
    series a patient, with their mean over the draws. `confusion` is (k, k + 1), `unknown` last.
    """

    slices: int
    subjects: int
    regions: tuple[RegionFigures, ...]
    weighted: dict[str, Figure]
    macro: dict[str, Figure]
    spaced: dict[str, Figure]
    non_adjacent: Figure
    with_also: float
    unknown: float
    calibration_error: float
    reliability: tuple[Bin, ...]
    coverage: tuple[Covered, ...]
    confusion: tuple[tuple[int, ...], ...]


def credited(truth: str, predicted: str, resolves: bool) -> str:
    """Return what counts as predicted: a stage that resolves `abdomen_chest` is right with either half."""
    halves = (ABDOMEN.key, CHEST.key)
    return truth if resolves and truth == ABDOMEN_CHEST and predicted in halves else predicted


def rates(matrices: Matrices) -> dict[str, NDArray[np.float64]]:
    """Return sensitivity, specificity and F1, each (..., k); NaN where a class has no slice."""
    k = matrices.shape[-2]
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    truth, found = matrices.sum(axis=-1), matrices[..., :k].sum(axis=-2)
    others = matrices.sum(axis=(-2, -1))[..., None] - truth
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "sensitivity": hits / truth,
            "specificity": 1.0 - (found - hits) / others,
            "f1": np.where(truth > 0, 2 * hits / (truth + found), np.nan),
        }


def averages(
    matrices: Matrices, weighted: bool, whole: Matrices | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return the averages of `rates` over the classes that have slices, by slices or each class alike.

    In the average over classes, one that a draw misses counts as it does over all slices, where those
    are given as `whole` (k, k + 1): else draws without a weak class would lift the average.
    """
    truth, found = matrices.sum(axis=-1), rates(matrices)
    if whole is not None and not weighted:
        truth = np.broadcast_to(whole.sum(axis=-1), truth.shape)
        found = {name: np.where(np.isnan(found[name]), values, found[name])
                 for name, values in rates(whole).items()}  # fmt: skip
    weights = truth if weighted else (truth > 0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            name: np.nansum(values * weights, axis=-1) / weights.sum(axis=-1)
            for name, values in found.items()
        }


def non_adjacent_share(matrices: Matrices, classes: Sequence[str]) -> NDArray[np.float64]:
    """Return the share of slices taken for a region that is neither theirs nor beside it.

    `unknown` is no region: it is no such confusion.
    """
    grave = np.array(
        [[a != b and b != UNKNOWN and frozenset((a, b)) not in ADJACENT for b in (*classes, UNKNOWN)]
         for a in classes]
    )  # fmt: skip
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (matrices * grave).sum(axis=(-2, -1)) / matrices.sum(axis=(-2, -1))
    return np.asarray(share, np.float64)


def measures(
    matrices: Matrices, classes: Sequence[str], whole: Matrices | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return every one of MEASURES of confusion matrices (..., k, k + 1), each (...); `whole` as above."""
    macro = averages(matrices, weighted=False, whole=whole)
    accuracy = averages(matrices, weighted=True)["sensitivity"]
    shares = accuracy, macro["sensitivity"], macro["f1"], non_adjacent_share(matrices, classes)
    return dict(zip(MEASURES, shares, strict=True))


def figures(outcome: Outcome) -> Figures:
    """Return all figures of an outcome. Raises ValueError where it has no slice."""
    if not outcome.truth:
        raise ValueError("there is no labelled slice to score")
    total, resampled, spaced = outcome.confusion(), outcome.resampled(), outcome.resampled(spaced=True)
    either = [p in (t, a) for t, p, a in zip(outcome.truth, outcome.predicted, outcome.also, strict=True)]
    bins = reliability(outcome.confidences, outcome.right)
    counted = averages(spaced, weighted=True)
    return Figures(
        slices=len(outcome.truth),
        subjects=len(set(outcome.places.subjects)),
        regions=_regions(outcome, total, resampled),
        weighted=_averaged(total, resampled, weighted=True),
        macro=_averaged(total, resampled, weighted=False),
        spaced={name: figure(float(np.nanmean(draws)), draws) for name, draws in counted.items()},
        non_adjacent=figure(
            float(non_adjacent_share(total, outcome.classes)), non_adjacent_share(resampled, outcome.classes)
        ),
        with_also=float(np.mean(either)),
        unknown=float(total[:, -1].sum() / total.sum()),
        calibration_error=calibration_error(bins),
        reliability=bins,
        coverage=by_coverage(outcome.confidences, outcome.right),
        confusion=tuple(tuple(int(count) for count in row) for row in total),
    )


def _regions(outcome: Outcome, total: Matrices, resampled: Matrices) -> tuple[RegionFigures, ...]:
    point, spread = rates(total), rates(resampled)
    found = []
    for index, region in enumerate(outcome.classes):
        people = {s for s, t in zip(outcome.places.subjects, outcome.truth, strict=True) if t == region}
        if people:
            shares = {name: figure(float(point[name][index]), spread[name][:, index]) for name in point}
            found.append(RegionFigures(region, int(total[index].sum()), len(people), **shares))
    return tuple(found)


def _averaged(total: Matrices, resampled: Matrices, weighted: bool) -> dict[str, Figure]:
    point, spread = averages(total, weighted), averages(resampled, weighted, total)
    return {name: figure(float(point[name]), spread[name]) for name in point}
