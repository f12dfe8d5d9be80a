"""The pictures of the HTML report: the worst mistakes, and synthetic slices as the training draws them."""

import base64
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.preprocess import body_box
from model.training.cases import Case

SIDE: Final = 176
"""Longer side of a mistake's picture in pixels."""
TILE: Final = 128
WINDOW_HU: Final = (-300.0, 400.0)
"""Hounsfield units shown from black to white: soft tissue, with bone and lung still to be told."""
_GAP: Final = 4


def mistake(case: Case, index: int) -> str:
    """Return the picture of one image of a case as a data URI, pixels square, cut down to the body."""
    image = case.image(index)
    top, bottom, left, right = body_box(image.values, image.valid)
    values = image.values[top:bottom, left:right]
    window = WINDOW_HU if case.factors.get("Hounsfield units") == "yes" else None
    grey = _grey(values, window)
    rows, columns = case.spacing_mm or (1.0, 1.0)
    height, width = grey.shape[0] * rows / columns, float(grey.shape[1])
    return _uri(_fitted(grey, height, width, SIDE))


def strip(images: Sequence[NDArray[np.float32]]) -> str:
    """Return images side by side as one data URI."""
    tiles = [_tile(_grey(image, None)) for image in images]
    gap = np.full((TILE, _GAP), 128, np.uint8)
    row = [piece for tile in tiles for piece in (tile, gap)][:-1]
    return _uri(np.concatenate(row, axis=1))


def _tile(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    fitted = _fitted(grey, float(grey.shape[0]), float(grey.shape[1]), TILE)
    square = np.zeros((TILE, TILE), np.uint8)
    top, left = (TILE - fitted.shape[0]) // 2, (TILE - fitted.shape[1]) // 2
    square[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    return square


def _fitted(grey: NDArray[np.uint8], height: float, width: float, side: int) -> NDArray[np.uint8]:
    scale = side / max(height, width)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, shape, interpolation=method), np.uint8)


def _grey(values: NDArray[np.float32], window: tuple[float, float] | None) -> NDArray[np.uint8]:
    """Return 8 bits of an image, by a window or from the 0.5th to the 99.5th percentile."""
    low, high = window or (float(np.quantile(values, 0.005)), float(np.quantile(values, 0.995)))
    return np.asarray(255 * np.clip((values - low) / max(high - low, 1e-6), 0, 1), np.uint8)


def _uri(grey: NDArray[np.uint8]) -> str:
    _, encoded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 82])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
