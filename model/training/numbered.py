"""Images that stand alone in a manifest, though their names number them within the series they are from.

A node gets series, and rules are rules of series. Such images are put back in order: those of one row, or
rows of one subject, whose names differ in their last number alone. How far apart they lie is not stated.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.training.data import Row, Stack, files, load

SOURCES: Final = frozenset({"msk_projections", "msk_stacks", "lumbar_spider"})
"""Sources whose numbers were seen to go through the body."""
STEP_MM: Final = 3.0
"""Assumed from one number to the next: 29 steps of a knee go from the head of the fibula to the patella."""
_NUMBERED: Final = re.compile(r"(?P<series>.*_)(?P<number>\d+)\.png")


def grouped(rows: Iterable[Row]) -> tuple[tuple[Row, ...], ...]:
    """Return the rows of each series, by their numbers; every other row for itself."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        name = _NUMBERED.fullmatch(row.file) if row.source in SOURCES else None
        key = (row.file,) if name is None else (row.subject, row.also, row.plane, name["series"])
        groups.setdefault(key, []).append(row)
    return tuple(tuple(sorted(each, key=lambda row: _number(row.file))) for each in groups.values())


def loaded(data: Path, rows: Sequence[Row]) -> Stack:
    """Read the images of one series; raises FileNotFoundError where one is not there."""
    if len(rows) == 1:
        stack = load(data, rows[0])
        if rows[0].source not in SOURCES or "*" not in rows[0].file:
            return stack
        numbers = [_number(path.name) for path in files(data, rows[0])]
        return replace(stack, volume=True, positions_mm=_heights(numbers))
    images = tuple(load(data, row).images[0] for row in rows)
    ranges = tuple((index, index, region) for index, row in enumerate(rows) for _, _, region in row.ranges)
    series = replace(rows[0], file=_NUMBERED.sub(r"\g<series>*.png", rows[0].file), ranges=ranges)
    return Stack(series, images, volume=True, positions_mm=_heights([_number(row.file) for row in rows]))


def _number(file: str) -> int:
    name = _NUMBERED.fullmatch(file)
    return int(name["number"]) if name else 0


def _heights(numbers: Sequence[int]) -> NDArray[np.float64]:
    return STEP_MM * np.array(numbers, np.float64)
