"""From image to network input: the same code in training and serving (SPEC: Raffy et al. 2023, Fig. 2).

Clip to mean ± 4 standard deviations, (x - mean) / (2 std), aspect ratio kept, resized into a square.
Padding pixels enter neither mean nor std. Two choices go beyond the paper, both against a border that
becomes a feature: the square is filled up with the value of air (the darkest valid pixel after
normalisation) instead of zero, and padding pixels inside the image get that value too.

A network's definition names the preprocessing that it was trained with. `whole` takes the image as it
is. `body` first cuts it down to the body, so that a hand in a field of view made for a trunk fills the
square as well, and neither air nor a viewer's grey bands enter mean and std. `physical` keeps the
scale: a square of fixed size in mm round the body's centre. `sized` is `body` with a second channel
that says how large the square is in mm. `radiograph` is `body` with evened tones (model/tone.py).
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.tone import evened, reduced

CLIP_STD: Final = 4.0
SCALE_STD: Final = 2.0

WHOLE: Final = "whole"
BODY: Final = "body"
PHYSICAL: Final = "physical"
SIZED: Final = "sized"
RADIOGRAPH: Final = "radiograph"
PREPROCESSINGS: Final = (WHOLE, BODY, PHYSICAL, SIZED, RADIOGRAPH)

FIELD_MM: Final = 400.0
"""Side of the square that `physical` shows: the trunk of most adults."""
MIDDLE_MM: Final = 250.0
"""Side of the square at which the second channel of `sized` is one; each octave adds or takes a quarter."""
PLAUSIBLE_MM: Final = (0.02, 10.0)
"""Pixel sizes in mm that can be true; a spacing outside counts as unknown."""

BOX_SIZE: Final = 128
"""Longer side, in pixels, of the copy in which the body is looked for."""
BODY_LEVEL: Final = 0.15
"""What is brighter than this share of the way from the darkest value to the 99th percentile is body."""
COMPANION: Final = 0.35
"""A separate part counts if it is this thick against the thickest: the other leg, no tube, table or line."""
MARGIN: Final = 0.05
SMALLEST: Final = 0.12
"""Margin round the body, by its longer side; and the least side of the box, by the image's longer one."""
_BLOCK: Final = 16
"""Border lines that are looked at together."""


def network_input(
    values: NDArray[np.float32],
    valid: NDArray[np.bool_],
    size: int,
    spacing_mm: tuple[float, float] | None = None,
    preprocessing: str = WHOLE,
) -> NDArray[np.float32]:
    """Return the float32 (size, size, channels) input of one image, values within about -2..2.

    `values` is (rows, columns), `valid` of the same shape and False where padding lies. `spacing_mm`
    is that of rows and columns; None, or what cannot be true, counts as square pixels of unknown
    size. An image without a valid pixel, or with one single value, becomes zeros. `preprocessing` is
    one of PREPROCESSINGS; channels are 2 for `sized`, else 1. Raises ValueError unless values and
    mask are 2D and alike.
    """
    if values.ndim != 2 or values.shape != valid.shape or 0 in values.shape:
        raise ValueError(f"image of shape {values.shape} with a mask of shape {valid.shape} has no meaning")
    known = believable(spacing_mm)
    aspect = known[0] / known[1] if known else 1.0
    if preprocessing == RADIOGRAPH:
        values, valid = reduced(values, valid)
    if preprocessing != WHOLE:
        top, bottom, left, right = body_box(values, valid)
        if preprocessing == PHYSICAL and known:
            return _at_scale(values, valid, ((top + bottom) / 2, (left + right) / 2), size, known)
        values, valid = values[top:bottom, left:right], valid[top:bottom, left:right]
    grey = evened(values, valid) if preprocessing == RADIOGRAPH else normalise(values, valid)
    square = _into_square(grey, size, aspect, float(grey.min()))
    if preprocessing != SIZED:
        return square[:, :, np.newaxis]
    side_mm = max(values.shape[0] * known[0], values.shape[1] * known[1]) if known else None
    return np.stack([square, np.full_like(square, size_value(side_mm))], axis=2)


