"""Votes across series: what another series of the same Frame of Reference shows at the same height.

Two phases, echoes or sequences of one patient in one position see the same anatomy, in fields of view
that may differ: a lumbar spine and an abdomen lie at one level, and neither contradicts the other.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.regions import ARM_CHAIN, UNKNOWN
from rules.anatomy import SAME_LEVEL
from rules.state import State
from rules.verdict import Vote

REACH_MM: Final = 5.0
"""How far away an image of another series may lie and still speak for a place."""
WEIGHT: Final = 0.5
"""What the mean of all votes counts beside an image's own scores."""
DISBELIEF: Final = 0.1
"""What a region keeps that the others do not see at all."""


def votes(state: State) -> State:
    """Multiply each image's scores by what other series say of its height; rows keep their sums."""
    if state.positions_mm is None or not state.votes or not len(state.scores):
        return state
    said, voters = np.zeros(state.scores.shape), np.zeros(len(state.scores))
    for vote in state.votes:
        known = np.array([region != UNKNOWN for region in vote.regions], np.bool_)
        if known.any():
            nearest, near = _nearest(state.positions_mm, np.where(known, vote.positions_mm, np.inf))
            said[near] += np.log(_support(vote, state.classes))[nearest[near]]
            voters += near
    swayed = state.scores * np.exp(WEIGHT * said / np.maximum(voters, 1.0)[:, np.newaxis])
    before, after = (table.sum(axis=1, keepdims=True) for table in (state.scores, swayed))
    return state.scored(np.where(after > 0, swayed * before / np.where(after > 0, after, 1.0), state.scores))


def _nearest(
    places: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return for each place the index of the nearest of `others`, and whether it is within reach."""
    ranked = np.argsort(others, kind="stable")
    sorted_others = others[ranked]
    after = np.clip(np.searchsorted(sorted_others, places), 0, len(others) - 1)
    before = np.maximum(after - 1, 0)
    closer = np.abs(sorted_others[before] - places) <= np.abs(sorted_others[after] - places)
    best = np.where(closer, before, after)
    return ranked[best], np.abs(sorted_others[best] - places) <= REACH_MM


def _support(vote: Vote, classes: Sequence[str]) -> NDArray[np.float64]:
    """Return how far each image (n,) of a vote supports each class (k,), DISBELIEF..1."""
    alike = {(a, b) for pair in SAME_LEVEL for a, b in (pair, pair[::-1])}
    fits = np.array([[_fits(region, key, alike) for key in classes] for region in vote.regions], np.float64)
    sure = np.clip(np.nan_to_num(vote.confidences), 0.0, 1.0)[:, np.newaxis]
    return DISBELIEF + (1.0 - DISBELIEF) * (sure * fits + (1.0 - sure))


def _fits(region: str, key: str, alike: set[tuple[str, str]]) -> bool:
    """Say whether one place can show both; an arm may lie beside anything."""
    return region == key or (region, key) in alike or region in ARM_CHAIN or key in ARM_CHAIN
