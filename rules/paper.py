"""The paper's rules, in the paper's order: pure functions from scores along a series to scores.

Source: Raffy et al. 2023, Methods and Fig. 2. All windows are in images, as in the paper, not in mm:
a thick stack is smoothed over more anatomy than a thin one. Every rule gives the mirrored result
for the mirrored series. A label is always the class with the highest score, the first of equals.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.regions import ABDOMEN, ABDOMEN_CHEST, BREAST, CHEST

BREAST_SHARE: Final = 0.5
VICINITY: Final = 2
"""Images on either side that count as the immediate vicinity of one image."""


@dataclass(frozen=True)
class State:
    """What the rules hand on: float64 `scores` (n, k) along the series, k in the order of `classes`."""

    classes: tuple[str, ...]
    scores: NDArray[np.float64]

    @property
    def labels(self) -> NDArray[np.intp]:
        """Index of each image's class (n,): the highest score, the first of equals."""
        return np.asarray(np.argmax(self.scores, axis=1), dtype=np.intp)

    @property
    def regions(self) -> tuple[str, ...]:
        """Name of each image's class."""
        return tuple(self.classes[label] for label in self.labels)

    def column(self, name: str) -> int | None:
        """Index of a class, None where the network does not know it."""
        return self.classes.index(name) if name in self.classes else None


Rule = Callable[[State], State]


def abdomen_chest(state: State) -> State:
    """Rule 1: images of `abdomen_chest` take whichever of abdomen and chest predominates in the series.

    Predominance counts images; equal counts, none at all included, give abdomen. The class's score
    goes to the winner on its own images; elsewhere it is dropped and the row scaled up, which
    changes no label.
    """
    merged = state.column(ABDOMEN_CHEST)
    if merged is None or not len(state.scores):
        return state
    labels = state.labels
    counts = {key: np.count_nonzero(labels == state.classes.index(key)) for key in (ABDOMEN.key, CHEST.key)}
    winner = state.classes.index(CHEST.key if counts[CHEST.key] > counts[ABDOMEN.key] else ABDOMEN.key)
    return replace(state, scores=_move(state.scores, merged, np.where(labels == merged, winner, merged)))


def without_abdomen_chest(state: State) -> State:
    """Leave no image `abdomen_chest` where rule 1 did not run: each takes its larger of abdomen and chest."""
    merged = state.column(ABDOMEN_CHEST)
    if merged is None or not len(state.scores):
        return state
    abdomen, chest = state.classes.index(ABDOMEN.key), state.classes.index(CHEST.key)
    winners = np.where(state.scores[:, chest] > state.scores[:, abdomen], chest, abdomen)
    return replace(
        state, scores=_move(state.scores, merged, np.where(state.labels == merged, winners, merged))
    )


def _move(scores: NDArray[np.float64], source: int, targets: NDArray[np.intp]) -> NDArray[np.float64]:
    """Move each row's score of class `source` to its target, or drop it where that is `source` itself."""
    moved = scores.copy()
    rows = np.arange(len(scores))
    moved[rows, targets] += moved[rows, source]
    moved[:, source] = 0.0
    totals = moved.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(moved, totals, out=moved, where=totals > 0), dtype=np.float64)


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
    return replace(state, scores=np.where(mine[:, np.newaxis], state.scores, state.scores[mine].mean(axis=0)))


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
    return replace(state, scores=scores)


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
    return replace(state, scores=average)
