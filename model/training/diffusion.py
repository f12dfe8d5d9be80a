"""How diffusion images differ from others besides their contrast: distortion, noise, maps with holes.

Sources: Jezzard and Balaban, Magn Reson Med 34:65-73 (1995) for the distortion and the signal that piles up
along the phase encoding; Gudbjartsson and Patz, Magn Reson Med 34:910-914 (1995) for noise in magnitudes.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST: Final = 16
"""Pixels of the coarsest matrix."""
MOST_SHIFT: Final = 0.03
"""How far distortion moves a place at most (1 std of the coarse field), as a share of the image."""
BANDWIDTH: Final = 6
"""Points of the coarse field along a side: air in sinuses and bowel disturbs a few centimetres round it."""


def echo_planar(values: NDArray[np.float32], rng: np.random.Generator, is_map: bool) -> NDArray[np.float32]:
    """Return an image (rows, columns) as an echo-planar sequence shows it, a map of the ADC with holes.

    Values are 0 or more, about 1 at most. Images of strong weighting drown in noise.
    """
    if rng.random() < 0.7:
        values = distorted(values, rng)
    if is_map:
        return holed(values, rng)
    return drowned(values, rng) if rng.random() < 0.5 else coarse(values, float(rng.uniform(1.0, 2.5)))


def distorted(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Shift places along one axis, smoothly; where they crowd together their signal piles up."""
    upright = rng.random() < 0.5
    image = values if upright else np.ascontiguousarray(values.T)
    rows, columns = image.shape
    rough = rng.normal(0, MOST_SHIFT * rows * rng.uniform(0.1, 1.0), (BANDWIDTH, BANDWIDTH))
    shift = cv2.resize(rough.astype(np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC)
    crowding = np.clip(1.0 + np.gradient(shift, axis=0), 0.0, 4.0).astype(np.float32)
    across, down = np.meshgrid(np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32))
    moved = cv2.remap(image, across, down + shift, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    piled = np.asarray(moved, np.float32) * crowding
    return piled if upright else np.ascontiguousarray(piled.T)


def coarse(values: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Return an image as a matrix of fewer pixels, `factor` in each direction, shows it."""
    rows, columns = values.shape
    return np.asarray(
        cv2.resize(_small(values, factor), (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32
    )


def drowned(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Add as much noise as strong weighting leaves of the signal, in a coarse matrix."""
    rows, columns = values.shape
    small = _small(values, float(rng.uniform(1.2, 2.5)))
    sigma = float(np.exp(rng.uniform(np.log(0.04), np.log(0.3)))) * max(float(small.max()), 1e-6)
    noise = rng.normal(0, sigma, (2, *small.shape)).astype(np.float32)
    noisy = np.hypot(small + noise[0], noise[1])
    return np.asarray(cv2.resize(noisy, (columns, rows), interpolation=cv2.INTER_LINEAR), np.float32)


def holed(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Make it coarse, with raggedly nothing or anything where there was little signal, as in ADC maps."""
    rows, columns = values.shape
    small = _small(values, float(rng.uniform(1.2, 2.5)))
    ragged = small + rng.normal(0, 0.05, small.shape).astype(np.float32)
    hole = ragged < np.quantile(small, rng.uniform(0.15, 0.65))
    anything = np.zeros(small.shape, np.float32)
    if rng.random() < 0.25:
        wild = rng.random(small.shape, np.float32)
        anything = np.where(rng.random(small.shape) < rng.uniform(0.2, 0.8), anything, wild)
    cut = np.where(hole, anything, small).astype(np.float32)
    how = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(cut, (columns, rows), interpolation=how), np.float32)


def _small(values: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    rows, columns = values.shape
    size = max(LEAST, int(columns / factor)), max(LEAST, int(rows / factor))
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
