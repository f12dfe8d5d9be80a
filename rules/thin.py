"""Thinning: which slices of a stack are looked at, and what the others show, from those on either side.

A region changes over centimetres, so slices of one millimetre tell little that their neighbours do not. What
lies between two slices that were looked at is interpolated by the distance in mm, before any other rule.
"""

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

SAME_PLACE_MM: Final = 0.01


def chosen(positions_mm: NDArray[np.float64], every_mm: float | None) -> NDArray[np.intp]:
    """Return the indices of the slices to look at, of sorted positions (n,); None: all of them.

    Between two of them lie at most `every_mm`, unless the stack itself has a wider gap. Both ends are among
    them; of images in one place the first stands for the others.
    """
    if every_mm is None or len(positions_mm) <= 1:
        return np.arange(len(positions_mm))
    places = np.flatnonzero(np.diff(positions_mm, prepend=-np.inf) > SAME_PLACE_MM)
    picked = [places[0]]
    for place, following in pairwise(places[1:]):
        if positions_mm[following] - positions_mm[picked[-1]] > every_mm:
            picked.append(place)
    return np.array([*picked, *places[1:][-1:]], np.intp)


def between(
    seen_mm: NDArray[np.float64], values: NDArray[np.float32], positions_mm: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return values (n, k) at positions (n,), linear between those (m, k) seen at sorted positions (m,).

    Beyond the ends the last ones hold. Rows that summed to 1 still do. Raises ValueError where m is 0.
    """
    if not len(seen_mm):
        raise ValueError("nothing was seen to go by")
    above = np.searchsorted(seen_mm, positions_mm).clip(0, len(seen_mm) - 1)
    below = (above - 1).clip(0)
    width = seen_mm[above] - seen_mm[below]
    share = np.where(width > 0, (positions_mm - seen_mm[below]) / np.where(width > 0, width, 1.0), 1.0)
    share = share.clip(0.0, 1.0)[:, np.newaxis]
    return np.asarray(values[below] * (1.0 - share) + values[above] * share, np.float32)
