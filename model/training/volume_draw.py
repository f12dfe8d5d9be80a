"""One drawn CT series: a volume that stands upright, and what is true of it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.regions import CLASSES
from model.series_labels import AXES, PARTS
from model.volumes import AIR_HU, Volume

REGIONS: Final = CLASSES["CT"]
NOBODY: Final = -1
"""Where the truth is not known."""
FINE: Final = 112
"""Voxels along the longer side of a slice: what serving makes slices small to, or a little less."""
STEP_MM: Final = {"axial": (1.0, 8.0), "coronal": (1.5, 6.0), "sagittal": (1.5, 6.0)}
SHORT: Final = 0.2
SINGLE: Final = frozenset(
    {"head", "neck", "cspine", "tspine", "lspine", "chest", "abdomen", "pelvis", "other"}
)
"""Labels of one region each: a piece of such a series has the same label, and how often it is cut to one."""
FEWEST: Final = 6
"""Slices of a series at least."""


@dataclass(frozen=True, eq=False)
class Draw:
    """A series: `regions` int8 (height,) index REGIONS, `part` PARTS, `contrast` CONTRASTS; -1: unknown."""

    volume: Volume
    regions: NDArray[np.int8]
    part: int
    axis: int
    contrast: int
    source: str
    subject: str


@dataclass(frozen=True)
class Box:
    """What a scan covers: middle and size in mm, (height, depth, width), with its tilt in radians."""

    centre_mm: tuple[float, float, float]
    size_mm: tuple[float, float, float]
    tilt: tuple[float, float, float]
    axis: str
    bone: bool


@dataclass(frozen=True)
class Person:
    """How a body is stretched and bent to make another: `scale` by axis, `bend` the mm and phase of waves."""

    scale: tuple[float, float, float]
    bend_mm: tuple[float, float]
    phase: tuple[float, float]


def part_index(name: str) -> int:
    """Return the index of a label in PARTS."""
    return PARTS.index(name)


def axis_drawn(rng: np.random.Generator) -> str:
    """Return an axis: half of all series are axial."""
    return str(rng.choice(AXES, p=(0.5, 0.25, 0.25)))


def tilt_drawn(axis: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """Return rotations (radians) about the three axes: mostly none; oblique reformats and tilted gantries."""
    if rng.random() < 0.5:
        return (0.0, 0.0, 0.0)
    most = np.deg2rad(10.0 if rng.random() < 0.7 else 30.0)
    a, b, c = (float(v) for v in rng.normal(0, 0.5, 3) * most)
    return (a * 0.3, b, c) if axis == "axial" else (a, b, c * 0.5)


def person_drawn(rng: np.random.Generator, much: float = 1.0) -> Person:
    """Return another stature."""
    tall, deep, wide = (float(np.exp(rng.normal(0, s * much))) for s in (0.06, 0.09, 0.08))
    bend = float(abs(rng.normal(0, 5.0 * much))), float(abs(rng.normal(0, 4.0 * much)))
    return Person((tall, deep, wide), bend, (float(rng.uniform(0, 6)), float(rng.uniform(0, 6))))


def shortened(part: str, low: float, high: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return a stretch (mm) of a scan of one region, in some of the draws: series are sent in pieces, too."""
    if part not in SINGLE or rng.random() > SHORT:
        return low, high
    length = max(20.0, (high - low) * float(rng.uniform(0.12, 0.7)))
    first = low + float(rng.uniform(0.15, 0.85)) * max(0.0, high - low - length)
    return first, min(high, first + length)


