"""Pictures of a series for people: its decoded images seen along the body, and single ones as tiles.

A CT stack is drawn as if X-rays went through it, from front and side; of anything else the middle is taken.
Everything is bounded, whatever the series: lines of LINE samples, at most KEPT of them, TILES tiles.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from db.records import ImageResult
from model.geometry import plane
from model.preprocess import Box, believable, body_box
from model.read import Image, ImageHeader
from node.sheet import Drawn, Grey, Sheet, put_together

LINE: Final = 256
"""Samples of a line: what is kept of one image for a strip."""
KEPT: Final = 1024
"""Lines that are kept; beyond, every second one goes, and so on."""
TILES: Final = 24
TILE: Final = 128
"""Tiles at most, and the side of one in pixels."""
STRIP_WIDTH: Final = 240
STRIP_HEIGHT: Final = 640

FEWEST: Final = 6
WIDEST_MM: Final = 12.0
"""A strip is drawn of so many places at least, which lie no further apart."""

_DETAIL: Final = 192
_BONE_HU: Final = 150.0
_SOFT_HU: Final = (-250.0, 600.0)
_AIR_HU: Final = -1000.0
_GAP: Final = 3.0
"""A step this many times the usual one is a hole and stays empty."""

Key = tuple[str, int]
"""SOP Instance UID and frame, -1 where there are no frames."""
View = Literal["coronal", "sagittal"]
Floats = NDArray[np.float32]

_VIEWS: Final[tuple[View, ...]] = ("coronal", "sagittal")


@dataclass(frozen=True)
class _Line:
    """One image seen from one side: `values` (LINE,) from `first_mm` to `last_mm`; `body` is in mm, too."""

    values: Floats
    first_mm: float
    last_mm: float
    body: tuple[float, float]


_Stack = list[tuple[float, _Line]]


@dataclass(frozen=True)
class _Seen:
    """What is kept of one image; `tile` is None where others stand for it."""

    key: Key
    lines: Mapping[View, _Line]
    tile: Floats | None
    body: tuple[float, float, float, float]


@dataclass
class Sketch:
    """Takes in the images of a series one after the other, in their order, and draws them in the end."""

    modality: str = ""
    _seen: list[_Seen] = field(default_factory=list)
    _count: int = 0
    _line_step: int = 1
    _tile_step: int = 1

    def add(self, header: ImageHeader, image: Image) -> None:
        """Look at one decoded image."""
        self.modality = header.modality
        number, self._count = self._count, self._count + 1
        if number % self._line_step:
            return
        key = header.sop_instance_uid, -1 if header.frame is None else header.frame.index
        values, times = _coarse(_filled(image))
        box = body_box(values, np.ones(values.shape, np.bool_))
        rows, columns = values.shape
        tile = None if number % self._tile_step else _small(values, image.spacing_mm)
        body = box[0] / rows, box[1] / rows, box[2] / columns, box[3] / columns
        self._seen.append(_Seen(key, _lines(header, values, box, times), tile, body))
        self._thin()

    def sheet(self, images: Iterable[ImageResult]) -> Sheet | None:
        """Draw what was seen; `images` say where each lies. None if nothing was seen."""
        if not self._seen:
            return None
        places = _places(images)
        stacks = {view: self._stack(view, places) for view in _VIEWS}
        strips = _strips(stacks) if all(_dense(stack) for stack in stacks.values()) else []
        return put_together(strips, self._tiles())

    def _thin(self) -> None:
        """Let every second image go where there are too many, of lines and of tiles."""
        if len(self._seen) > KEPT:
            self._seen, self._line_step = self._seen[::2], self._line_step * 2
            self._tile_step = max(self._tile_step, self._line_step)
        held = [index for index, each in enumerate(self._seen) if each.tile is not None]
        if len(held) > 2 * TILES:
            self._tile_step *= 2
            for index in held[1::2]:
                each = self._seen[index]
                self._seen[index] = _Seen(each.key, each.lines, None, each.body)

    def _stack(self, view: View, places: Mapping[Key, float]) -> _Stack:
        """Return (position in mm, line) of each image that has both, from the feet up."""
        found = [(places[each.key], each.lines[view]) for each in self._seen if _has(each, view, places)]
        return sorted(found, key=lambda pair: pair[0])

    def _tiles(self) -> list[Drawn]:
        chosen = [each for each in self._seen if each.tile is not None]
        picked = [chosen[index] for index in spread(len(chosen), TILES)]
        tiles = [each.tile for each in picked if each.tile is not None]
        tops, bottoms, lefts, rights = zip(*(each.body for each in picked), strict=True)
        body = (min(tops), max(bottoms), min(lefts), max(rights))
        alike = len({tile.shape for tile in tiles}) == 1
        cut = [_cut(tile, body) if alike else tile for tile in tiles]
        low, high = _window(cut, self.modality)
        return [
            Drawn("tile", each.key[0], each.key[1], _square(_grey(tile, low, high)), None, None)
            for each, tile in zip(picked, cut, strict=True)
        ]


def spread(count: int, most: int) -> list[int]:
    """Return at most `most` numbers below `count`, evenly spread, the ends among them."""
    if count <= most:
        return list(range(count))
    return [round(index * (count - 1) / (most - 1)) for index in range(most)]


def _has(each: _Seen, view: View, places: Mapping[Key, float]) -> bool:
    return view in each.lines and each.key in places


def _places(images: Iterable[ImageResult]) -> dict[Key, float]:
    """Return where each image, or frame, lies in mm along the body."""
    places: dict[Key, float] = {}
    for image in images:
        found = [(index, frame.position_mm) for index, frame in enumerate(image.frames)]
        for index, position in found or [(-1, image.position_mm)]:
            if position is not None:
                places[image.sop_instance_uid, index] = position
    return places


def _filled(image: Image) -> Floats:
    """Return an image's values with padding, and what is no number, as dark as anything in it."""
    values = image.values
    if not image.valid.all():
        values = np.where(image.valid, values, values[image.valid].min(initial=np.inf))
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):
        values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    return np.asarray(values, np.float32)


