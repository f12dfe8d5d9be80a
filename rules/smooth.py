"""Smoothing over a fixed length of the body: what the paper's last rule is with a window in mm."""

from typing import Final

import numpy as np

from model.along import means_within
from rules.state import State

HALF_MM: Final = 12.5


def smooth_25mm(state: State) -> State:
    """Give each image the mean scores of all images within 12.5 mm to either side, its own place included.

    Without positions the scores stay.
    """
    if state.positions_mm is None or not len(state.scores):
        return state
    means = means_within(state.scores, state.positions_mm, HALF_MM)
    return state.scored(np.clip(means, 0.0, 1.0))
