"""A CT series as one volume: its slices, made small, in the order of the stack or upright in the patient.

Two frames of reference are used. The *stack* has the axes (slices, rows, columns) as they are stored. A
volume that stands *upright* has the axes (head to feet, front to back, right to left), each the nearest of
the patient's (PS3.3 C.7.6.2.1.1); a tilt is left as it is.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.series_labels import AXES

SIDE: Final = 128
"""Longer side, in pixels, that a slice is made small to before it is kept."""
DEEPEST: Final = 192
"""Slices that are kept of a series at most, spread evenly."""
AIR_HU: Final = -1000.0
FOUND_MM: Final = (0.05, 60.0)
"""Distances between slices that can be true."""
UNKNOWN_STEP_MM: Final = 3.0
"""The distance between slices that is assumed where the header says none."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Values in Hounsfield units, float32 (a, b, c), and the distance of neighbours along each in mm."""

    values: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Length of each axis in mm."""
        a, b, c = (n * mm for n, mm in zip(self.values.shape, self.spacing_mm, strict=True))
        return a, b, c


@dataclass(frozen=True)
class Turn:
    """How a stack becomes upright: `order` is the stack's axis for each of the patient's, `flips` whether
    it is then read backwards."""

    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]


STORED: Final[dict[str, Turn]] = {
    "axial": Turn((0, 1, 2), (True, False, False)),
    "coronal": Turn((1, 0, 2), (False, False, False)),
    "sagittal": Turn((1, 2, 0), (False, False, False)),
}
"""How the stacks of each axis usually lie: axial slices from feet to head, others with the head up."""


def small(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Return a slice (rows, columns) with its longer side at most SIDE, and how many times larger pixels."""
    times = max(1.0, max(values.shape) / SIDE)
    if times <= 1.0:
        return values, 1.0
    shape = max(1, round(values.shape[1] / times)), max(1, round(values.shape[0] / times))
    return np.asarray(cv2.resize(values, shape, interpolation=cv2.INTER_AREA), np.float32), times


def kept(count: int, most: int = DEEPEST) -> list[int]:
    """Return the indices of the slices that are used of `count`, evenly spread, both ends among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(place) for place in np.linspace(0, count - 1, most)})


def upright(stack: Volume, turn: Turn) -> Volume:
    """Return the stack as it stands in the patient."""
    values = np.transpose(stack.values, turn.order)
    values = values[tuple(slice(None, None, -1 if flip else 1) for flip in turn.flips)]
    a, b, c = (stack.spacing_mm[axis] for axis in turn.order)
    return Volume(np.ascontiguousarray(values), (a, b, c))


def laid(volume: Volume, axis: str) -> Volume:
    """Return an upright volume as a stack of this axis: what `upright` undoes with STORED."""
    turn = STORED[axis]
    values = volume.values[tuple(slice(None, None, -1 if flip else 1) for flip in turn.flips)]
    back = np.argsort(turn.order)
    a, b, c = (volume.spacing_mm[place] for place in back)
    return Volume(np.ascontiguousarray(np.transpose(values, back)), (a, b, c))


def turn_of(row: NDArray[np.float64], column: NDArray[np.float64], across: NDArray[np.float64]) -> Turn:
    """Return how a stack lies whose columns, rows and slices grow along these unit vectors (3,).

    `row` is the direction along a row, that is of growing columns, as Image Orientation has it.
    """
    directions = np.stack([across, column, row])  # the stack's axes (slices, rows, columns)
    size = np.abs(directions)
    left = [0, 1, 2]
    order: dict[int, int] = {}
    for axis in (2, 1, 0):  # the long axis first: oblique stacks share the others
        order[axis] = max(left, key=lambda each: float(size[each, axis]))
        left.remove(order[axis])
    flips = (directions[order[2], 2] > 0, directions[order[1], 1] < 0, directions[order[0], 0] < 0)
    return Turn((order[2], order[1], order[0]), (bool(flips[0]), bool(flips[1]), bool(flips[2])))


def evenly(
    slices: NDArray[np.float32], positions_mm: NDArray[np.float64], step_mm: float
) -> NDArray[np.float32]:
    """Return slices (n, rows, columns) at sorted positions as evenly spaced ones, the nearest each."""
    count = int(np.clip(round((positions_mm[-1] - positions_mm[0]) / step_mm) + 1, 1, DEEPEST))
    wanted = np.linspace(positions_mm[0], positions_mm[-1], count)
    right = np.searchsorted(positions_mm, wanted).clip(0, len(positions_mm) - 1)
    before = (right - 1).clip(0)
    nearer = np.abs(positions_mm[before] - wanted) < np.abs(positions_mm[right] - wanted)
    return slices[np.where(nearer, before, right)]


def axis_name(turn: Turn) -> str:
    """Return along which axis a stack was made: the patient's that its slices follow."""
    return AXES[turn.order.index(0)]
