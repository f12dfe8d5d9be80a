"""Digitally reconstructed radiographs: the whole-body anatomies projected as a film would show their parts.

Attenuation is summed along parallel rays, from the front, from the side or, for limbs, from anywhere. So
parts and views that the sources lack are seen at least in outline: raw tones of a whole spine, lateral
spines, forearms. All bodies are adults.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.radiographs import ADULT_CHEST, groups_of
from model.training import drawn_films
from model.training.bodies import FILES, TISSUES
from model.training.film_protocols import Film, films
from model.training.radiograph_sampler import Sample

VIEWS: Final = 8
MORE_VIEWS: Final = 10
"""Projections of each film of each body, times `often`; limbs and spines are taken in more ways."""
BENT_SHARE: Final = 0.5
BESIDE_SHARE: Final = 0.4
"""How often a joint that bends is bent, and how often a film of a limb or spine holds two or three views."""
LONG_MM: Final = 300.0
"""Of films longer than this every other slice is used."""
SEED: Final = 20_210_907
SOFT, FAT, SPONGY, CORTICAL = 1.0, 0.86, 1.55, 3.0
ATTENUATION: Final[NDArray[np.float32]] = np.full(TISSUES, SOFT, np.float32)
"""Attenuation of each tissue (classes.csv) at about 70 kV, water 1."""
for _tissue, _value in {0: 0.0, 2: FAT, 4: CORTICAL, 5: SPONGY, 6: 0.95, 7: 1.1, 8: 0.28, 9: 0.0, 24: 0.95,
                        26: 4.0}.items():  # fmt: skip
    ATTENUATION[_tissue] = _value

GUT: Final = (18, 19)
GAS_SHARE: Final = 0.8
"""Walls and contents of the gut (classes.csv), and how often some of it is gas, which distends it."""
BONE: Final = (4, 5)
CALCIFIED: Final = (0.4, 1.3)
"""How much more bone attenuates than soft tissue, as a share of what a healthy adult's does."""
SCOLIOSIS: Final = 0.1
"""How far a spine bends to the sides at most, as a share of its length."""


@dataclass(frozen=True)
class Voxels:
    """A body, uint8 (z from the feet, y, x): its tissue classes and its parts, and the side of a voxel."""

    tissue: NDArray[np.uint8]
    part: NDArray[np.uint8]
    spacing_mm: float

    def cut(self, heights: slice) -> "Voxels":
        """Return some of its slices."""
        return Voxels(self.tissue[heights], self.part[heights], self.spacing_mm)


def samples(data: Path, bodies: Iterable[str]) -> tuple[Sample, ...]:
    """Return samples of each part of each body; always the same ones."""
    marks = json.loads((data / "anatomy" / "landmarks.json").read_text(encoding="utf-8"))
    rng = np.random.default_rng(SEED)
    found = []
    for name in bodies:
        with np.load(data / "anatomy" / FILES[name], allow_pickle=False) as arrays:
            body = Voxels(arrays["tissue"], arrays["part"], float(arrays["spacing_zyx_mm"][0]))
        for film in films(marks[name]):
            for _ in range(_views(film)):
                pixels = _film(body, film, rng)
                found.append(Sample(pixels, _group(film.part), film.part, "", f"anatomy:{name}", drawn=True))
    return tuple(found)


def _views(film: Film) -> int:
    return film.often * (MORE_VIEWS if film.of_limb or film.of_spine else VIEWS)