def _coarse(values: Floats) -> tuple[Floats, int]:
    """Return an image whose longer side has less than 2 LINE pixels, and how many pixels each of them was."""
    times = max(values.shape) // LINE
    if times < 2 or min(values.shape) < times:
        return values, 1
    rows, columns = (length // times for length in values.shape)
    whole = np.ascontiguousarray(values[: rows * times, : columns * times])
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), np.float32), times


def _lines(header: ImageHeader, values: Floats, box: Box, times: int) -> dict[View, _Line]:
    """See an axial image from the front and from the side; nothing of any other.

    Each of its pixels stands for `times` pixels of the header in both directions.
    """
    spacing = believable(header.pixel_spacing_mm)
    if header.orientation is None or header.position is None or spacing is None:
        return {}
    if plane(header.orientation) != "axial":
        return {}
    along_columns, along_rows = np.array(header.orientation[:3]), np.array(header.orientation[3:])
    row_mm, column_mm = (each * times for each in spacing)
    top, bottom, left, right = box
    if abs(along_columns[0]) < abs(along_columns[1]):  # a quarter turn: columns run from front to back
        values, along_columns, along_rows = values.T, along_rows, along_columns
        row_mm, column_mm = column_mm, row_mm
        top, bottom, left, right = left, right, top, bottom
    weights = _through(values, header.modality)
    front = _seen_along(weights, (top, bottom), 0, header.modality)
    side = _seen_along(weights, (left, right), 1, header.modality)
    inside = (times - 1) / (
        2 * times
    )  # from the centre of the first pixel to that of the first ones together
    x = header.position[0] + inside * float(along_columns[0]) * column_mm
    y = header.position[1] + inside * float(along_rows[1]) * row_mm
    return {
        "coronal": _line(front, x, float(along_columns[0]) * column_mm, (left, right)),
        "sagittal": _line(side, y, float(along_rows[1]) * row_mm, (top, bottom)),
    }


def _through(values: Floats, modality: str) -> Floats:
    """Return what each pixel adds to a ray: its density in a CT, bone more; its signal in anything else."""
    if modality != "CT":
        return np.asarray(values - values.min(), np.float32)
    return np.asarray(
        np.clip(values, _AIR_HU, 1500.0) - _AIR_HU + 3.0 * np.clip(values - _BONE_HU, 0.0, 1500.0),
        np.float32,
    )


def _seen_along(weights: Floats, body: tuple[int, int], axis: int, modality: str) -> Floats:
    """Return the mean along an axis: through everything in a CT, through the middle of the body else."""
    if modality == "CT":
        return np.asarray(weights.mean(axis=axis), np.float32)
    first, last = body
    middle, reach = (first + last) // 2, max(1, (last - first) // 8)
    slab = (
        weights[middle - reach : middle + reach] if axis == 0 else weights[:, middle - reach : middle + reach]
    )
    return np.asarray(slab.mean(axis=axis), np.float32)


def _line(profile: Floats, start_mm: float, step_mm: float, body: tuple[int, int]) -> _Line:
    """Resample a profile to LINE samples, rising: to the patient's left, or back (PS3.3 C.7.6.2.1.1)."""
    ends = (start_mm, start_mm + step_mm * (len(profile) - 1))
    inside = sorted(start_mm + step_mm * index for index in body)
    if ends[0] > ends[1]:
        profile, ends = profile[::-1], ends[::-1]
    resampled = cv2.resize(np.ascontiguousarray(profile[np.newaxis]), (LINE, 1), interpolation=cv2.INTER_AREA)
    return _Line(np.asarray(resampled[0], np.float32), ends[0], ends[1], (inside[0], inside[1]))


def _dense(stack: _Stack) -> bool:
    """Tell whether lines lie so close that something can be made out; a few far apart are only smeared."""
    steps = _steps([place for place, _ in stack])
    return len(steps) + 1 >= FEWEST and float(np.median(steps)) <= WIDEST_MM


