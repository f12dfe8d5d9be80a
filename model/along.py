"""Means along the body: what the images within some mm of each image's place say together."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

VICINITY_MM: Final = 25.0
"""How far to either side images tell whether the network knows what it sees; regions are longer than that."""
_FAR: Final = 1e6
"""Stands for an infinite energy in a mean."""


def means_within(
    values: NDArray[np.float64], positions_mm: NDArray[np.float64], half_mm: float
) -> NDArray[np.float64]:
    """Return for each row of values (n, k) the mean of the rows within `half_mm` of it, itself included.

    Positions (n,) do not descend.
    """
    first = np.searchsorted(positions_mm, positions_mm - half_mm, side="left")
    end = np.searchsorted(positions_mm, positions_mm + half_mm, side="right")
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    return np.asarray((sums[end] - sums[first]) / (end - first)[:, np.newaxis], np.float64)


def steadied(energy: NDArray[np.float64], positions_mm: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return the energies (n,) of images as the mean over their vicinity; without positions as they are.

    One image may look odd, a region that the network never saw does so all along. An energy that is no
    number stays one and says nothing of its neighbours.
    """
    if positions_mm is None or not len(energy):
        return energy
    number = ~np.isnan(energy)
    values = np.where(number, np.clip(energy, -_FAR, _FAR), 0.0)
    found = means_within(np.stack([values, number.astype(np.float64)], axis=1), positions_mm, VICINITY_MM)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(number, found[:, 0] / found[:, 1], np.nan), np.float64)
