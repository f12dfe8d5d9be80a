"""Texture within tissues: the anatomies give each tissue one value, real images do not.

Muscles are bundles, each a little brighter or darker than its neighbour and streaked along its fibres;
marrow and fat are patchy; fat is suppressed well in the middle of a magnet and badly at its edge; cartilage
and fluid line the ends of bones; a slice through a joint line shows only what of the bones reaches into it.
Works on one cut: `values` float32 (rows, columns) and `cut`, its tissue classes.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.training.physique import FAT, MUSCLE, TENDON, Cut

BONES: Final = (4, 5, 6)
FATTY: Final = (FAT, 5, 6)
CARTILAGE, FLUID, SOFT = 7, 22, 27
"""Tissue classes of the anatomies (classes.csv); fluid is that of the bladder, as bright in a joint."""
Values = NDArray[np.float32]


def smooth(shape: tuple[int, ...], cell: float, rng: np.random.Generator) -> Values:
    """Return a smooth random field, standard normal at its nodes, which lie `cell` pixels apart."""
    rows, columns = shape
    nodes = rng.standard_normal((int(rows / cell) + 2, int(columns / cell) + 2), np.float32)
    return np.asarray(cv2.resize(nodes, (columns, rows), interpolation=cv2.INTER_CUBIC), np.float32)


def bundled(values: Values, cut: Cut, spacing_mm: float, amount: float, rng: np.random.Generator) -> Values:
    """Return muscles as bundles of 10 to 40 mm, whose values differ by `amount` (1 std), and as fibres."""
    muscle = cut == MUSCLE
    count = int(np.clip(muscle.sum() * spacing_mm**2 / rng.uniform(100.0, 1200.0), 1, 60))
    rows, columns = values.shape
    seeds = np.ones(values.shape, np.uint8)
    seeds[rng.integers(0, rows, count), rng.integers(0, columns, count)] = 0
    _, nearest = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    gains = rng.normal(0.0, amount, int(nearest.max()) + 1).astype(np.float32)[nearest]
    along = float(rng.uniform(1.5, 5.0))
    sigmas = (along, 0.6) if rng.random() < 0.5 else (0.6, along)
    fibres = cv2.GaussianBlur(rng.standard_normal(values.shape, np.float32), (0, 0), *sigmas)
    gains += np.float32(amount * along**0.5 * rng.uniform(0.2, 1.2)) * fibres
    return np.where(muscle, values + gains, values)


def patchy(values: Values, cut: Cut, spacing_mm: float, amount: float, rng: np.random.Generator) -> Values:
    """Return marrow and fat with patches of 2 to 20 mm, whose values differ by `amount` (1 std)."""
    cell = max(1.5, float(np.exp(rng.uniform(np.log(2.0), np.log(20.0)))) / spacing_mm)
    field = smooth(values.shape, cell, rng) * np.float32(amount)
    return np.where(np.isin(cut, FATTY), values + field, values)


def unevenly_suppressed(values: Values, cut: Cut, times: float, rng: np.random.Generator) -> Values:
    """Return fat and marrow `times` brighter towards one side, where the suppression of fat failed."""
    rows, columns = values.shape
    angle = rng.uniform(0.0, 2.0 * np.pi)
    v, u = np.linspace(-1.0, 1.0, rows)[:, None], np.linspace(-1.0, 1.0, columns)[None, :]
    ramp = np.cos(angle) * u + np.sin(angle) * v + 0.3 * smooth(values.shape, max(rows, columns) / 3.0, rng)
    failed = np.clip((ramp - rng.uniform(0.2, 1.0)) * rng.uniform(1.0, 5.0), 0.0, 1.0).astype(np.float32)
    return np.where(np.isin(cut, FATTY), values * (1.0 + (times - 1.0) * failed), values)


def lined(cut: Cut, spacing_mm: float, rng: np.random.Generator) -> Cut:
    """Return the cut with cartilage, and fluid upon it, round parts of its bones, as in a joint."""
    bone = np.isin(cut, BONES)
    if not bone.any():
        return cut
    away = cv2.distanceTransform((~bone).astype(np.uint8), cv2.DIST_L2, 3)
    here = smooth(cut.shape, 12.0 / spacing_mm, rng) > rng.normal(0.3, 0.5)
    soft = np.isin(cut, (FAT, MUSCLE, SOFT, TENDON)) & here
    thick, wet = rng.uniform(0.8, 3.0) / spacing_mm, rng.uniform(0.0, 4.0) / spacing_mm
    lined_with = np.where(soft & (away <= thick + wet), np.uint8(FLUID), cut)
    lined_with[soft & (away <= thick)] = CARTILAGE
    return lined_with


def fading(values: Values, cut: Cut, spacing_mm: float, soft: float, rng: np.random.Generator) -> Values:
    """Return bones that fade into `soft` in places, as a thick slice through a joint line shows them."""
    cell = max(2.0, rng.uniform(8.0, 25.0) / spacing_mm)
    shown = smooth(values.shape, cell, rng) - np.float32(rng.normal(0.0, 0.5))
    share = np.clip(0.5 + shown * rng.uniform(0.5, 3.0), 0.0, 1.0).astype(np.float32)
    faded = np.float32(soft) + (values - np.float32(soft)) * share
    return np.where(np.isin(cut, BONES), faded, values)


def vessels(
    values: Values, cut: Cut, spacing_mm: float, brightness: float, rng: np.random.Generator
) -> Values:
    """Return the cut with vessels cut across or lengthwise, most of them in pairs, right and left.

    The anatomies have the great ones alone, and none in the head.
    """
    places = np.argwhere((cut > 0) & ~np.isin(cut, BONES))
    if not len(places):
        return values
    painted, middle = values.copy(), places[:, 1].mean()
    for y, x in places[rng.integers(0, len(places), int(rng.integers(2, 9)))]:
        radius = max(1.0, rng.uniform(0.8, 3.5) / spacing_mm)
        axes, turn = (round(radius * rng.uniform(1.0, 6.0)), round(radius)), float(rng.uniform(0.0, 180.0))
        cv2.ellipse(painted, (int(x), int(y)), axes, turn, 0, 360, brightness, cv2.FILLED)
        if rng.random() < 0.7:
            other = int(2 * middle - x), int(y)
            cv2.ellipse(painted, other, axes, 180.0 - turn, 0, 360, brightness, cv2.FILLED)
    return painted
