"""Prediction: probabilities (n, classes) in class order, and the digest of the weights that gave them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """What a network says of n images.

    `probabilities` is float32 (n, k), k in the order of `classes`, rows summing to 1.
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    weights_digest: str

    def __post_init__(self) -> None:
        if self.probabilities.ndim != 2 or self.probabilities.shape[1] != len(self.classes):
            raise ValueError(
                f"probabilities have shape {self.probabilities.shape}, expected (n, {len(self.classes)})"
            )
