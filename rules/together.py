"""Sagittal and coronal images: each shows the examined region as a whole, so that they are judged together.

There is no order along the body to decode in a stack whose planes lie along it. Neighbours look alike
and err alike, so that a stack counts as a few independent images, however many it has.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.geometry import LENGTHWISE_COSINE
from rules.state import State

MOST: Final = 2.0
"""As how many independent images a stack counts at most."""
FLOOR: Final = 0.02
"""What the network is taken to give any region, so that one image cannot rule a region out."""


def lengthwise(normals: NDArray[np.float64] | None, n: int) -> NDArray[np.bool_]:
    """Mark those of n images whose plane lies along the body, by their normals (n, 3)."""
    if normals is None:
        return np.zeros(n, np.bool_)
    return np.asarray(np.abs(normals[:, 2]) < LENGTHWISE_COSINE, np.bool_)


def together(state: State) -> State:
    """Give all images the region that they have in common, and its probability as their score.

    Images that the rules before took all scores from have no say; where none has one, all are unknown.
    """
    told = state.scores.sum(axis=1) > 0
    if not told.any():
        return replace(state, fixed=np.full(len(state.scores), -1, np.intp))
    floored = (1.0 - FLOOR) * state.scores[told] + FLOOR / state.scores.shape[1]
    support = np.log(floored).mean(axis=0) * min(MOST, float(told.sum()))
    common = np.exp(support - support.max())
    return state.scored(np.tile(common / common.sum(), (len(state.scores), 1)))
