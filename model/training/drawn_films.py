"""What becomes of a projection on its way to a film: limbs and spines bent, tones, views side by side.

All images here are float32 (rows, columns), head up.
"""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

FINE_PIXELS: Final = 200
"""Films shorter than this are drawn twice as fine: nobody's bones have the steps of voxels."""
HINGES: Final = 7
HINGES_APART: Final = 0.02
"""A joint as so many hinges, and their distance as a share of the film."""
FLATTENED: Final = 0.6
"""Share of films whose differences of thickness are taken out, as the software of detectors does."""


def bent(image: Image, row: int, degrees: float) -> Image:
    """Return a limb bent in the plane of the film: what lies below `row` is turned about the joint there.

    The joint is several hinges close together, since a single one would leave a notch.
    """
    rows, columns = image.shape
    if not 0 < row < rows - 1:
        return image
    apart = max(1, round(HINGES_APART * rows))
    hinges = [
        at for at in (row + apart * (each - HINGES // 2) for each in range(HINGES)) if 0 < at < rows - 1
    ]
    reach = int(np.hypot(rows, columns))
    wide = np.pad(image, reach)
    shown = wide.copy()
    shown[reach + hinges[0] :] = 0.0
    turned, turn = np.eye(3), degrees / len(hinges)
    overlap = int(np.radians(abs(turn)) * columns / 2)
    for hinge, end in zip(hinges, (*hinges[1:], rows), strict=True):
        weights = image[hinge]
        column = float(np.average(np.arange(columns), weights=weights)) if weights.any() else columns / 2
        turned = turned @ np.vstack([cv2.getRotationMatrix2D((reach + column, reach + hinge), turn, 1.0),
                                     (0.0, 0.0, 1.0)])  # fmt: skip
        strip = np.zeros_like(wide)
        strip[reach + hinge - overlap : reach + end] = wide[reach + hinge - overlap : reach + end]
        shown = np.maximum(shown, cv2.warpAffine(strip, turned[:2], wide.shape[::-1]))
    return _filled(shown)


def curved(image: Image, most_pixels: float, rng: np.random.Generator) -> Image:
    """Return a spine bent to the sides as in scoliosis, by up to so many pixels."""
    rows, columns = image.shape
    reach = float(rng.uniform(0.0, most_pixels))
    places = np.arange(rows, dtype=np.float32)[:, None] / rows
    shift = reach * np.sin(2 * np.pi * (rng.uniform(0.5, 1.5) * places + rng.uniform()))
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    maps = (column + shift).astype(np.float32), row.astype(np.float32)
    return np.asarray(cv2.remap(image, *maps, cv2.INTER_LINEAR), np.float32)


def _filled(image: Image) -> Image:
    """Cut away what is empty."""
    rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
    if not rows.size:
        return image
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def developed(image: Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return attenuation as a film of 8 bits shows it, bone bright."""
    if max(image.shape) < FINE_PIXELS:
        image = np.maximum(cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), 0.0)
    if rng.random() < FLATTENED:
        image = _flattened(image, rng)
    seen = image[image > 0.02 * image.max()]
    low, high = (float(np.quantile(seen, q)) for q in (0.02, rng.uniform(0.985, 1.0)))
    low *= float(rng.uniform(0.0, 0.8))
    grey = np.clip((image - low) / max(1e-6, high - low), 0.0, 1.0) ** float(rng.uniform(0.6, 1.4))
    return np.ascontiguousarray((255 * grey).astype(np.uint8))


def _flattened(image: Image, rng: np.random.Generator) -> Image:
    """Take most of the slow changes out of the body, so that bone stands out of thick and of thin parts."""
    body = (image > 0.02 * image.max()).astype(np.float32)
    sigma = float(rng.uniform(0.05, 0.25)) * max(image.shape)
    slow = cv2.GaussianBlur(image, (0, 0), sigma) / np.maximum(cv2.GaussianBlur(body, (0, 0), sigma), 1e-3)
    share = np.float32(rng.uniform(0.3, 0.9))
    flat = np.where(body > 0, image - share * slow, 0.0)
    lowest = float(flat[body > 0].min())
    return np.where(body > 0, flat - lowest + 0.1 * float(image.max()), 0.0).astype(np.float32)


def beside(films: Sequence[NDArray[np.uint8]], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return several films on one: two views of a limb or both limbs, of one height, a strip between."""
    height = max(len(film) for film in films)
    strip = int(height * rng.uniform(0.0, 0.08))
    bright = int(rng.choice([0, 0, 0, 255, int(rng.integers(60))]))
    row = []
    for film in films:
        resized = cv2.resize(film, (max(1, round(film.shape[1] * height / len(film))), height))
        row += [np.full((height, strip), bright, np.uint8), np.asarray(resized, np.uint8)]
    return np.ascontiguousarray(np.hstack(row[1:]))
