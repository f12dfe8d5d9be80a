"""Gathers the slices of a CT series, one decoded image after the other, into one volume with its geometry.

Not every image is needed: of a long series evenly spread slices are kept, each made small at once, so that
memory stays within a few megabytes whatever the series holds.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.geometry import heights_mm, normal, positions_mm
from model.read import Image, ImageHeader
from model.volumes import AIR_HU, FOUND_MM, UNKNOWN_STEP_MM, Turn, Volume, evenly, kept, small, turn_of

FEWEST: Final = 5
"""Slices at different places that make a volume."""
UNKNOWN_PIXEL_MM: Final = 0.8
ALONG: Final = 0.6
"""Cosine between the way from slice to slice and the planes' normal; a tilted gantry shears by 30 degrees."""
PARALLEL: Final = 0.985
"""Cosine within which planes count as parallel."""
SAME_PLACE_MM: Final = 0.05

Slot = tuple[Path, int]


@dataclass(frozen=True)
class Plan:
    """Which images make the volume, in order, and how that lies in the patient.

    `turn` is None where the geometry cannot be trusted; `doubt` says why. `step_mm` is the distance of the
    planned slices, `reach_mm` the heights of the lowest and highest point, None without trusted geometry.
    """

    headers: tuple[ImageHeader, ...]
    positions_mm: NDArray[np.float64]
    step_mm: float
    turn: Turn | None
    doubt: str = ""
    reach_mm: tuple[float, float] | None = None


def slot(header: ImageHeader) -> Slot:
    """Name an image, or a frame, among those of its series."""
    return header.path, -1 if header.frame is None else header.frame.index


def plan(headers: Sequence[ImageHeader]) -> Plan | None:
    """Plan the volume of a series; None where too few of its images belong together."""
    placed = [header for header in headers if _placed(header)]
    if len(placed) >= FEWEST:
        found = _by_geometry(placed)
        if isinstance(found, Plan):
            return found
        doubt = found
    else:
        doubt = "position or orientation is missing"
    return _by_number(headers, doubt)


def _placed(header: ImageHeader) -> bool:
    known = header.position is not None and header.pixel_spacing_mm is not None
    return known and normal(header.orientation) is not None


def _by_geometry(headers: Sequence[ImageHeader]) -> Plan | str | None:
    """Plan by geometry; a sentence where it contradicts itself, None where few images are alike."""
    alike = _parallel(headers)
    if len(alike) < FEWEST:
        return None
    positions = positions_mm(alike)
    order = np.argsort(positions, kind="stable")
    fresh = np.concatenate([[True], np.diff(positions[order]) > SAME_PLACE_MM])
    order = order[fresh]
    if len(order) < FEWEST:
        return "the images lie in one place"
    points = np.array([alike[index].position for index in order], np.float64)
    way = points[-1] - points[0]
    across = normal(alike[0].orientation)
    length = float(np.linalg.norm(way))
    if across is None or length == 0 or float(way @ across) / length < ALONG:
        return "the images do not follow each other along their normal"
    chosen = [int(order[index]) for index in kept(len(order))]
    places = positions[chosen]
    step = float(np.median(np.diff(places)))
    if not FOUND_MM[0] < step < FOUND_MM[1]:
        return f"slices {step:g} mm apart cannot be true"
    picked = tuple(alike[index] for index in chosen)
    row, column = np.asarray(alike[0].orientation, np.float64).reshape(2, 3)
    return Plan(picked, places, step, turn_of(row, column, across), reach_mm=_reach(picked, step, across))


def _parallel(headers: Sequence[ImageHeader]) -> list[ImageHeader]:
    """Return the largest group of images of one size and orientation."""
    sizes = Counter((header.rows, header.columns) for header in headers)
    size = sizes.most_common(1)[0][0]
    same = [header for header in headers if (header.rows, header.columns) == size]
    normals = np.array([normal(header.orientation) for header in same])
    counts = [(np.abs(normals @ each) > PARALLEL).sum() for each in normals[:: max(1, len(normals) // 16)]]
    axis = normals[int(np.argmax(counts)) * max(1, len(normals) // 16)]
    return [
        header for header, across in zip(same, normals, strict=True) if abs(float(across @ axis)) > PARALLEL
    ]


def _reach(
    headers: Sequence[ImageHeader], step_mm: float, across: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the heights of the lowest and the highest point of a stack, half a step beyond its ends."""
    found = []
    for header in (headers[0], headers[-1]):
        if header.orientation is not None and header.position is not None and header.pixel_spacing_mm:
            down, right = header.pixel_spacing_mm
            size = (header.rows * down, header.columns * right)
            found += list(heights_mm(header.orientation, header.position, size))
    half = abs(float(across[2])) * step_mm / 2
    return min(found) - half, max(found) + half


def _by_number(headers: Sequence[ImageHeader], doubt: str | None) -> Plan | None:
    """Plan by instance numbers, where positions tell nothing."""
    if doubt is None:
        return None
    sizes = Counter((header.rows, header.columns) for header in headers)
    if not sizes or sizes.most_common(1)[0][1] < FEWEST:
        return None
    size = sizes.most_common(1)[0][0]
    same = [header for header in headers if (header.rows, header.columns) == size]
    same.sort(key=lambda header: (header.instance_number, slot(header)[1]))
    chosen = [same[index] for index in kept(len(same))]
    thickness = same[0].slice_thickness_mm or UNKNOWN_STEP_MM
    step = thickness * len(same) / len(chosen)
    return Plan(tuple(chosen), np.arange(len(chosen), dtype=np.float64) * step, step, None, doubt)


class Gatherer:
    """Keeps the planned slices of a series as they are decoded."""

    def __init__(self, planned: Plan) -> None:
        self.plan = planned
        self._places = {slot(header): place for place, header in enumerate(planned.headers)}
        self._slices: dict[int, NDArray[np.float32]] = {}
        self._times = 1.0

    def look(self, header: ImageHeader, image: Image) -> None:
        """Keep of a decoded image what the volume needs."""
        place = self._places.get(slot(header))
        if place is None or place in self._slices:
            return
        values = (
            image.values if image.valid.all() else np.where(image.valid, image.values, np.float32(AIR_HU))
        )
        less, self._times = small(np.nan_to_num(values, nan=AIR_HU).astype(np.float32, copy=False))
        self._slices[place] = less

    def missing(self) -> list[ImageHeader]:
        """Return the planned images that were not decoded yet."""
        return [header for place, header in enumerate(self.plan.headers) if place not in self._slices]

    def stack(self) -> Volume | None:
        """Return the volume in the stack's own axes; None where too few of its slices could be decoded."""
        places = sorted(self._slices)
        if len(places) < FEWEST:
            return None
        slices = np.stack([self._slices[place] for place in places])
        slices = evenly(slices, self.plan.positions_mm[places], self.plan.step_mm)
        down, right = self.plan.headers[0].pixel_spacing_mm or (UNKNOWN_PIXEL_MM, UNKNOWN_PIXEL_MM)
        return Volume(slices, (self.plan.step_mm, down * self._times, right * self._times))