def believable(spacing_mm: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return a pixel spacing that can be true, else None (zero, negative, giant, wildly oblong)."""
    if spacing_mm is None:
        return None
    row, column = spacing_mm
    low, high = PLAUSIBLE_MM
    true = low < row < high and low < column < high and 0.1 < row / column < 10.0
    return (row, column) if true else None


def size_value(side_mm: float | None) -> float:
    """Return the second channel of `sized` for a square of this side: 0 where unknown, 1 at MIDDLE_MM."""
    return 0.0 if side_mm is None else 1.0 + float(np.clip(np.log2(side_mm / MIDDLE_MM), -3.0, 3.0)) / 4.0


def _at_scale(
    values: NDArray[np.float32],
    valid: NDArray[np.bool_],
    centre: tuple[float, float],
    size: int,
    spacing_mm: tuple[float, float],
) -> NDArray[np.float32]:
    """Return the square of FIELD_MM round a centre (row, column in pixels), what lies beyond it is air."""
    half = [FIELD_MM / 2 / spacing for spacing in spacing_mm]
    (top, bottom), (left, right) = (
        (max(0, int(middle - reach)), min(length, int(np.ceil(middle + reach))))
        for middle, reach, length in zip(centre, half, values.shape, strict=True)
    )
    grey = normalise(values[top:bottom, left:right], valid[top:bottom, left:right])
    height = max(1, round((bottom - top) * spacing_mm[0] * size / FIELD_MM))
    width = max(1, round((right - left) * spacing_mm[1] * size / FIELD_MM))
    return _placed(_resized(grey, min(height, size), min(width, size)), size, float(grey.min()))[
        ..., np.newaxis
    ]


def normalise(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return `values` (rows, columns) clipped and scaled; invalid pixels get the darkest valid value."""
    usable = _usable(values, valid)
    inside = values if usable is None else values[usable]
    if inside.size == 0:
        return np.zeros(values.shape, np.float32)
    mean, std = (float(each[0, 0]) for each in cv2.meanStdDev(inside))  # in double precision
    if std <= 1e-6 * max(1.0, abs(mean)):
        return np.zeros(values.shape, np.float32)
    low, high = mean - CLIP_STD * std, mean + CLIP_STD * std
    air = max(float(inside.min()), low)
    filled = values if usable is None else np.where(usable, values, np.float32(air))
    grey = np.clip(filled, low, high)
    grey -= np.float32(mean)
    grey /= np.float32(SCALE_STD * std)
    return np.asarray(grey, np.float32)


def _usable(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Return where finite values lie that are no padding; None where all are."""
    if valid.all() and np.isfinite(values.min()) and np.isfinite(values.max()):
        return None
    return np.asarray(valid & np.isfinite(values))


Box = tuple[int, int, int, int]
"""A part of an image: top, bottom, left, right in pixels, bottom and right exclusive."""


def body_box(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> Box:
    """Return where the body lies in an image (rows, columns), with a margin; the whole image in doubt.

    Bands of one value at the border go first, then what is dark. Padding and air may have any value
    below the body's; in an image whose body is darker than its surroundings nothing is cut away.
    """
    usable = _usable(values, valid)
    if usable is not None and not usable.any():
        return 0, values.shape[0], 0, values.shape[1]
    filled = values if usable is None else np.where(usable, values, values[usable].min())
    top, bottom, left, right = _without_bands(filled)
    inner = _bright_box(filled[top:bottom, left:right])
    return top + inner[0], top + inner[1], left + inner[2], left + inner[3]


def _without_bands(values: NDArray[np.float32]) -> Box:
    """Leave out border rows and columns that hold one value each, as viewers and reformatting add."""
    top, bottom, left, right = 0, values.shape[0], 0, values.shape[1]
    tolerance = 0.004 * (float(values.max()) - float(values.min()))
    for _ in range(2):  # bands above reach over those beside, or the other way round
        for upright in (True, False):
            inside = values[top:bottom, left:right]
            lines = inside.T if upright else inside
            first, last = _dull(lines, tolerance), _dull(lines[::-1], tolerance)
            if first == len(lines):
                return 0, values.shape[0], 0, values.shape[1]
            if upright:
                left, right = left + first, right - last
            else:
                top, bottom = top + first, bottom - last
    return top, bottom, left, right


def _dull(lines: NDArray[np.float32], tolerance: float) -> int:
    """Return how many lines hold one value each before the first that does not."""
    for first in range(0, len(lines), _BLOCK):
        block = lines[first : first + _BLOCK]
        lively = block.max(axis=1) - block.min(axis=1) > tolerance
        if lively.any():
            return first + int(lively.argmax())
    return len(lines)


def _bright_box(values: NDArray[np.float32]) -> Box:
    """Return the box round everything that is not dark, small parts left out.

    A patient table that touches the body stays in it.
    """
    rows, columns = values.shape
    scale = min(1.0, BOX_SIZE / max(rows, columns))
    shape = max(1, round(columns * scale)), max(1, round(rows * scale))
    small = cv2.blur(cv2.resize(values, shape, interpolation=cv2.INTER_AREA), (3, 3))
    low, high = float(small.min()), float(np.quantile(small, 0.99))
    bright = (small > low + BODY_LEVEL * (high - low)).astype(np.uint8)
    opened = cv2.morphologyEx(bright, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, places, parts, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        return 0, rows, 0, columns
    kept = _thick(opened, count, places, parts[1:]).astype(np.float64)
    left, top = kept[:, cv2.CC_STAT_LEFT].min(), kept[:, cv2.CC_STAT_TOP].min()
    right = (kept[:, cv2.CC_STAT_LEFT] + kept[:, cv2.CC_STAT_WIDTH]).max()
    bottom = (kept[:, cv2.CC_STAT_TOP] + kept[:, cv2.CC_STAT_HEIGHT]).max()
    margin = 1.0 + MARGIN * max(right - left, bottom - top)
    least = SMALLEST * max(small.shape)
    vertical = _widened(top - margin, bottom + margin, least, rows, rows / small.shape[0])
    return (*vertical, *_widened(left - margin, right + margin, least, columns, columns / small.shape[1]))


def _thick(
    opened: NDArray[np.uint8], count: int, places: NDArray[np.int32], parts: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return those of the parts (n, 5) that are thick against the thickest; `places` number them from 1."""
    if count == 2:
        return parts
    # the thickness of a part is the radius of the largest disc in it; the border of the image is no edge
    around = cv2.copyMakeBorder(opened, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = cv2.distanceTransform(around, cv2.DIST_L2, 3)[1:-1, 1:-1]
    thickness = np.zeros(count, np.float32)
    np.maximum.at(thickness, places.ravel(), depth.ravel())
    return parts[thickness[1:] >= COMPANION * np.max(thickness[1:])]


def _widened(first: float, last: float, least: float, length: int, scale: float) -> tuple[int, int]:
    """Return a range as pixels of the full image: at least so wide, and inside of 0..length."""
    missing = max(0.0, least - (last - first)) / 2
    return max(0, int((first - missing) * scale)), min(length, int(np.ceil((last + missing) * scale)))


def fitted_shape(rows: int, columns: int, size: int, aspect: float = 1.0) -> tuple[int, int]:
    """Return the (height, width) in pixels of an image fitted into a square of `size`, aspect kept."""
    height, width = rows * aspect, float(columns)
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _into_square(grey: NDArray[np.float32], size: int, aspect: float, air: float) -> NDArray[np.float32]:
    height, width = fitted_shape(grey.shape[0], grey.shape[1], size, aspect)
    return _placed(_resized(grey, height, width), size, air)


def _resized(grey: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    # INTER_AREA averages when shrinking; when enlarging it would repeat pixels, so go linear there.
    shrinks = height <= grey.shape[0] and width <= grey.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (width, height), interpolation=method), np.float32)


def _placed(fitted: NDArray[np.float32], size: int, air: float) -> NDArray[np.float32]:
    """Put an image into the middle of a square filled with air."""
    height, width = fitted.shape
    square = np.full((size, size), air, np.float32)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = fitted
    return square
