"""State: what the rules hand on along a series, and the shape of a rule."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from model.regions import UNKNOWN
from rules.verdict import Vote


@dataclass(frozen=True)
class State:
    """What the rules hand on: float64 `scores` (n, k) along the series, k in the order of `classes`.

    `positions_mm` (n,) do not descend, towards the head; None where the images have no known order.
    `normals` (n, 3) are the unit normals of the image planes. `foreign` (n,) marks images that look
    like nothing the network was trained on; `energy` (n,) and `maximum_energy` are what that is
    judged by (rules/doubt.py), None where the weights do not say. `fixed` (n,) are class indices that
    a rule has decided on, -1 for unknown; without it an image has the class with the highest score.
    `votes` are what other series say (rules/votes.py). `flags` are remarks for the reviewer. `whole` (n, k)
    is what the whole series shows at each image's height (rules/whole.py), rows of zeros where nothing.
    """

    classes: tuple[str, ...]
    scores: NDArray[np.float64]
    positions_mm: NDArray[np.float64] | None = None
    normals: NDArray[np.float64] | None = None
    energy: NDArray[np.float64] | None = None
    maximum_energy: float | None = None
    foreign: NDArray[np.bool_] | None = None
    fixed: NDArray[np.intp] | None = None
    votes: tuple[Vote, ...] = ()
    flags: tuple[str, ...] = ()
    whole: NDArray[np.float64] | None = None

    @property
    def labels(self) -> NDArray[np.intp]:
        """Index of each image's class (n,): as fixed, else the highest score, the first of equals."""
        if self.fixed is not None:
            return self.fixed
        return np.asarray(np.argmax(self.scores, axis=1), dtype=np.intp)

    @property
    def regions(self) -> tuple[str, ...]:
        """Name of each image's class, `unknown` where it is fixed to none."""
        return tuple(self.classes[label] if label >= 0 else UNKNOWN for label in self.labels)

    @property
    def confidences(self) -> NDArray[np.float64]:
        """Score of each image's class (n,), 0..1; 0 where it is unknown."""
        if not self.scores.size:
            return np.zeros(len(self.scores))
        own = np.take_along_axis(self.scores, np.maximum(self.labels, 0)[:, np.newaxis], axis=1)[:, 0]
        return np.where(self.labels >= 0, np.clip(own, 0.0, 1.0), 0.0)

    def column(self, name: str) -> int | None:
        """Index of a class, None where the network does not know it."""
        return self.classes.index(name) if name in self.classes else None

    def scored(self, scores: NDArray[np.float64]) -> "State":
        """Return the state with other scores; the highest of each image names it again."""
        return replace(self, scores=scores, fixed=None)


Rule = Callable[[State], State]
