"""Metal in CT images: screws, prostheses, cement spacers and catheters, with the streaks that they throw."""

import cv2
import numpy as np
from numpy.typing import NDArray

BRIGHTEST = 3000.0
"""Hounsfield units at which scanners cut metal off."""


def implanted(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a CT image (Hounsfield units) with one to three implants near its middle."""
    painted = np.ascontiguousarray(values).copy()
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        rows, columns = values.shape
        place = int(columns * rng.uniform(0.3, 0.7)), int(rows * rng.uniform(0.3, 0.7))
        large = rng.random() < 0.45
        if rng.random() < 0.75:
            painted += _streaks(values.shape, place, rng.uniform(200, 900 if large else 500), rng)
        if large and rng.random() < 0.5:
            painted -= _shadow(values.shape, place, rng)
        _piece(painted, place, large, rng)
    return np.clip(painted, -1024.0, BRIGHTEST + 71.0)


def _streaks(
    shape: tuple[int, ...], place: tuple[int, int], strength: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return bright and dark lines through one point."""
    rows, columns = shape
    lines = np.zeros((rows, columns), np.float32)
    x, y = place
    for _ in range(int(rng.integers(4, 14))):
        turn = rng.uniform(0, np.pi)
        dx, dy = int(columns * np.cos(turn)), int(rows * np.sin(turn))
        cv2.line(lines, (x - dx, y - dy), (x + dx, y + dy), float(rng.uniform(-strength, strength)), 2)
    return np.asarray(cv2.GaussianBlur(lines, (0, 0), rng.uniform(1.0, 2.5)), np.float32)


def _shadow(shape: tuple[int, ...], place: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return how much darker it is on both sides of a large piece, where hardly a photon came through."""
    rows, columns = shape
    y, x = np.ogrid[:rows, :columns]
    y, x = y - place[1], x - place[0]
    away = np.hypot(y, x)
    along = np.abs(np.cos(np.arctan2(y, x) - rng.uniform(0, np.pi)))
    wedge = along ** rng.uniform(2.0, 12.0)
    fades = np.exp(-away / (rng.uniform(0.15, 0.6) * min(shape)))
    return np.asarray(rng.uniform(300, 1400) * wedge * fades, np.float32)


def _piece(
    painted: NDArray[np.float32], place: tuple[int, int], large: bool, rng: np.random.Generator
) -> None:
    """Paint one piece in place: an ellipse, or the lumpy outline of a prosthesis or of cement."""
    value = float(rng.uniform(900, 2000) if rng.random() < 0.3 else BRIGHTEST)
    x, y = place
    if not large:
        axes = (int(rng.integers(2, 12)), int(rng.integers(2, 16)))
        cv2.ellipse(painted, (x, y), axes, rng.uniform(0, 180), 0, 360, value, -1)
        return
    reach = rng.uniform(0.08, 0.32) * min(painted.shape)
    turns = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    radii = reach * rng.uniform(0.75, 1.1, 12)
    flat = rng.uniform(0.4, 1.0)
    outline = np.stack([x + radii * np.cos(turns), y + flat * radii * np.sin(turns)], axis=1)
    cv2.fillPoly(painted, [outline.astype(np.int32)], value)
    if rng.random() < 0.3:
        cv2.fillPoly(
            painted, [((outline - [x, y]) * 0.6 + [x, y]).astype(np.int32)], float(rng.uniform(0, 300))
        )
