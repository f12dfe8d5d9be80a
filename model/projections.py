"""A volume seen from three sides: what the light network for whole CT series looks at.

Each view is SIZE x SIZE with four channels. From the front (coronal) and from the side (sagittal): the mean
of all attenuation along the rays, its maximum, a thick slab through the body's middle in a soft-tissue
window, and how much along each ray is as bright as enhanced vessels and organs. From above (axial): four
slabs at fixed shares of the height. All three have one scale, which the network is told.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.volumes import Volume

SIZE: Final = 96
CHANNELS: Final = 4
VIEWS: Final = 3
ROWS: Final = 24
"""Stretches of the height that the network answers for one by one."""
WINDOW_HU: Final = (-1000.0, 400.0)
"""The values that the paper's network sees (Li et al. 2024)."""
BRIGHT_HU: Final = (-1000.0, 1200.0)
SOFT_HU: Final = (-150.0, 350.0)
ENHANCED_HU: Final = (90.0, 330.0)
"""Unenhanced organs lie below, dense bone above; spongy bone and stents lie within."""
DENSE_HU: Final = -500.0
LEAST_SHARE: Final = 0.004
"""A plane with fewer dense voxels than this share is air."""
LEVELS: Final = (0.15, 0.38, 0.62, 0.85)
"""Heights of the four axial slabs, as shares from the top."""
SLAB: Final = 0.06
"""Half the thickness of a slab, as a share of the depth."""
TONES_HU: Final = (-100.0, 412.0)
TONES: Final = 32
THIRDS: Final = 3
"""A histogram of even places for each third of the height: enhanced is bright and even, bone is not."""
EVEN_HU: Final = 18.0
"""Standard deviation, after smoothing, below which a place counts as even."""
MIDDLE_MM: Final = 3.0
"""Millimetres a pixel at which the scale is told as 0."""


@dataclass(frozen=True, eq=False)
class Views:
    """The three views, float32 (3, SIZE, SIZE, 4) within 0..1, and their millimetres a pixel.

    `top` and `bottom` are the rows of the canvas that the body fills in the first two; it lies from `first`
    to `last` of the volume's height, as shares from the top. `tones` is float32 (THIRDS * TONES,).
    """

    pixels: NDArray[np.float32]
    pixel_mm: float
    top: int
    bottom: int
    tones: NDArray[np.float32]
    first: float = 0.0
    last: float = 1.0

    @property
    def scale(self) -> float:
        """What the network is told of the scale: octaves from MIDDLE_MM, halved."""
        return float(np.log2(self.pixel_mm / MIDDLE_MM) / 2.0)


def views(volume: Volume) -> Views:
    """Return the three views of a volume (height, depth, width); air round the body is cut off."""
    height = volume.values.shape[0]
    volume, first = trimmed(volume)
    pixel_mm = max(max(volume.extent_mm) / SIZE, 0.25)
    values, (down, deep, wide) = volume.values, volume.spacing_mm
    window = _window(values, WINDOW_HU)
    soft = _window(values, SOFT_HU)
    quiet = np.stack([cv2.blur(cut, (3, 3)) for cut in values])
    enhanced = np.asarray((quiet > ENHANCED_HU[0]) & (quiet < ENHANCED_HU[1]))
    middle = _middle(window)
    canvas = np.zeros((VIEWS, SIZE, SIZE, CHANNELS), np.float32)
    for view, axis, across in ((0, 1, wide), (1, 2, deep)):
        flat = _flattened(values, window, soft, enhanced, axis, middle[axis])
        canvas[view] = _placed(flat, (down / pixel_mm, across / pixel_mm))
    slabs = np.stack([_slab(soft, 0, share * values.shape[0]) for share in LEVELS], axis=2)
    canvas[2] = _placed(slabs, (deep / pixel_mm, wide / pixel_mm))
    rows = _length(values.shape[0] * down / pixel_mm)
    top = (SIZE - rows) // 2
    return Views(
        canvas, pixel_mm, top, top + rows, _tones(quiet), first / height, (first + values.shape[0]) / height
    )


