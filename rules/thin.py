"""Thinning: which slices of a stack are looked at, and what the others show, from those on either side.

A region changes over centimetres, so slices of one millimetre tell little that their neighbours do not. What
lies between two slices that were looked at is interpolated by the distance in mm, before any other rule.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SAME_PLACE_MM: Final = 0.01


def chosen(positions_mm: NDArray[np.float64], every_mm: float | None) -> NDArray[np.intp]:
    """Return the indices of the slices to look at, of sorted positions (n,); None: all of them.

    Two places that are looked at lie at most `every_mm` apart, unless the stack itself has a wider gap. Both
    ends are among them; of a place all images are looked at, those of several phases or echoes.
    """
    if every_mm is None or len(positions_mm) <= 1:
        return np.arange(len(positions_mm))
    fresh = np.diff(positions_mm, prepend=-np.inf) > SAME_PLACE_MM
    places = positions_mm[fresh]
    picked = [0]
    for place, following in enumerate(places[2:], 1):
        if following - places[picked[-1]] > every_mm:
            picked.append(place)
    return np.flatnonzero(np.isin(np.cumsum(fresh) - 1, [*picked, len(places) - 1]))


def spread(
    picked: NDArray[np.intp], values: NDArray[np.float32], positions_mm: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return values (n, k) at sorted positions (n,), of those (m, k) of the indices that were looked at (m,).

    What was looked at keeps its own; raises ValueError where m is 0.
    """
    found = between(positions_mm[picked], values, positions_mm)
    found[picked] = values
    return found


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
