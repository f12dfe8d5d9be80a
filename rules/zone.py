"""The zone of lung base and upper abdomen: after ordering, chest has the upper half of it."""

from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from model.regions import ABDOMEN, ABDOMEN_CHEST, CHEST
from rules.state import State


def without_zone(state: State) -> State:
    """Divide each run of `abdomen_chest` between its neighbours, at its middle in mm.

    With one of chest and abdomen beside it the run becomes that; with neither, the one that has more
    of the scores, abdomen where they are equal (rule 1 of the paper). Images of chest and of abdomen
    have the score of the zone, too, which speaks for either.
    """
    zone = state.column(ABDOMEN_CHEST)
    if zone is None or state.fixed is None or state.positions_mm is None:
        return state
    chest, abdomen = state.classes.index(CHEST.key), state.classes.index(ABDOMEN.key)
    fixed, scores = state.fixed.copy(), state.scores.copy()
    for label, run in groupby(range(len(fixed)), key=state.fixed.tolist().__getitem__):
        if label == zone:
            images = np.array(list(run))
            ends = [_neighbour(state.fixed, images[0] - 1), _neighbour(state.fixed, images[-1] + 1)]
            more = chest if scores[images, chest].sum() > scores[images, abdomen].sum() else abdomen
            beside = [end for end in ends if end in (chest, abdomen)] or [more]
            places = state.positions_mm[images]
            middle = (places[0] + places[-1]) / 2
            fixed[images] = np.where(places < middle, beside[0], beside[-1])
    for column in (chest, abdomen):
        scores[:, column] += np.where(fixed == column, scores[:, zone], 0.0)
    scores[:, zone] = 0.0
    return replace(state, scores=scores, fixed=fixed)


def _neighbour(fixed: NDArray[np.intp], image: int) -> int:
    return int(fixed[image]) if 0 <= image < len(fixed) else -1
