"""How far confidence can be believed: temperature, calibration error, reliability, accuracy by coverage."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from model.training.bootstrap import Number

BINS: Final = 10


@dataclass(frozen=True)
class Bin:
    """The images of one tenth of the scale of confidence: mean confidence and share right, 0..1."""

    low: float
    high: float
    images: int
    confidence: Number
    right: Number


@dataclass(frozen=True)
class Covered:
    """The share of images with the highest confidences, and the share of them that is right, 0..1."""

    coverage: float
    right: float


def reliability(confidences: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Return the reliability diagram: BINS equal bins of confidence (n,) with what was right in each."""
    place = np.minimum((confidences * BINS).astype(int), BINS - 1)
    found = []
    for b in range(BINS):
        mine = place == b
        means = (confidences[mine].mean(), right[mine].mean()) if mine.any() else (np.nan, np.nan)
        found.append(Bin(b / BINS, (b + 1) / BINS, int(mine.sum()), float(means[0]), float(means[1])))
    return tuple(found)


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error, 0..1: the gaps of the bins, weighted by their images."""
    total = sum(one.images for one in bins)
    return sum(one.images * abs(one.confidence - one.right) for one in bins if one.images) / max(1, total)


def by_coverage(
    confidences: NDArray[np.float64], right: NDArray[np.bool_], points: int = 50
) -> tuple[Covered, ...]:
    """Return accuracy against coverage: of the most confident share of the images, how many are right.

    Images of equal confidence come or go together, so the curve does not hang on their order.
    """
    order = np.argsort(-confidences, kind="stable")
    ranked, hits = confidences[order], np.cumsum(right[order])
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    wanted = np.unique(np.searchsorted(ends + 1, np.linspace(0, len(ranked), points + 1)[1:]))
    ends = ends[np.minimum(wanted, len(ends) - 1)]
    return tuple(Covered(float((e + 1) / len(ranked)), float(hits[e] / (e + 1))) for e in ends)


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
