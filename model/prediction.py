"""Prediction: probabilities (n, classes) in class order, and the digest of the weights that gave them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """What a network says of n images.

    `probabilities` is float32 (n, k), k in the order of `classes`, rows summing to 1. `energy` float32
    (n,) is -log(sum(exp(logits))) at temperature 1 (Liu et al. 2020), the higher the more foreign an
    image looks; `maximum_energy` is what the weights' card still counts as known. None: not known. A second
    head, as that of radiographs, gives `part_probabilities` float32 (n, p) of `parts`; without one p is 0.
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    weights_digest: str
    energy: NDArray[np.float32] | None = None
    maximum_energy: float | None = None
    parts: tuple[str, ...] = ()
    part_probabilities: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.probabilities.ndim != 2 or self.probabilities.shape[1] != len(self.classes):
            raise ValueError(
                f"probabilities have shape {self.probabilities.shape}, expected (n, {len(self.classes)})"
            )
        said, shape = self.part_probabilities, (len(self.probabilities), len(self.parts))
        if said is not None and said.shape != shape:
            raise ValueError(f"probabilities of parts have shape {said.shape}, expected {shape}")
        if self.energy is not None and self.energy.shape != (len(self.probabilities),):
            raise ValueError(f"energy has shape {self.energy.shape}, expected ({len(self.probabilities)},)")