def _film(body: Voxels, film: Film, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return one film; now and then two or three views of a spine or limb, or a limb and its mirror image."""
    first = projected(body, film, rng)
    if not (film.of_limb or film.of_spine) or rng.random() >= BESIDE_SHARE:
        return first
    others = [first[:, ::-1]] if film.of_limb and rng.random() < 0.4 else [
        projected(body, film, rng) for _ in range(int(rng.integers(1, 3)))
    ]  # fmt: skip
    return drawn_films.beside([first, *others], rng)


def _group(part: str) -> str:
    return ADULT_CHEST if part == "chest" else groups_of(part)[0]


def projected(body: Voxels, film: Film, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return one film, uint8 (rows, columns), head up."""
    spacing_mm = body.spacing_mm
    bottom_mm, top_mm = _reach(film, rng)
    bottom = max(0, int(bottom_mm / spacing_mm))
    top = min(len(body.tissue), max(bottom + 8, int(top_mm / spacing_mm)))
    step = 1 if film.foot else 1 + int(film.top_mm - film.bottom_mm > LONG_MM)
    block = _block(body.cut(slice(bottom, top, step)), film, rng)
    mean, spread = film.views[int(rng.integers(len(film.views)))]
    degrees = mean + float(rng.normal(0.0, spread))
    if film.foot:  # toes up
        return drawn_films.developed(_along(block.transpose(1, 0, 2), degrees), rng)
    image = _along(block, degrees)[::-1].repeat(step, axis=0)
    if film.bends and rng.random() < BENT_SHARE:
        row = int(len(image) - (film.joint_mm / spacing_mm - bottom))
        image = drawn_films.bent(image, row, float(rng.uniform(-film.bends, film.bends)))
    if film.of_spine and rng.random() < 0.5:
        image = drawn_films.curved(image, SCOLIOSIS * len(image), rng)
    if film.width_mm:
        wide = film.width_mm * float(rng.uniform(*film.widths))
        image = _narrowed(image, wide / spacing_mm, film.part)
    return drawn_films.developed(image, rng)


def _reach(film: Film, rng: np.random.Generator) -> tuple[float, float]:
    """Return bottom and top of a film in mm: each is taken a little differently."""
    play = 12.0 if film.foot or not film.of_limb else max(12.0, 0.08 * (film.top_mm - film.bottom_mm))
    low, high = rng.normal(0.0, play, 2)
    return (
        (film.bottom_mm, film.top_mm + high / 2) if film.foot else (film.bottom_mm + low, film.top_mm + high)
    )


def _block(body: Voxels, film: Film, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the attenuation (z, y, x) of what is in the way of the rays."""
    shown = np.isin(np.arange(256), film.shown)[body.part]
    if film.beside_mm is not None:
        near, far = ((each + rng.normal(0.0, 15.0)) / body.spacing_mm for each in film.beside_mm)
        columns = np.arange(shown.shape[2])
        shown &= (columns >= near) & (columns < max(far, near + 8))
    table = ATTENUATION.copy()
    bone = table[list(BONE)]
    table[list(BONE)] = SOFT + rng.uniform(*CALCIFIED) * (bone - SOFT)
    table[2] *= rng.uniform(0.9, 1.05)
    block = table[body.tissue] * shown
    if not film.of_limb and rng.random() < GAS_SHARE:
        block[_gas(body, rng)] = 0.0
    rows, columns = (np.flatnonzero(shown.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    return np.asarray(block[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], np.float32)


def _gas(body: Voxels, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return where the gut holds gas: in bubbles of 20 to 80 mm, more or less of it."""
    gut = np.isin(np.arange(256), GUT)[body.tissue]
    cell = rng.uniform(20.0, 80.0) / body.spacing_mm
    field = rng.random([int(length / cell) + 3 for length in gut.shape]).astype(np.float32)
    for length in gut.shape:  # linear between the nodes, an axis at a time
        places = np.arange(length, dtype=np.float32) / cell + rng.uniform()
        nearness = np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(field.shape[0])))
        field = np.tensordot(field, nearness.astype(np.float32), axes=(0, 1))
    return np.asarray(gut & (field > rng.uniform(0.3, 0.7)))


def _along(block: NDArray[np.float32], degrees: float) -> NDArray[np.float32]:
    """Sum a block (z, y, x) along y after turning it about z."""
    _, depth, width = block.shape
    matrix = cv2.getRotationMatrix2D((width / 2, depth / 2), degrees, 1.0)
    size = int(np.ceil(np.hypot(depth, width)))
    matrix[:, 2] += (size - width) / 2, (size - depth) / 2
    sums = np.stack([cv2.warpAffine(plane, matrix, (size, size)).sum(axis=0) for plane in block])
    filled = np.flatnonzero(sums.any(axis=0))
    return np.asarray(sums[:, filled[0] : filled[-1] + 1], np.float32)


def _narrowed(image: NDArray[np.float32], width: float, part: str) -> NDArray[np.float32]:
    """Collimate to `width` pixels round the brightest column, where the spine is, or round the middle."""
    columns = image.shape[1]
    if width >= columns:
        return image
    smooth = cv2.blur(image.mean(axis=0)[None], (9, 1))[0]
    middle = columns / 2 if part in ("abdomen", "pelvis") else float(np.argmax(smooth))
    first = int(np.clip(middle - width / 2, 0, columns - width))
    return image[:, first : first + int(width)]
