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
    `runtime` is what ran the network, with its version.
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    weights_digest: str
    energy: NDArray[np.float32] | None = None
    maximum_energy: float | None = None
    parts: tuple[str, ...] = ()
    part_probabilities: NDArray[np.float32] | None = None
    runtime: str = ""

    def beside(self, other: "Prediction") -> "Prediction":
        """Return what two networks say of their images, this one's first; energies count from the thresholds.

        The digest is that of the network with more images. Raises ValueError where the classes differ.
        """
        if self.classes != other.classes:
            raise ValueError("networks of different classes cannot judge one series")
        both = (self, other)
        return Prediction(
            self.classes,
            np.concatenate([each.probabilities for each in both]),
            max(both, key=lambda each: len(each.probabilities)).weights_digest,
            np.concatenate([each.excess for each in both]),
            0.0,
            runtime=", ".join(sorted({each.runtime for each in both})),
        )

    @property
    def excess(self) -> NDArray[np.float32]:
        """Energy above what the card counts as known (n,); far below where either is not known."""
        if self.energy is None or self.maximum_energy is None:
            return np.full(len(self.probabilities), -np.inf, np.float32)
        return np.asarray(self.energy - self.maximum_energy, np.float32)

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
