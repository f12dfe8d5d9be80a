"""Figures of a slice classifier: sensitivity, specificity, F1, intervals over subjects, calibration.

Everything is computed from one confusion matrix per subject, so that the bootstrap draws subjects:
slices of one person resemble each other and are no independent evidence.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from model.regions import ARM_CHAIN, BODY_CHAIN, SPINE_CHAIN

DRAWS: Final = 2000
Matrices = NDArray[np.float64]
"""Confusion matrices (..., k, k): rows are the truth, columns what was predicted."""

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


@dataclass(frozen=True)
class Outcome:
    """What was predicted for n slices: truth and subject of each, probabilities (n, k) by class order."""

    classes: tuple[str, ...]
    truth: tuple[str, ...]
    subjects: tuple[str, ...]
    probabilities: NDArray[np.float32]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Index of the most probable class of each slice, (n,)."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)

    @property
    def true_indices(self) -> NDArray[np.int64]:
        """Class index of the truth of each slice, (n,)."""
        return np.array([self.classes.index(label) for label in self.truth], np.int64)


@dataclass(frozen=True)
class Figure:
    """A share 0..1 with its 95 % interval."""

    value: float
    low: float
    high: float


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
    """Everything that is reported of one outcome. Macro averages run over the regions that have slices."""

    classes: tuple[str, ...]
    slices: int
    subjects: int
    regions: tuple[RegionFigures, ...]
    weighted: dict[str, Figure]
    macro: dict[str, Figure]
    non_adjacent: Figure
    calibration_error: float
    confusion: NDArray[np.int64]


@dataclass(frozen=True)
class Scored:
    """The figures of one part; with the share of slices right when a second reading (`also`) counts too."""

    part: str
    figures: Figures
    with_also: float
    sources: dict[str, tuple[int, int]]
    """Slices and subjects by source."""


def confusion_by_subject(outcome: Outcome) -> Matrices:
    """Return (subjects, k, k) confusion matrices, subjects in the order of their names."""
    k, names = len(outcome.classes), sorted(set(outcome.subjects))
    owner = np.array([names.index(name) for name in outcome.subjects], np.int64)
    matrices = np.zeros((len(names), k, k), np.float64)
    np.add.at(matrices, (owner, outcome.true_indices, outcome.predicted), 1.0)
    return matrices


def rates(matrices: Matrices) -> dict[str, NDArray[np.float64]]:
    """Return sensitivity, specificity and F1, each (..., k); NaN where a class has no slice."""
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    truth, found = matrices.sum(axis=-1), matrices.sum(axis=-2)
    others = matrices.sum(axis=(-2, -1))[..., None] - truth
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "sensitivity": hits / truth,
            "specificity": 1.0 - (found - hits) / others,
            "f1": np.where(truth > 0, 2 * hits / (truth + found), np.nan),
        }


def averages(matrices: Matrices, weighted: bool) -> dict[str, NDArray[np.float64]]:
    """Return the averages of `rates` over the classes that have slices, by slices or each class alike."""
    truth = matrices.sum(axis=-1)
    weights = truth if weighted else (truth > 0).astype(np.float64)
    return {
        name: np.nansum(values * weights, axis=-1) / weights.sum(axis=-1)
        for name, values in rates(matrices).items()
    }


def non_adjacent_share(matrices: Matrices, classes: Sequence[str]) -> NDArray[np.float64]:
    """Return the share of slices that were taken for a region that is neither theirs nor beside it."""
    grave = np.array([[a != b and frozenset((a, b)) not in ADJACENT for b in classes] for a in classes])
    return np.asarray((matrices * grave).sum(axis=(-2, -1)) / matrices.sum(axis=(-2, -1)), np.float64)


def calibration_error(outcome: Outcome, bins: int = 10) -> float:
    """Return the expected calibration error, 0..1: confidence against accuracy over equal bins."""
    confidence = outcome.probabilities.max(axis=1)
    right = outcome.predicted == outcome.true_indices
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(float(confidence[place == b].sum()) - float(right[place == b].sum())) for b in range(bins)]
    return sum(gaps) / len(right)


def figures(outcome: Outcome, seed: int = 1) -> Figures:
    """Return all figures of an outcome, intervals from a bootstrap over subjects."""
    matrices = confusion_by_subject(outcome)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(matrices), np.full(len(matrices), 1 / len(matrices)), size=DRAWS)
    resampled = np.einsum("ds,sij->dij", drawn.astype(np.float64), matrices)
    total = matrices.sum(axis=0)
    point, spread = rates(total), rates(resampled)
    regions = []
    for index, region in enumerate(outcome.classes):
        slices = int(total[index].sum())
        if slices:
            found = {name: _figure(point[name][index], spread[name][:, index]) for name in point}
            people = int((matrices[:, index].sum(axis=-1) > 0).sum())
            regions.append(RegionFigures(region, slices, people, **found))
    grave = _figure(
        non_adjacent_share(total, outcome.classes), non_adjacent_share(resampled, outcome.classes)
    )
    return Figures(
        classes=outcome.classes,
        slices=int(total.sum()),
        subjects=len(matrices),
        regions=tuple(regions),
        weighted=_averaged(total, resampled, weighted=True),
        macro=_averaged(total, resampled, weighted=False),
        non_adjacent=grave,
        calibration_error=calibration_error(outcome),
        confusion=total.astype(np.int64),
    )


def _averaged(total: Matrices, resampled: Matrices, weighted: bool) -> dict[str, Figure]:
    point, spread = averages(total, weighted), averages(resampled, weighted)
    return {name: _figure(point[name], spread[name]) for name in point}


def _figure(value: np.float64 | NDArray[np.float64], draws: NDArray[np.float64]) -> Figure:
    usable = draws[np.isfinite(draws)]
    low, high = np.quantile(usable, [0.025, 0.975]) if usable.size else (np.nan, np.nan)
    return Figure(float(value), float(low), float(high))


def fit_temperature(logits: NDArray[np.float64], truth: NDArray[np.int64], subjects: Sequence[str]) -> float:
    """Return the temperature that minimises the log loss, every subject weighing the same (Guo et al. 2017).

    Logits are (n, k), truth (n,) class indices. Not by region: some have a single, odd subject. At
    least 1: validation subjects come from the training's own sources and are easier than what will
    arrive, so they may soften the confidence but not sharpen it.
    """
    slices = Counter(subjects)
    weights = np.array([1.0 / slices[name] for name in subjects])

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        top = scaled.max(axis=1)
        spread = np.log(np.exp(scaled - top[:, None]).sum(axis=1)) + top
        return float(np.average(spread - scaled[np.arange(len(truth)), truth], weights=weights))

    return float(np.exp(minimize_scalar(loss, bounds=(0.0, np.log(8.0)), method="bounded").x))
