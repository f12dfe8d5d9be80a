"""The paper's rules, in the paper's order: pure functions from scores along a series to scores.

Source: Raffy et al. 2023, Methods and Fig. 2. All windows are in images, as in the paper, not in mm:
a thick stack is smoothed over more anatomy than a thin one. Every rule gives the mirrored result
for the mirrored series. A label is always the class with the highest score, the first of equals.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.regions import ABDOMEN, ABDOMEN_CHEST, BREAST, CHEST
from rules.state import State

PAPER: Final = ("abdomen_chest", "breast", "outliers", "smooth")
"""The rules' names in the paper's order; in a configuration, `paper` stands for all of them."""

BREAST_SHARE: Final = 0.5
VICINITY: Final = 2
"""Images on either side that count as the immediate vicinity of one image."""


def abdomen_chest(state: State) -> State:
    """Rule 1: images of `abdomen_chest` take whichever of abdomen and chest predominates in the series.

    Predominance counts images; equal counts, none at all included, give abdomen. No other image
    changes its label: see `_resolve` for where the mixed class's score goes.
    """
    merged = state.column(ABDOMEN_CHEST)
    if merged is None or not len(state.scores):
        return state
    labels = state.labels
    counts = {key: np.count_nonzero(labels == state.classes.index(key)) for key in (ABDOMEN.key, CHEST.key)}
    winner = state.classes.index(CHEST.key if counts[CHEST.key] > counts[ABDOMEN.key] else ABDOMEN.key)
    return _resolve(state, merged, np.full_like(labels, winner))


def without_abdomen_chest(state: State) -> State:
    """Leave no image `abdomen_chest` where rule 1 did not run: each takes its larger of abdomen and chest."""
    merged = state.column(ABDOMEN_CHEST)
    if merged is None or not len(state.scores):
        return state
    abdomen, chest = state.classes.index(ABDOMEN.key), state.classes.index(CHEST.key)
    winners = np.where(state.scores[:, chest] > state.scores[:, abdomen], chest, abdomen)
    return _resolve(state, merged, winners)


def _resolve(state: State, merged: int, winners: NDArray[np.intp]) -> State:
    """Give the score of the mixed class away: column `merged` is 0 in every row afterwards.

    Its own images give it to their winner (n,), images of abdomen or chest to their own label, since
    the mixed class speaks for either. Elsewhere it is dropped, so those rows sum to less than 1.
    """
    labels, scores, rows = state.labels, state.scores.copy(), np.arange(len(state.scores))
    targets = np.where(labels == merged, winners, labels)
    trunk = [state.classes.index(key) for key in (ABDOMEN.key, CHEST.key)]
    mixed = scores[:, merged].copy()
    scores[:, merged] = 0.0
    scores[rows, targets] += np.where(np.isin(targets, trunk), mixed, 0.0)
    return state.scored(scores)


def breast(state: State) -> State:
    """Rule 2: a series of which at least half of the images are breast is breast as a whole.

    The other images take the mean scores of the breast images.
    """
    column = state.column(BREAST.key)
    if column is None or not len(state.scores):
        return state
    mine = state.labels == column
    if mine.mean() < BREAST_SHARE:
        return state
    return state.scored(np.where(mine[:, np.newaxis], state.scores, state.scores[mine].mean(axis=0)))


def outliers(state: State) -> State:
    """Rule 3: labels inconsistent with those in the immediate vicinity are removed.

    The paper says no more than that. Chosen here: an image is an outlier when both its neighbours
    carry one label, and no image of the vicinity (two to either side) carries its own. It then
    takes the mean scores of the two neighbours. So a border between two regions, a real sliver at
    the end of a series and alternating echoes are left alone.
    """
    labels, scores = state.labels, state.scores.copy()
    for i in range(1, len(labels) - 1):
        around = np.concatenate([labels[max(0, i - VICINITY) : i], labels[i + 1 : i + 1 + VICINITY]])
        if labels[i - 1] == labels[i + 1] and labels[i] not in around:
            scores[i] = (state.scores[i - 1] + state.scores[i + 1]) / 2
    return state.scored(scores)


def smooth(state: State) -> State:
    """Rule 4: a moving average of window 3 over the class scores along the series.

    The first and the last image are averaged with their one neighbour.
    """
    if len(state.scores) < 2:
        return state
    scores = state.scores
    average = np.empty_like(scores)
    # Outer two first: the sum, and with it every tie, is the same read from either end.
    average[1:-1] = ((scores[:-2] + scores[2:]) + scores[1:-1]) / 3
    average[0] = (scores[0] + scores[1]) / 2
    average[-1] = (scores[-1] + scores[-2]) / 2
    return state.scored(average)
