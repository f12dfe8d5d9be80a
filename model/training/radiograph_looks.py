"""Augmentation of radiographs: everything that tells a source but not a body part is varied at random.

One source holds nearly all children, another nearly all scoliosis films, and each has tones, crops,
letters and compression of its own. Tones are exchanged between sources (histogram matching), bent,
locally equalised, inverted; shutters, frames, letters, wires and implants are drawn; detail is blurred
and compressed.
All images here are float32 (rows, columns) in 0..1.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.float32]
Canvas = NDArray[np.uint8]
WORDS: Final = (
    "R", "L", "R", "L", "D", "E", "AP", "PA", "LAT", "SUPINE", "PORTABLE", "ERECT", "STANDING", "10:42",
    "2014", "KV 70", "A12", "PED", "CHEST", "50%", "W", "O",
)  # fmt: skip
FONTS: Final = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_DUPLEX)
SHUTTER, FRAME, LETTERS, DEVICES = 0.3, 0.25, 0.5, 0.12
"""Shares of the images that get them."""


def retoned(image: Grey, other: NDArray[np.uint8], rng: np.random.Generator) -> Grey:
    """Return the image with other tones: `other` is any image, whose histogram it may take over."""
    if rng.random() < 0.3:
        image = _matched(image, other, float(rng.uniform(0.4, 1.0)))
    if rng.random() < 0.6:
        image = np.power(image, np.float32(np.exp(rng.normal(0.0, 0.45))))
    if rng.random() < 0.25:
        steep, middle = rng.uniform(3.0, 9.0), rng.uniform(0.35, 0.65)
        image = _stretched(1.0 / (1.0 + np.exp(-steep * (image - middle))))
    if rng.random() < 0.35:
        image = _equalised(image, rng)
    if rng.random() < 0.2:
        blurred = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(1.5, 8.0)))
        image = np.clip(image + rng.uniform(0.3, 1.5) * (image - blurred), 0.0, 1.0).astype(np.float32)
    if rng.random() < 0.2:  # uneven exposure
        image = np.clip(image * _slope(image.shape, rng), 0.0, 1.0).astype(np.float32)
    return 1.0 - image if rng.random() < 0.04 else image


def _matched(image: Grey, other: NDArray[np.uint8], share: float) -> Grey:
    """Give the image the histogram of another, in part."""
    mine = np.cumsum(np.bincount((255 * image).astype(np.uint8).ravel(), minlength=256)) / image.size
    theirs = np.cumsum(np.bincount(other.ravel(), minlength=256)) / other.size
    table = np.interp(mine, theirs, np.linspace(0.0, 1.0, 256))
    found = table[(255 * image).astype(np.uint8)]
    return np.asarray((1.0 - share) * image + share * found, np.float32)


def _equalised(image: Grey, rng: np.random.Generator) -> Grey:
    tiles = int(rng.integers(2, 12))
    clahe = cv2.createCLAHE(float(np.exp(rng.uniform(0.0, 2.5))), (tiles, tiles))
    return np.asarray(clahe.apply((255 * image).astype(np.uint8)), np.float32) / 255.0


def _slope(shape: tuple[int, ...], rng: np.random.Generator) -> Grey:
    small = rng.uniform(0.7, 1.3, (2, 2)).astype(np.float32)
    return np.asarray(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _stretched(image: NDArray[np.floating]) -> Grey:
    low, high = float(image.min()), float(image.max())
    return np.asarray((image - low) / max(1e-6, high - low), np.float32)


def decorated(image: Grey, rng: np.random.Generator) -> Grey:
    """Return the image with what lies over and round anatomy: shutter, frame, letters, wires, implants."""
    canvas = (255 * image).astype(np.uint8)  # OpenCV writes letters into 8 bits alone
    if rng.random() < DEVICES:
        _devices(canvas, rng)
    if rng.random() < SHUTTER:
        _shutter(canvas, rng)
    if rng.random() < LETTERS:
        for _ in range(int(rng.integers(1, 4))):
            _letters(canvas, rng)
    framed = _framed(canvas, rng) if rng.random() < FRAME else canvas
    return framed.astype(np.float32) / 255.0


def _shutter(image: Canvas, rng: np.random.Generator) -> None:
    """Darken what lies outside a slightly turned rectangle, or fill it with one value."""
    rows, columns = image.shape
    inset = rng.uniform(0.0, 0.1, 4) * (rows, columns, rows, columns) * (rng.random(4) < 0.7)
    corners = np.array([[inset[1], inset[0]], [columns - inset[3], inset[0]],
                        [columns - inset[3], rows - inset[2]], [inset[1], rows - inset[2]]])  # fmt: skip
    middle = corners.mean(axis=0)
    angle = np.radians(rng.normal(0.0, 2.0))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    mask = np.zeros(image.shape, np.uint8)
    cv2.fillConvexPoly(mask, ((corners - middle) @ turn.T + middle).astype(np.int32), 1)
    outside = mask == 0
    if rng.random() < 0.5:
        image[outside] = rng.choice([0, 0, int(rng.integers(80)), 255])
    else:
        dark = rng.uniform(0, 50) + rng.uniform(0.05, 0.4) * image[outside]
        image[outside] = dark.astype(np.uint8)


def _letters(image: Canvas, rng: np.random.Generator) -> None:
    rows, columns = image.shape
    scale = float(np.exp(rng.uniform(np.log(0.25), np.log(1.3)))) * max(rows, columns) / 256
    place = (int(rng.uniform(0.0, 0.92) * columns), int(rng.uniform(0.05, 1.0) * rows))
    if rng.random() < 0.6:  # most stand near an edge
        place = (int(rng.choice((0.02, 0.8)) * columns), place[1])
    bright = float(rng.choice((255, 255, rng.uniform(128, 255), 0)))
    if rng.random() < 0.25:
        corner = (place[0] + int(rng.uniform(6, 30)), place[1] - int(rng.uniform(6, 40)))
        cv2.rectangle(image, place, corner, float(rng.uniform(0, 255)), -1)
        return
    word = str(rng.choice(WORDS))
    cv2.putText(
        image, word, place, int(rng.choice(FONTS)), scale, bright, max(1, round(2 * scale)), cv2.LINE_AA
    )


def _devices(image: Canvas, rng: np.random.Generator) -> None:
    """Draw wires and tubes, or a bright body with smooth borders: a nail, a prosthesis, a pacemaker."""
    rows, columns = image.shape
    if rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 4))):
            knots = np.cumsum(rng.normal(0.0, 0.12, (8, 2)), axis=0) + rng.uniform(0.1, 0.9, 2)
            line = (knots * (columns, rows)).astype(np.int32)
            cv2.polylines(
                image, [line], False, float(rng.uniform(150, 255)), int(rng.integers(1, 3)), cv2.LINE_AA
            )
        return
    middle = (int(rng.uniform(0.2, 0.8) * columns), int(rng.uniform(0.2, 0.8) * rows))
    axes = (max(2, int(rng.uniform(0.01, 0.07) * columns)), max(3, int(rng.uniform(0.04, 0.25) * rows)))
    cv2.ellipse(
        image, middle, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(215, 255)), -1, cv2.LINE_AA
    )


def _framed(image: Canvas, rng: np.random.Generator) -> Canvas:
    """Put bands of one grey at the borders, as viewers, scans of film and square exports do."""
    rows, columns = image.shape
    bands = (rng.uniform(0.0, 0.2, 4) * (rows, rows, columns, columns) * (rng.random(4) < 0.6)).astype(int)
    grey = int(rng.choice([0, 0, 255, int(rng.integers(256))]))
    return np.pad(image, (tuple(bands[:2]), tuple(bands[2:])), constant_values=grey)


def coarsened(image: Grey, rng: np.random.Generator) -> Grey:
    """Return the image with less detail: blurred, small, noisy, compressed."""
    rows, columns = image.shape
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.6)))
    if rng.random() < 0.25:
        scale = float(rng.uniform(56, 180)) / max(rows, columns)
        small = cv2.resize(image, None, fx=min(1.0, scale), fy=min(1.0, scale), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.3:
        image = image + rng.normal(0.0, rng.uniform(0.005, 0.05), image.shape).astype(np.float32)
    image = np.clip(image, 0.0, 1.0)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 85))]
        _, coded = cv2.imencode(".jpg", (255 * image).astype(np.uint8), quality)
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.float32) / 255.0
    return np.asarray(image, np.float32)
