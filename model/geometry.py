"""Slice order along the normal, planes, gaps and duplicates, all in mm of the patient coordinate system.

PS3.3 C.7.6.2.1.1: x grows to the patient's left, y to the back, z to the head. Orientation is the
six direction cosines of Image Orientation (Patient) (0020,0037): along a row, then along a column.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Plane = Literal["axial", "coronal", "sagittal"]
Orientation = tuple[float, float, float, float, float, float]
Position = tuple[float, float, float]

_MINIMUM_SINE: Final = 0.5
"""Row and column nearer than 30 degrees to each other span no plane that one could trust."""
_MAXIMUM_COSINE: Final = 1e3
"""Cosines are made unit vectors; far beyond 1 they are no cosines."""
LENGTHWISE_COSINE: Final = 0.70710678 - 1e-6
"""Planes whose normal is further from the long axis than 45 degrees lie along the body."""


class Placed(Protocol):
    """An image that may know where it lies; `model.read.ImageHeader` is one."""

    @property
    def position(self) -> Position | None:
        """Centre of the first pixel in mm, or None."""

    @property
    def orientation(self) -> Orientation | None:
        """Direction cosines of row and column, or None."""


class Sized(Placed, Protocol):
    """A placed image that knows its size in pixels and the distance of these (between rows, columns)."""

    @property
    def pixel_spacing_mm(self) -> tuple[float, float] | None:
        """Between rows, between columns, or None."""

    @property
    def rows(self) -> int:
        """Pixels down."""

    @property
    def columns(self) -> int:
        """Pixels across."""


def centre_z_mm(header: Sized) -> float:
    """Return the z coordinate of the middle of an image (PS3.3 C.7.6.2.1.1): its height where it is tilted.

    An image without pixel spacing has that of its first pixel. Raises ValueError without position.
    """
    if header.position is None or header.orientation is None:
        raise ValueError("an image without position or orientation has no height")
    down, right = header.pixel_spacing_mm or (0.0, 0.0)
    across_mm = header.orientation[2] * right * (header.columns - 1) / 2
    down_mm = header.orientation[5] * down * (header.rows - 1) / 2
    return header.position[2] + across_mm + down_mm


def normal(orientation: Sequence[float] | None) -> NDArray[np.float64] | None:
    """Return the unit normal (3,) of an image plane, or None where the six numbers span no plane.

    The sign is such that the largest component is positive: towards the head for axial images,
    to the back for coronal and to the left for sagittal ones.
    """
    return None if orientation is None or len(orientation) != 6 else _normal(tuple(orientation))


@lru_cache(maxsize=4096)
def _normal(orientation: tuple[float, ...]) -> NDArray[np.float64] | None:
    """Return what `normal` does, read-only; a series asks the same for each image several times."""
    cosines = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    if not (np.abs(cosines) < _MAXIMUM_COSINE).all():  # false for NaN too
        return None
    lengths = np.linalg.norm(cosines, axis=1)
    if lengths.min() < 1 / _MAXIMUM_COSINE:
        return None
    across = np.cross(*(cosines / lengths[:, np.newaxis]))
    sine = float(np.linalg.norm(across))
    if sine < _MINIMUM_SINE:
        return None
    across /= sine
    sign = np.sign(across[_main_axis(across)])
    found = np.asarray(across * sign, dtype=np.float64)
    found.setflags(write=False)
    return found


def plane(orientation: Sequence[float] | None) -> Plane | None:
    """Name the plane of an image: axial where its normal is within 45 degrees of the long axis.

    Everything else is coronal or sagittal, whichever axis the normal is nearer to; None where the
    orientation is missing or degenerate.
    """
    across = normal(orientation)
    if across is None:
        return None
    planes: tuple[Plane, Plane, Plane] = ("sagittal", "coronal", "axial")
    return planes[_main_axis(across)]


def _main_axis(across: NDArray[np.float64]) -> int:
    """0, 1 or 2: the long axis (2) if within 45 degrees, else the nearer of the other two."""
    size = np.abs(across)
    if size[2] >= LENGTHWISE_COSINE:
        return 2
    return 1 if size[1] >= size[0] else 0


def positions_mm(headers: Sequence[Placed]) -> NDArray[np.float64]:
    """Return the positions (n,) of n images along their common normal, growing towards the head.

    The common normal is the mean of the images' own normals, so a stack whose slices are fanned a
    little (lumbar discs) keeps its order. Raises ValueError where an image has no usable geometry
    or where the normals cancel out; the gate lets neither through.
    """
    if not headers:
        return np.zeros(0)
    points, normals = [], []
    for header in headers:
        across = normal(header.orientation)
        if header.position is None or across is None:
            raise ValueError("an image without position or orientation has no place in a stack")
        points.append(header.position)
        normals.append(across)
    mean = np.mean(normals, axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-3:
        raise ValueError("the images of this stack do not lie in one direction")
    return np.asarray(np.asarray(points, dtype=np.float64) @ (mean / length), dtype=np.float64)


def places_mm(headers: Sequence[Placed]) -> NDArray[np.float64]:
    """Return the positions (n,) of n images, each along the common normal of the images of its plane.

    Raises ValueError as `positions_mm` does.
    """
    planes = [plane(header.orientation) for header in headers]
    found = np.zeros(len(headers))
    for each in set(planes):
        mine = [index for index, name in enumerate(planes) if name == each]
        found[mine] = positions_mm([headers[index] for index in mine])
    return found


def heights_mm(
    orientation: Orientation, position: Position, size_mm: tuple[float, float]
) -> tuple[float, float]:
    """Return the heights of the lowest and the highest corner of an image of so many mm (rows, columns)."""
    cosines = np.asarray(orientation, np.float64).reshape(2, 3)[:, 2]
    corners = [position[2] + across * size_mm[1] * cosines[0] + down * size_mm[0] * cosines[1]
               for across in (0.0, 1.0) for down in (0.0, 1.0)]  # fmt: skip
    return float(min(corners)), float(max(corners))


def standing(orientation: Orientation | None) -> tuple[bool, bool, bool]:
    """Say how a sagittal or coronal image is brought upright: exchange rows and columns, then flip each.

    Then its rows run from head to feet, its columns from front to back or from right to left of the
    patient. Axial images, and those without orientation, stay as they are.
    """
    across = normal(orientation)
    if across is None or orientation is None or abs(across[2]) >= LENGTHWISE_COSINE:
        return False, False, False
    row, column = np.asarray(orientation, np.float64).reshape(2, 3)  # along a row, along a column
    exchanged = bool(abs(row[2]) > abs(column[2]))
    down, along = (row, column) if exchanged else (column, row)
    axis = 0 if abs(across[1]) > abs(across[0]) else 1
    return exchanged, bool(down[2] > 0), bool(along[axis] < 0)


def order(positions: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the indices (n,) that sort positions from feet to head; equal positions keep their order."""
    return np.argsort(positions, kind="stable")


