"""The series that networks for whole CT series are scored on: real ones held out, and a body left out.

A real volume is taken as it was scanned and as the other protocols that it holds would have scanned it, each
axial, coronal and sagittal, without tilt, stretching or noise of ours. A study is what one source has of a
subject.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.series_labels import AXES, PARTS
from model.series_stack import Plan
from model.training import split, volume_bodies, volume_real
from model.training.bodies import FILES
from model.training.volume_draw import Draw
from model.training.volume_real import Scan
from model.volumes import STORED, Volume, laid

EVALUATION: Final = "evaluation"
VALIDATION: Final = "validation"
ANATOMY: Final = "anatomy left out"
SEED: Final = 2024
SYNTHETIC: Final = 3
"""Series of each label and axis that are drawn of the body left out."""


@dataclass(frozen=True, eq=False)
class SeriesCase:
    """One series with what is true of it: indices into PARTS, AXES, CONTRASTS, -1 where not known.

    `whole`: the volume as it was scanned, not cut as another protocol.
    """

    name: str
    study: str
    source: str
    stack: Volume
    planned: Plan
    part: int
    axis: int
    contrast: int
    regions: NDArray[np.int8]
    whole: bool


def held_out(data: Path, part: str) -> tuple[Scan, ...]:
    """Return the real volumes of one part of the split."""
    return volume_real.load_scans(data, split.read().part(part))


def real(scans: tuple[Scan, ...]) -> Iterator[SeriesCase]:
    """Yield every series that these volumes can be, along every axis."""
    for number, scan in enumerate(scans):
        for place, (part, protocols) in enumerate(sorted(volume_real.possible(scan).items())):
            for turn, axis in enumerate(AXES):
                rng = np.random.default_rng([SEED, number, place, turn])
                protocol = protocols[0]
                drawn = volume_real.draw(scan, part, protocol, rng, axis, plain=True)
                name = f"{scan.name} {part} {axis}"
                yield case(drawn, name, f"{scan.source}/{scan.subject}", protocol is None)


def synthetic(data: Path, bodies: tuple[str, ...]) -> Iterator[SeriesCase]:
    """Yield series of every label of the bodies that are not among those trained on."""
    left = tuple(name for name in FILES if name not in bodies)
    for figure in volume_bodies.load_figures(data, left) if left else ():
        for part in PARTS:
            for number in range(SYNTHETIC * len(AXES)):
                rng = np.random.default_rng([SEED, PARTS.index(part), number])
                drawn = volume_bodies.draw(figure, part, rng)
                name = f"{figure.body.name} {part} {number}"
                yield case(drawn, name, name, False)


def case(drawn: Draw, name: str, study: str, whole: bool) -> SeriesCase:
    """Return a drawn series as a stack with the geometry that its header would tell."""
    axis = AXES[drawn.axis]
    stack = laid(drawn.volume, axis)
    step = stack.spacing_mm[0]
    count = stack.values.shape[0]
    height = drawn.volume.extent_mm[0]
    places = np.arange(count, dtype=np.float64) * step
    planned = Plan((), places, step, STORED[axis], reach_mm=(0.0, height))
    return SeriesCase(name, study, drawn.source, stack, planned, drawn.part, drawn.axis, drawn.contrast,
                      drawn.regions, whole)  # fmt: skip