def _steps(places: Sequence[float]) -> NDArray[np.float64]:
    """Return the distances between neighbours, those in one place left out."""
    steps = np.diff(np.array(places))
    return np.asarray(steps[steps > 0.01])


def _strips(stacks: Mapping[View, _Stack]) -> list[Drawn]:
    """Draw the stack from each side, to one scale, with the head at the top."""
    places = np.array([place for place, _ in stacks["coronal"]])
    usual = float(np.median(_steps([*places])))
    bottom, top = float(places[0]) - usual / 2, float(places[-1]) + usual / 2
    widths = [right - left for left, right in (_reach(stack) for stack in stacks.values())]
    scale = max(max(widths) / STRIP_WIDTH, (top - bottom) / STRIP_HEIGHT, 0.25)
    height = max(8, round((top - bottom) / scale))
    down = np.clip(top - (np.arange(height) + 0.5) * (top - bottom) / height, places[0], places[-1])
    drawn = []
    for view, stack in stacks.items():
        left, right = _reach(stack)
        width = max(8, round((right - left) / scale))
        across = left + (np.arange(width) + 0.5) * (right - left) / width
        table = np.stack([np.interp(across, _samples_mm(line), line.values) for _, line in stack])
        rows = _between(table, places, down, _GAP * usual)
        low, high = np.quantile(table, [0.02, 0.998])
        grey = _grey(np.asarray(rows, np.float32), float(low), float(high), 0.7)
        drawn.append(Drawn(view, "", -1, grey, top, bottom))
    return drawn


def _reach(stack: _Stack) -> tuple[float, float]:
    """Return from where to where, in mm, the body reaches in any image of a stack."""
    return min(line.body[0] for _, line in stack), max(line.body[1] for _, line in stack)


def _samples_mm(line: _Line) -> NDArray[np.float64]:
    half = (line.last_mm - line.first_mm) / (2 * LINE)
    return np.linspace(line.first_mm + half, line.last_mm - half, LINE)


def _between(
    table: NDArray[np.float64], places: NDArray[np.float64], wanted: NDArray[np.float64], hole_mm: float
) -> NDArray[np.float64]:
    """Interpolate lines (n, width) at `wanted` (m,) mm; in a hole only what is near a line is drawn."""
    above = np.clip(np.searchsorted(places, wanted), 1, len(places) - 1)
    low, high = places[above - 1], places[above]
    share = np.where(high > low, (wanted - low) / np.maximum(high - low, 1e-9), 0.0)
    rows = table[above - 1] * (1 - share)[:, np.newaxis] + table[above] * share[:, np.newaxis]
    distance = np.minimum(wanted - low, high - wanted)
    empty = (high - low > hole_mm) & (distance > hole_mm / 6)
    rows[empty] = table.min()
    return np.asarray(rows)


def _small(values: Floats, spacing_mm: tuple[float, float] | None) -> Floats:
    """Shrink an image so that its longer side, in mm, has _DETAIL pixels; never enlarge it."""
    known = believable(spacing_mm) or (1.0, 1.0)
    rows, columns = values.shape
    height, width = rows * known[0], columns * known[1]
    scale = min(_DETAIL, max(rows, columns)) / max(height, width)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(values, shape, interpolation=cv2.INTER_AREA), np.float32)


def _cut(tile: Floats, body: tuple[float, float, float, float]) -> Floats:
    rows, columns = tile.shape
    top, bottom = int(body[0] * rows), max(int(body[0] * rows) + 1, round(body[1] * rows))
    left, right = int(body[2] * columns), max(int(body[2] * columns) + 1, round(body[3] * columns))
    return tile[top:bottom, left:right]


def _window(tiles: Sequence[Floats], modality: str) -> tuple[float, float]:
    """Return which values are black and white: soft tissue and bone of a CT that has air, else nearly all."""
    everything = np.concatenate([tile.ravel() for tile in tiles])
    if modality == "CT" and everything.min() < _AIR_HU / 2:
        return _SOFT_HU
    low, high = np.quantile(everything, [0.01, 0.997])
    return float(low), float(high)


def _grey(values: Floats, low: float, high: float, gamma: float = 1.0) -> Grey:
    share = np.clip((values - low) / max(high - low, 1e-6), 0.0, 1.0) ** gamma
    return np.asarray(np.rint(share * 255), np.uint8)


def _square(grey: Grey) -> Grey:
    """Fit an image into a square of TILE pixels, black around it."""
    rows, columns = grey.shape
    scale = TILE / max(rows, columns)
    width, height = max(1, round(columns * scale)), max(1, round(rows * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    fitted = cv2.resize(grey, (width, height), interpolation=method)
    square = np.zeros((TILE, TILE), np.uint8)
    top, left = (TILE - height) // 2, (TILE - width) // 2
    square[top : top + height, left : left + width] = fitted
    return square