def grid(box: Box, rng: np.random.Generator) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Return how many voxels a scan of this box has along each upright axis, and their mm."""
    across = {"axial": 0, "coronal": 1, "sagittal": 2}[box.axis]
    inside = [size for axis, size in enumerate(box.size_mm) if axis != across]
    fine = max(max(inside) / FINE, 0.4)
    step = float(np.exp(rng.uniform(*np.log(STEP_MM[box.axis]))))
    step = float(np.clip(step, box.size_mm[across] / 160, max(box.size_mm[across] / FEWEST, 0.4)))
    spacing = [fine, fine, fine]
    spacing[across] = step
    counts = [max(2, round(size / mm)) for size, mm in zip(box.size_mm, spacing, strict=True)]
    return (counts[0], counts[1], counts[2]), (spacing[0], spacing[1], spacing[2])


def sources(
    box: Box, person: Person, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Return where each voxel comes from: float32 (3, *shape) mm in the body (up, back, left).

    Height of the grid runs from the head to the feet, that of the body upwards.
    """
    offsets = [((np.arange(n) - (n - 1) / 2) * mm).astype(np.float32)
               for n, mm in zip(shape, spacing_mm, strict=True)]  # fmt: skip
    down, back, left = np.meshgrid(*offsets, indexing="ij", sparse=True)
    turn = _rotation(box.tilt)
    found = np.stack([turn[i, 0] * down + turn[i, 1] * back + turn[i, 2] * left for i in range(3)])
    found[0] *= -1
    for axis in range(3):
        found[axis] /= person.scale[axis]
    for axis, bend, phase in zip((1, 2), person.bend_mm, person.phase, strict=True):
        found[axis] += np.float32(bend) * np.sin(found[0] / 90.0 + np.float32(phase))
    for axis in range(3):
        found[axis] += box.centre_mm[axis]
    return np.asarray(found, np.float32)


def _rotation(tilt: tuple[float, float, float]) -> NDArray[np.float32]:
    turn = np.eye(3)
    for axis, angle in enumerate(tilt):
        a, b = (each for each in range(3) if each != axis)
        one = np.eye(3)
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        turn = one @ turn
    return np.asarray(turn, np.float32)


def imaged(values: NDArray[np.float32], box: Box, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the values as a scanner gives them: kernel, noise, what the field of view leaves out."""
    if box.bone:
        values = values + np.float32(rng.uniform(0.3, 1.0)) * (values - ndimage.gaussian_filter(values, 1.0))
        sigma = rng.uniform(10, 90)
    else:
        if rng.random() < 0.5:
            values = np.asarray(ndimage.gaussian_filter(values, rng.uniform(0.3, 0.8)), np.float32)
        sigma = rng.uniform(3, 28)
    noise = rng.standard_normal(values.shape, dtype=np.float32)
    if rng.random() < 0.5:
        noise = np.asarray(ndimage.uniform_filter(noise, (1, 2, 2)), np.float32) * 2
    values = np.asarray(values + np.float32(sigma) * noise, np.float32)
    if box.axis == "axial" and rng.random() < 0.4:
        _circle(values)
    return np.asarray(np.maximum(values, -1024.0), np.float32)


def _circle(values: NDArray[np.float32]) -> None:
    """Put air outside the circle of reconstruction, in place."""
    rows, columns = values.shape[1:]
    y, x = np.ogrid[:rows, :columns]
    half = max(rows, columns) / 2
    outside = (y - (rows - 1) / 2) ** 2 + (x - (columns - 1) / 2) ** 2 > half**2
    values[:, outside] = AIR_HU


def table_top(values: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Put the patient table, a thin curved plate, behind the body, in place."""
    body = np.flatnonzero((values > -300).any(axis=(0, 2)))
    if not len(body):
        return
    rows, columns = values.shape[1:]
    place = int(body[-1]) + int(rng.integers(1, 5))
    deep = rng.uniform(0, 0.12) * columns
    value = float(rng.uniform(-400, 250))
    for x in range(columns):
        y = round(place - deep * ((x - columns / 2) / (columns / 2)) ** 2)
        if 0 <= y < rows:
            thin = values[:, y, x]
            thin[thin < -500] = value


def mixed_slabs(values: NDArray[np.float32], axis: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the values with thick slices, each mixed with its neighbours, in half the draws."""
    if rng.random() < 0.5:
        return values
    across = AXES.index(axis)
    return np.asarray(ndimage.uniform_filter1d(values, int(rng.integers(2, 4)), axis=across), np.float32)