def trimmed(volume: Volume) -> tuple[Volume, int]:
    """Return the volume without the planes of air round the body, and how many of them lay above it."""
    dense = volume.values > DENSE_HU
    bounds = []
    for axis in range(3):
        others = tuple(each for each in range(3) if each != axis)
        full = np.flatnonzero(dense.mean(axis=others) > LEAST_SHARE)
        whole = not len(full) or full[-1] - full[0] < 2
        bounds.append(slice(0, dense.shape[axis]) if whole else slice(int(full[0]), int(full[-1]) + 1))
    return Volume(volume.values[tuple(bounds)], volume.spacing_mm), bounds[0].start


def row_places(seen: Views) -> NDArray[np.float64]:
    """Return the middle of each of ROWS stretches as a share of the volume's height from the top, (ROWS,).

    Those of stretches that lie on the canvas outside the body are NaN.
    """
    middles = (np.arange(ROWS) + 0.5) * (SIZE / ROWS)
    within = (middles - seen.top) / max(1, seen.bottom - seen.top)
    outside = (within < 0.0) | (within > 1.0)
    return np.asarray(np.where(outside, np.nan, seen.first + within * (seen.last - seen.first)), np.float64)


def _window(values: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.float32]:
    low, high = window
    return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0), np.float32)


def _middle(window: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return where the attenuation is centred along each axis."""
    found = []
    for axis in range(3):
        others = tuple(each for each in range(3) if each != axis)
        weight = window.mean(axis=others, dtype=np.float64) + 1e-6
        found.append(float((weight * np.arange(len(weight))).sum() / weight.sum()))
    return found[0], found[1], found[2]


def _flattened(
    values: NDArray[np.float32], window: NDArray[np.float32], soft: NDArray[np.float32],
    enhanced: NDArray[np.bool_], axis: int, middle: float,
) -> NDArray[np.float32]:  # fmt: skip
    """Return the four channels (rows, columns, 4) of a volume seen along an axis."""
    return np.stack(
        [
            window.mean(axis=axis),
            _window(values.max(axis=axis), BRIGHT_HU),
            _slab(soft, axis, middle),
            np.minimum(enhanced.mean(axis=axis, dtype=np.float32) * 4.0, 1.0),
        ],
        axis=2,
    )


def _tones(quiet: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the histograms (THIRDS * TONES,) of the even places of a smoothed volume, 0..1."""
    found = []
    for third in np.array_split(quiet, THIRDS):
        counts = np.zeros(TONES)
        for cut in third:
            mean, square = cv2.blur(cut, (3, 3)), cv2.blur(cut * cut, (3, 3))
            even = (square - mean * mean < EVEN_HU**2) & (mean > TONES_HU[0])
            counts += np.histogram(mean[even], bins=TONES, range=TONES_HU)[0]
        found.append(np.log1p(1000.0 * counts / max(1.0, counts.sum())) / np.log(1001.0))
    return np.asarray(np.concatenate(found), np.float32)


def _slab(soft: NDArray[np.float32], axis: int, middle: float) -> NDArray[np.float32]:
    """Return the mean of a slab round a place along an axis."""
    depth = soft.shape[axis]
    half = max(0.5, SLAB * depth)
    first = int(np.clip(round(middle - half), 0, depth - 1))
    last = int(np.clip(round(middle + half), first + 1, depth))
    return np.asarray(np.take(soft, range(first, last), axis=axis).mean(axis=axis), np.float32)


def _length(pixels: float) -> int:
    return int(np.clip(round(pixels), 1, SIZE))


def _placed(flat: NDArray[np.float32], pixels: tuple[float, float]) -> NDArray[np.float32]:
    """Put a view (rows, columns, 4), each pixel so many of the canvas, into the middle of air."""
    height, width = _length(flat.shape[0] * pixels[0]), _length(flat.shape[1] * pixels[1])
    shrinks = height <= flat.shape[0] and width <= flat.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    fitted = cv2.resize(np.ascontiguousarray(flat), (width, height), interpolation=how)
    canvas = np.zeros((SIZE, SIZE, CHANNELS), np.float32)
    top, left = (SIZE - height) // 2, (SIZE - width) // 2
    canvas[top : top + height, left : left + width] = fitted
    return canvas
