"""Stages of deciding that are judged side by side: the network alone, and what others make of its output.

`model` knows no rules: whoever calls the evaluation brings the stages that need them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.along import steadied


@dataclass(frozen=True)
class SeriesOutput:
    """The network's output for the images of one series: probabilities (n, k), k in the order of `classes`.

    `positions_mm` (n,) ascends, along the body; None where the series is a single image of which
    nothing else is known. `energy` (n,) and `maximum_energy` are those of model/prediction.py.
    `lengthwise` images are sagittal or coronal, their positions along their own normal.
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    positions_mm: NDArray[np.float64] | None
    energy: NDArray[np.float32] | None = None
    maximum_energy: float | None = None
    lengthwise: bool = False

    @property
    def steadied(self) -> NDArray[np.float64]:
        """The energies (n,) as they are judged: each with those of its vicinity (rules/doubt.py)."""
        if self.energy is None:
            raise ValueError("these weights give no energy")
        return steadied(self.energy.astype(np.float64), None if self.lengthwise else self.positions_mm)


@dataclass(frozen=True)
class Decided:
    """What a stage says of each image of a series: a region or `unknown`, and its confidence, 0..1."""

    regions: tuple[str, ...]
    confidences: NDArray[np.float64]


@dataclass(frozen=True)
class Stage:
    """One way of deciding. `resolves` says that it never answers `abdomen_chest`.

    For a stage that resolves, `abdomen` and `chest` are both right where the truth is `abdomen_chest`.
    """

    name: str
    title: str
    decide: Callable[[SeriesOutput], Decided]
    resolves: bool


def most_probable(output: SeriesOutput) -> Decided:
    """Take the most probable class of each image by itself."""
    best = output.probabilities.argmax(axis=1)
    confidences = output.probabilities.max(axis=1, initial=0.0).astype(np.float64)
    return Decided(tuple(output.classes[index] for index in best), confidences)


NETWORK: Final = Stage("network", "network alone", most_probable, resolves=False)
