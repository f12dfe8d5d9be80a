"""From image to network input: the same code in training and serving (SPEC: Raffy et al. 2023, Fig. 2).

Clip to mean ± 4 standard deviations, (x - mean) / (2 std), aspect ratio kept, resized into a square.
Padding pixels enter neither mean nor std. Two choices go beyond the paper, both against a border that
becomes a feature: the square is filled up with the value of air (the darkest valid pixel after
normalisation) instead of zero, and padding pixels inside the image get that value too.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

CLIP_STD: Final = 4.0
SCALE_STD: Final = 2.0


def network_input(
    values: NDArray[np.float32], valid: NDArray[np.bool_], size: int, aspect: float = 1.0
) -> NDArray[np.float32]:
    """Return the float32 (size, size, 1) input of one image, values within about -2..2.

    `values` is (rows, columns), `valid` of the same shape and False where padding lies. `aspect` is
    the pixel's height divided by its width (row spacing / column spacing). An image without a valid
    pixel, or with one single value, becomes zeros. Raises ValueError unless both are 2D and alike.
    """
    if values.ndim != 2 or values.shape != valid.shape or 0 in values.shape:
        raise ValueError(f"image of shape {values.shape} with a mask of shape {valid.shape} has no meaning")
    grey = normalise(values, valid)
    return _into_square(grey, size, aspect, float(grey.min()))[:, :, np.newaxis]


def normalise(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return `values` (rows, columns) clipped and scaled; invalid pixels get the darkest valid value."""
    usable = valid & np.isfinite(values)
    everything = bool(usable.all())
    inside = values if everything else values[usable]
    if inside.size == 0:
        return np.zeros(values.shape, np.float32)
    mean = float(inside.mean(dtype=np.float64))
    std = float(inside.std(dtype=np.float64))
    if std <= 1e-6 * max(1.0, abs(mean)):
        return np.zeros(values.shape, np.float32)
    low, high = mean - CLIP_STD * std, mean + CLIP_STD * std
    air = max(float(inside.min()), low)
    filled = values if everything else np.where(usable, values, np.float32(air))
    clipped = np.clip(filled, low, high)
    return ((clipped - mean) / (SCALE_STD * std)).astype(np.float32)


def fitted_shape(rows: int, columns: int, size: int, aspect: float = 1.0) -> tuple[int, int]:
    """Return the (height, width) in pixels of an image fitted into a square of `size`, aspect kept."""
    height, width = rows * aspect, float(columns)
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _into_square(grey: NDArray[np.float32], size: int, aspect: float, air: float) -> NDArray[np.float32]:
    height, width = fitted_shape(grey.shape[0], grey.shape[1], size, aspect)
    # INTER_AREA averages when shrinking; when enlarging it would repeat pixels, so go linear there.
    shrinks = height <= grey.shape[0] and width <= grey.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    fitted = cv2.resize(grey, (width, height), interpolation=method)
    square = np.full((size, size), air, np.float32)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = fitted
    return square