def duplicates(positions: NDArray[np.float64], tolerance_mm: float = 0.01) -> NDArray[np.bool_]:
    """Say which of n sorted positions repeat the one before them (phases, echoes, sent twice)."""
    repeated = np.zeros(len(positions), dtype=np.bool_)
    repeated[1:] = np.diff(positions) <= tolerance_mm
    return repeated


def step_mm(positions: NDArray[np.float64]) -> float | None:
    """Return the median distance between sorted neighbours, repeats left out; None below two places."""
    steps = np.diff(positions[~duplicates(positions)])
    return float(np.median(steps)) if len(steps) else None


def gaps(positions: NDArray[np.float64], factor: float = 1.75) -> list[tuple[int, float]]:
    """List the holes in a sorted stack as (index of the image after the hole, width in mm).

    A hole is a step wider than `factor` times the median step: more than half of a missing image.
    """
    usual = step_mm(positions)
    if usual is None:
        return []
    steps = np.diff(positions)
    return [(int(i) + 1, float(steps[i])) for i in np.flatnonzero(steps > factor * usual)]


def extents_mm(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each of n sorted images stands for in mm: half the way to each neighbour.

    The two ends get their one half twice, and no half exceeds the median step, so a hole belongs
    to nobody. A stack with one place only gives every image 1.0.
    """
    usual = step_mm(positions)
    if usual is None:
        return np.ones(len(positions))
    halves = np.minimum(np.diff(positions), usual) / 2
    below, above = np.concatenate([halves[:1], halves]), np.concatenate([halves, halves[-1:]])
    return np.asarray(below + above, dtype=np.float64)
