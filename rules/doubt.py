"""Doubt about what the network has never seen: an energy threshold, how it is fitted, and how it is judged.

The energy of an image is -log(sum(exp(logits))) (Liu et al. 2020): low where the network knows what
it sees. The largest energy that still counts as known is fitted on held-out images of known regions
and lies in the card of the weights; without one nothing is doubted.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.along import steadied
from rules.state import State
from rules.together import lengthwise

COVERAGE: Final = 0.95
"""Share of the images of known regions that a threshold lets through."""


def doubt(state: State) -> State:
    """Take all scores from images whose energy is above the weights' threshold, and mark them foreign.

    The energy is that of the image and of those within 25 mm (model/along.py); of sagittal and coronal
    images, whose neighbours lie beside the region and not along it, each counts by itself.
    By themselves they are then unknown. The ordered decoder hears from them that they look foreign,
    and still names a few of them amidst a region that it is sure of.
    """
    if state.energy is None or state.maximum_energy is None:
        return state
    along = lengthwise(state.normals, len(state.energy)).any()
    energy = steadied(state.energy, None if along else state.positions_mm)
    foreign = ~(energy <= state.maximum_energy)  # NaN is foreign, too
    scores = np.where(foreign[:, np.newaxis], 0.0, state.scores)
    return replace(state.scored(scores), foreign=foreign)


def fit_maximum_energy(
    energies: NDArray[np.float64], subjects: Sequence[str], coverage: float = COVERAGE
) -> float:
    """Return the energy below which the share `coverage` of held-out images (n,) lies, subjects alike.

    Every subject weighs the same, however many images it has. Raises ValueError without an image.
    """
    if not len(energies):
        raise ValueError("a threshold needs held-out images")
    images = Counter(subjects)
    weights = np.array([1.0 / images[name] for name in subjects])
    order = np.argsort(energies, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    place = min(int(np.searchsorted(reached, coverage - 1e-9)), len(order) - 1)
    return float(energies[order][place])


def accepted(known: NDArray[np.float64], left_out: NDArray[np.float64], coverage: float = COVERAGE) -> float:
    """Return the share of images of a left-out region that are labelled, at a coverage of known ones.

    Both are scores that grow with certainty (confidence, or energy with its sign changed): (n,) of
    images of known regions, (m,) of the region that the network was trained without. The threshold
    is the highest that keeps the share `coverage` of the known. NaN counts as uncertain.
    """
    if not len(known) or not len(left_out):
        raise ValueError("the measurement needs images of known regions and of the one left out")
    sure = np.sort(np.nan_to_num(known, nan=-np.inf, posinf=np.inf, neginf=-np.inf))[::-1]
    threshold = sure[min(len(sure), int(np.ceil(coverage * len(sure) - 1e-9))) - 1]
    return float(np.mean(left_out >= threshold))
