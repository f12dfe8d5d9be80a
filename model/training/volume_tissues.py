"""Hounsfield units of synthetic volumes: phases of contrast, and what is taken for contrast.

What is bright without any contrast medium in the veins is drawn apart from it: gut contrast, calcified walls,
blood within the skull, metal of teeth. Phases follow the textbook: arteries first, then liver and veins,
then the kidneys' hollow systems with everything else fading.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.training.bodies import TISSUES
from model.training.synthesis import HOUNSFIELD

VESSEL, BRAIN, FAT, MUSCLE, KIDNEY, GUT = 17, 10, 2, 3, 15, 19
MARROW: Final = 6
ADDED: Final[dict[str, dict[int, tuple[float, float]]]] = {
    "arterial": {17: (120, 380), 15: (60, 160), 14: (40, 110), 16: (40, 90), 13: (0, 25), 23: (30, 90),
                 20: (20, 70), 18: (10, 50), 3: (0, 10)},
    "portal": {17: (80, 170), 15: (100, 180), 14: (50, 90), 16: (40, 80), 13: (35, 75), 23: (30, 80),
               20: (30, 60), 18: (20, 50), 3: (0, 15)},
    "delayed": {17: (35, 90), 15: (60, 140), 14: (25, 60), 16: (25, 60), 13: (20, 50), 23: (15, 50),
                20: (15, 40), 18: (10, 35), 3: (0, 12)},
}  # fmt: skip
"""What each phase adds, smallest and largest, by tissue."""


def table(enhanced: bool, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return float32 (31,) Hounsfield units by tissue of one person and one scan."""
    found = HOUNSFIELD + rng.normal(0, 7, TISSUES).astype(np.float32)
    bone = np.float32(rng.uniform(0.6, 1.35))
    found[[4, 5, 26]] *= bone
    found[MARROW] = rng.uniform(-80, 100)
    found[8] = rng.uniform(-920, -700)
    found[GUT] = rng.choice([rng.uniform(-900, -200), rng.uniform(-20, 60), rng.uniform(100, 500)])
    found[VESSEL] = rng.uniform(30, 58)
    if enhanced:
        phase = str(rng.choice(list(ADDED)))
        for tissue, (least, most) in ADDED[phase].items():
            found[tissue] += rng.uniform(least, most)
        found[BRAIN] += rng.uniform(0, 8)
    return found


def supplied(
    tissue: NDArray[np.uint8], spacing_mm: tuple[float, float, float], rng: np.random.Generator
) -> None:
    """Draw vessels that run along the body into fat and muscle, in place; the anatomies lack most of them."""
    depth, rows, columns = tissue.shape
    middle = tissue[depth // 2]
    places = np.argwhere((middle == MUSCLE) | (middle == FAT))
    if not len(places):
        return
    for _ in range(int(rng.integers(4, 16))):
        y, x = places[int(rng.integers(len(places)))].astype(np.float64)
        radius = max(0.5, rng.uniform(1.0, 5.0) / spacing_mm[1])
        slope = rng.normal(0, 0.12, 2) * spacing_mm[0] / spacing_mm[1]
        for z in range(depth):
            away = z - depth // 2
            column, row = round(x + slope[1] * away), round(y + slope[0] * away)
            if 0 <= row < rows and 0 <= column < columns:
                _disc(tissue[z], row, column, radius)


def _disc(cut: NDArray[np.uint8], row: int, column: int, radius: float) -> None:
    drawn = np.zeros(cut.shape, np.uint8)
    cv2.circle(drawn, (column, row), max(1, round(radius)), 1, -1)
    cut[(drawn > 0) & ((cut == MUSCLE) | (cut == FAT))] = VESSEL


def veined(
    tissue: NDArray[np.uint8], spacing_mm: tuple[float, float, float], rng: np.random.Generator
) -> None:
    """Draw the brain's great vessels, in place: a sinus along its top, arteries winding from its base."""
    brain = np.argwhere(tissue == BRAIN)
    if len(brain) < 200:
        return
    low, high = brain.min(axis=0), brain.max(axis=0)
    if spacing_mm[0] * (high[0] - low[0]) < 30:
        return
    centre = brain.mean(axis=0)
    slab = brain[np.abs(brain[:, 2] - centre[2]) * spacing_mm[2] < 3.0]
    for y in range(int(low[1]), int(high[1]) + 1):
        line = slab[slab[:, 1] == y]
        if len(line):  # z grows towards the feet: the first is the top
            tissue[int(line[:, 0].min()), y, int(centre[2])] = VESSEL
    steps = np.array([1.5 / mm for mm in spacing_mm])
    for _ in range(int(rng.integers(5, 12))):
        place = np.array([high[0] - 25.0 / spacing_mm[0], centre[1], centre[2]]) + rng.normal(0, 3, 3)
        heading = rng.normal(0, 1, 3) + np.array([-0.6, 0, 0])
        for _ in range(60):
            heading = heading / (np.linalg.norm(heading) + 1e-6) + rng.normal(0, 0.35, 3)
            place = place + steps * heading / (np.linalg.norm(heading) + 1e-6)
            z, y, x = (int(v) for v in np.round(place))
            if not (0 <= z < tissue.shape[0] and 0 <= y < tissue.shape[1] and 0 <= x < tissue.shape[2]):
                break
            if tissue[z, y, x] in (BRAIN, 11):
                tissue[z, y, x] = VESSEL


def mimics(values: NDArray[np.float32], tissue: NDArray[np.uint8], spacing_mm: tuple[float, float, float],
           rng: np.random.Generator) -> None:  # fmt: skip
    """Add what is bright without contrast medium, in place: blood within the skull, calcified vessels."""
    brain = np.argwhere(tissue == BRAIN)
    if len(brain) > 200 and rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 4))):
            _ball(values, tissue == BRAIN, brain[int(rng.integers(len(brain)))], rng.uniform(6, 25),
                  rng.uniform(55, 90), spacing_mm)  # fmt: skip
    vessels = np.argwhere(tissue == VESSEL)
    if len(vessels) and rng.random() < 0.35:
        for place in vessels[rng.integers(0, len(vessels), int(rng.integers(3, 40)))]:
            _ball(values, None, place, rng.uniform(0.8, 3.0), rng.uniform(250, 900), spacing_mm)


def _ball(values: NDArray[np.float32], within: NDArray[np.bool_] | None, place: NDArray[np.intp],
          radius_mm: float, value: float, spacing_mm: tuple[float, float, float]) -> None:  # fmt: skip
    reach = [max(1, int(np.ceil(radius_mm / mm))) for mm in spacing_mm]
    box = tuple(slice(max(0, int(p) - r), int(p) + r + 1) for p, r in zip(place, reach, strict=True))
    grid = np.meshgrid(*(np.arange(s.start, min(s.stop, n)) for s, n in zip(box, values.shape, strict=True)),
                       indexing="ij")  # fmt: skip
    away = sum(((g - p) * mm) ** 2 for g, p, mm in zip(grid, place, spacing_mm, strict=True))
    near = away <= radius_mm**2
    if within is not None:
        near &= within[box]
    values[box][near] = value
