"""The images of a series on a grid along the body: duplicates share a node, stations are told apart.

A node stands for a few mm. Nodes without an image are where the stack has none: the decoder walks
over them at no cost but the way. A station is a run of images of one orientation without a wide gap.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.geometry import duplicates, extents_mm, step_mm

NODE_MM: Final = 2.5
MAXIMUM_NODES: Final = 2000
"""A stack of more than 5 m is no body; it gets wider nodes, so that time stays bounded."""

INDEPENDENT_MM: Final = 10.0
"""Images nearer to each other than this are no independent evidence (Raffy et al. 2023, statistics)."""

GAP_MM: Final = 30.0
GAP_STEPS: Final = 3.0
"""A hole of more than both, in mm and in usual steps, ends a station."""
WALK_MM: Final = 300.0
"""How much of a hole is walked over node by node; what is beyond tells no more."""
TURN_DEGREES: Final = 15.0
"""Planes further apart than this belong to different stations."""


@dataclass(frozen=True)
class Stack:
    """Where n images lie on m nodes, feet to head.

    `node` (n,) is each image's node, `weight` (n,) what it counts as evidence, 0..1. `gap` (m,) marks
    the first node of a station beyond a hole, `turn` (m,) that of one with another orientation.
    `node_mm` is the length that a node stands for.
    """

    node: NDArray[np.intp]
    weight: NDArray[np.float64]
    gap: NDArray[np.bool_]
    turn: NDArray[np.bool_]
    node_mm: float


def stack(positions: NDArray[np.float64], normals: NDArray[np.float64] | None) -> Stack:
    """Lay n images at sorted positions (n,) in mm on a grid; `normals` (n, 3) may be unknown."""
    group = _orientations(normals, len(positions))
    alike = [np.flatnonzero(group == number) for number in range(int(group.max(initial=-1)) + 1)]
    stations = [station for images in alike for station in _split(images, positions)]
    # Stations follow each other by their middle, so that two that overlap are not interleaved.
    stations.sort(key=lambda images: float(positions[images].mean()))
    length = sum(float(np.ptp(positions[images])) for images in stations)
    node_mm = max(NODE_MM, length / MAXIMUM_NODES)
    node, weight = np.zeros(len(positions), np.intp), np.zeros(len(positions))
    starts: list[tuple[int, bool]] = []
    end = 0
    for before, images in zip([None, *stations], stations, strict=False):
        first = 0
        if before is not None:
            turned = bool(group[before[0]] != group[images[0]])
            hole = float(positions[images[0]] - positions[before[-1]])
            first = end + (0 if turned else round(min(max(hole, 0.0), WALK_MM) / node_mm))
            starts.append((first, turned))
        node[images] = first + np.round((positions[images] - positions[images[0]]) / node_mm).astype(np.intp)
        weight[images] = _weights(positions[images])
        end = int(node[images[-1]]) + 1
    gap, turn = np.zeros(end, np.bool_), np.zeros(end, np.bool_)
    for first, turned in starts:
        (turn if turned else gap)[first] = True
    return Stack(node, weight, gap, turn, node_mm)


def _orientations(normals: NDArray[np.float64] | None, n: int) -> NDArray[np.intp]:
    """Number n images by orientation: each joins the first group whose first image it is parallel to."""
    group = np.zeros(n, np.intp)
    left = np.arange(0 if normals is None else n, dtype=np.intp)
    number = 0
    while normals is not None and len(left):
        parallel = normals[left] @ normals[left[0]] >= np.cos(np.radians(TURN_DEGREES))
        parallel[0] = True  # whatever its numbers
        group[left[parallel]] = number
        left, number = left[~parallel], number + 1
    return group


def _split(images: NDArray[np.intp], positions: NDArray[np.float64]) -> list[NDArray[np.intp]]:
    """Split the images of one orientation at wide holes."""
    places = positions[images]
    usual = step_mm(places) or 0.0
    wide = np.diff(places) > max(GAP_MM, GAP_STEPS * usual)
    return np.split(images, np.flatnonzero(wide) + 1)


def _weights(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each image of a station counts: the mm that it stands for, but no more than once.

    Images at one place share its weight. A station, however thin, is at least one piece of evidence.
    """
    place = np.cumsum(~duplicates(places)) - 1
    firsts = places[np.flatnonzero(~duplicates(places))]
    each = np.minimum(extents_mm(firsts) / INDEPENDENT_MM, 1.0)
    each *= max(1.0, 1.0 / float(each.sum()))
    return np.asarray((each / np.bincount(place))[place], np.float64)
