"""Evened tones of a radiograph: what detectors, windows and film curves change is taken out again.

A radiograph has no unit. Makers log it, window it, bend it and store it in 8 to 16 bits; a network that
sees this learns who made the picture. So the tones are stretched between two quantiles and bent by the
power that puts the mean of the exposed part in the middle. The order of the grey values stays, so does
everything local.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

TAILS: Final = (0.005, 0.995)
"""Quantiles that become black and white: markers and dead pixels lie beyond."""
EXPOSED: Final = 0.08
"""What is darker, after stretching, is direct exposure or shutter, and does not count for the mean."""
POWERS: Final = (0.4, 2.5)
HALF_RANGE: Final = 2.0
LARGEST: Final = 768
_ENOUGH: Final = 64_000
"""Pixels that the quantiles are found on, at least; more would tell no more."""


def reduced(
    values: NDArray[np.float32], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return a film of at most LARGEST pixels a side, by averaging; finer detail would not be seen."""
    rows, columns = values.shape
    scale = LARGEST / max(rows, columns)
    if scale >= 1.0:
        return values, valid
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    usable = valid & np.isfinite(values)
    filled = values
    if not usable.all():
        filled = np.where(usable, values, values[usable].min() if usable.any() else np.float32(0.0))
    small = cv2.resize(filled, size, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(usable.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(small, np.float32), mask > 0


def evened(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return `values` (rows, columns) between -2 and 2, the mean of what is exposed near 0.

    Invalid pixels become black. An image of one value becomes zeros.
    """
    usable = valid & np.isfinite(values)
    step = max(1, int(np.sqrt(values.size / _ENOUGH)))
    seen = values[::step, ::step][usable[::step, ::step]]
    if not seen.size:
        seen = values[usable]
    if not seen.size:
        return np.zeros(values.shape, np.float32)
    low, high = (float(edge) for edge in np.quantile(seen, TAILS))
    if high - low <= 1e-6 * max(1.0, abs(low), abs(high)):
        low, high = float(seen.min()), float(seen.max())
    if high <= low:
        return np.zeros(values.shape, np.float32)
    filled = values if usable.all() else np.where(usable, values, np.float32(low))
    grey = np.clip((filled - low) / (high - low), 0.0, 1.0)
    inside = np.clip((seen - low) / (high - low), 0.0, 1.0)
    exposed = inside[inside > EXPOSED]
    middle = float(exposed.mean()) if exposed.size else 0.5
    power = float(np.clip(np.log(0.5) / np.log(np.clip(middle, 0.02, 0.98)), *POWERS))
    return np.asarray(2.0 * HALF_RANGE * (np.power(grey, power) - 0.5), np.float32)
