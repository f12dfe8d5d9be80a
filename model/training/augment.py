"""Augmentation of geometry that mimics what arrives: fields of view, aspect ratios, thick slabs.

All geometry goes through one resampling: rotation, translation, shear and scale as in the paper
(Raffy et al. 2023), small and off-centre fields of view, aspect ratios, a smooth deformation.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Field = tuple[float, float, float, float]
"""A field of view: top, left, bottom, right, in pixels."""

CANVAS = 160
"""Longer side, in pixels, of an augmented image before it becomes a network input."""


@dataclass(frozen=True)
class View:
    """A field of view of an image: its values (rows, columns), and how many pixels of the image one spans."""

    values: NDArray[np.float32]
    pixel: tuple[float, float]


@dataclass(frozen=True)
class Freedom:
    """How far the field of view may go: `closest` relative side of a small one, any rotation or not.

    `close` is the share of small fields of view, `deform` the strength of the smooth deformation,
    `stretch` how much wider or narrower than imaged, `swell` how far the middle may swell or shrink.
    """

    closest: float = 0.45
    any_turn: bool = False
    close: float = 0.3
    deform: float = 0.05
    stretch: float = 1.0
    swell: float = 1.0


LIMBS = frozenset({"thigh", "knee", "calf", "foot", "arm", "elbow", "forearm", "hand"})
SMALL_FIELDS = frozenset({"cspine", "tspine", "lspine", "shoulder"})


def freedom(label: str) -> Freedom:
    """Return how the images of a region may be cropped and turned without changing the region."""
    if label in LIMBS:
        stretch = 1.5 if label in ("hand", "foot") else 1.2
        return Freedom(0.5, any_turn=True, close=0.4, deform=0.08, stretch=stretch, swell=1.35)
    return Freedom(0.8) if label in SMALL_FIELDS else Freedom()


def reframe(
    values: NDArray[np.float32],
    field: Field,
    air: float,
    free: Freedom,
    rng: np.random.Generator,
) -> View:
    """Resample a random field of view near `field` (top, left, bottom, right): rotated, sheared, deformed."""
    height, width = max(8.0, field[2] - field[0]), max(8.0, field[3] - field[1])
    kind = rng.random()
    if kind < free.close:
        zoom = rng.uniform(free.closest, 0.9)
    else:
        zoom = rng.uniform(0.85, 1.2) if kind < 0.8 else rng.uniform(1.2, 1.8)
    play = 0.08 if zoom > 0.9 else 0.5 * (1.0 - zoom)
    half_y, half_x = 0.5 * zoom * height, 0.5 * zoom * width
    if rng.random() < 0.5:  # many reconstructions are square whatever the body's shape
        half_y = half_x = max(half_y, half_x)
    half_y, half_x = half_y * rng.uniform(0.85, 1.18), half_x * rng.uniform(0.85, 1.18)
    if rng.random() < 0.12:  # oblong matrices, mostly of limbs
        longer = rng.uniform(1.3, 2.6)
        half_y, half_x = (half_y, half_x * longer) if rng.random() < 0.7 else (half_y * longer, half_x)
    centre_y = 0.5 * (field[0] + field[2]) + rng.uniform(-play, play) * height
    centre_x = 0.5 * (field[1] + field[3]) + rng.uniform(-play, play) * width
    wider = float(np.exp(rng.uniform(-1.0, 1.0) * 0.5 * np.log(free.stretch)))
    power = float(np.exp(rng.uniform(-1.0, 1.0) * np.log(free.swell))) if rng.random() < 0.5 else 1.0
    warp = _Warp(_turn(free, rng), free.deform, wider, power)
    return _resample(values, (centre_y, centre_x), (half_y, half_x), air, warp, rng)


@dataclass(frozen=True)
class _Warp:
    """How an image is bent: turned by radians, deformed smoothly, its content made wider.

    Distances from the middle are taken to a `power`: above one, the bones of a limb become larger against
    its muscles, below, smaller, as they are in people of other strength.
    """

    angle: float
    deform: float
    wider: float
    power: float


def _turn(free: Freedom, rng: np.random.Generator) -> float:
    if free.any_turn and rng.random() < 0.35:
        return float(rng.uniform(-np.pi, np.pi))
    return float(rng.uniform(-np.pi / 10, np.pi / 10) if rng.random() < 0.7 else 0.0)


def _resample(
    values: NDArray[np.float32],
    centre: tuple[float, float],
    half: tuple[float, float],
    air: float,
    warp: _Warp,
    rng: np.random.Generator,
) -> View:
    longest = max(half)
    rows, columns = (max(16, round(CANVAS * side / longest)) for side in half)
    v, u = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    if rng.random() < 0.5:  # a smooth deformation stands for other people
        push = rng.normal(0, warp.deform, (2, 4, 4)).astype(np.float32)
        v = v + cv2.resize(push[0], (columns, rows), interpolation=cv2.INTER_CUBIC)
        u = u + cv2.resize(push[1], (columns, rows), interpolation=cv2.INTER_CUBIC)
    if warp.power != 1.0:
        swollen = np.maximum(np.hypot(v, u), 1e-3) ** np.float32(warp.power - 1.0)
        v, u = v * swollen, u * swollen
    y, x = v * half[0], u * half[1]
    if rng.random() < 0.5:
        x = -x  # left and right share a region
    if rng.random() < 0.08:
        y = -y  # prone, or stored upside down
    y, x = y + rng.uniform(-0.1, 0.1) * x, x + rng.uniform(-0.1, 0.1) * y
    y, x = y * warp.wider, x / warp.wider
    cos, sin = np.cos(warp.angle), np.sin(warp.angle)
    map_y = (centre[0] + cos * y + sin * x).astype(np.float32)
    map_x = (centre[1] - sin * y + cos * x).astype(np.float32)
    shrink = 2 * longest / CANVAS
    source = cv2.blur(values, (2, 2)) if shrink > 1.7 else values
    out = cv2.remap(source, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=air)
    return View(np.asarray(out, np.float32), (2 * half[0] / rows, 2 * half[1] / columns))


def slab(
    images: tuple[NDArray[np.generic], ...], index: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the mean or the maximum of a few neighbouring slices: a thick-slab view."""
    reach = int(rng.integers(1, 4))
    near = np.stack(images[max(0, index - reach) : index + reach + 1]).astype(np.float32)
    return np.asarray(near.max(axis=0) if rng.random() < 0.3 else near.mean(axis=0), np.float32)


def letterbox(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Put bands of one grey beside the image, as viewers and reformatting do: not every border is air."""
    rows, columns = values.shape
    low, high = float(values.min()), float(values.max())
    grey = low + float(rng.uniform(0.0, 0.5)) * (high - low)
    upright = rng.random() < 0.3
    across = int(rng.uniform(0.1, 0.8) * (rows if upright else columns) / 2)
    sides = (across, int(across * rng.uniform(0.5, 1.0)))
    return np.pad(values, (sides, (0, 0)) if upright else ((0, 0), sides), constant_values=grey)
