"""Fits the curve that turns the share of bright, even tissue into a probability of contrast medium."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from model.enhancement import TRUNK, Enhancement, bright_share
from model.series_labels import AXES, PARTS
from model.training import volume_cases
from model.training.volume_cases import SeriesCase
from model.training.volume_draw import NOBODY
from model.volumes import STORED, upright

RIDGE: Final = 0.02
"""Weight of the squared slope: the two kinds lie apart, and without it the curve would become a step."""


def fitted(data: Path) -> Enhancement:
    """Return the curve that fits the trunks of the training subjects."""
    return fit(volume_cases.real(volume_cases.held_out(data, "train")))


def fit(cases: Iterable[SeriesCase]) -> Enhancement:
    """Return the curve of these series; both kinds count alike, and within each its studies.

    Raises ValueError where one kind is missing.
    """
    shares, given, studies = [], [], []
    for case in cases:
        if case.contrast == NOBODY or case.part == NOBODY or PARTS[case.part] not in TRUNK:
            continue
        share = bright_share(upright(case.stack, STORED[AXES[case.axis]]))
        if share is not None:
            shares.append(np.log2(max(share, 1e-4)))
            given.append(case.contrast)
            studies.append(case.study)
    return _curve(np.array(shares), np.array(given), np.array(studies))


def _curve(octaves: NDArray[np.float64], given: NDArray[np.int64], studies: NDArray[np.str_]) -> Enhancement:
    if len(np.unique(given)) < 2:
        raise ValueError("there must be series with and without contrast medium to fit its measure")
    weights = np.zeros(len(octaves))
    for kind in (0, 1):
        names = studies[given == kind]
        for name in np.unique(names):
            weights[(given == kind) & (studies == name)] = 0.5 / len(np.unique(names)) / (names == name).sum()
    signs = 2.0 * given - 1.0

    def loss(curve: NDArray[np.float64]) -> float:
        slope, middle = curve
        return float(
            (weights * np.logaddexp(0.0, -signs * slope * (octaves - middle))).sum() + RIDGE * slope**2
        )

    start = np.array([1.0, float(np.average(octaves, weights=weights))])
    slope, middle = minimize(loss, start, method="Nelder-Mead").x
    return Enhancement(round(float(2.0**middle), 4), round(float(slope), 3))
