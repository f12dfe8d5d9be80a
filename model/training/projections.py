"""Digitally reconstructed radiographs: the whole-body anatomies projected as a film would show their parts.

Attenuation is summed along parallel rays, from the front, from the side or, for limbs, from anywhere. So
parts and views that the sources lack are seen at least in outline: raw tones of a whole spine, lateral
spines, forearms. All bodies are adults.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.radiographs import ADULT_CHEST, groups_of
from model.training import drawn_films
from model.training.bodies import FILES, LEFT_ARM, LEFT_LEG, RIGHT_ARM, RIGHT_LEG, TISSUES, TRUNK
from model.training.radiograph_sampler import Sample

VIEWS: Final = 8
MORE_VIEWS: Final = 10
PAIRS: Final = 16
"""Projections of each film of each body; limbs and spines are taken in more ways. Pairs of both spines."""
BENT_SHARE: Final = 0.5
BESIDE_SHARE: Final = 0.4
"""How often a joint that bends is bent, and how often a film of a limb or spine holds two or three views."""
NARROW: Final = (0.4, 1.05)
USUAL: Final = (0.8, 1.25)
LUMBAR: Final = (0.5, 1.5)
"""How wide a film is taken against its width: smallest and largest share; of lumbar spines anything from a
strip to most of the belly."""
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
SPINES: Final = frozenset({"cspine", "tspine", "tlspine", "lspine", "spine"})
SCOLIOSIS: Final = 0.1
"""How far a spine bends to the sides at most, as a share of its length."""
EVERYTHING: Final = (TRUNK, RIGHT_ARM, LEFT_ARM, RIGHT_LEG, LEFT_LEG)
FRONT: Final = ((0.0, 8.0), (180.0, 8.0))
SIDE: Final = ((90.0, 8.0), (-90.0, 8.0))
OBLIQUE: Final = ((45.0, 8.0), (-45.0, 8.0))
ROUND: Final = ((0.0, 30.0), (90.0, 30.0), (180.0, 30.0), (-90.0, 30.0))
SOLE: Final = ((0.0, 15.0), (35.0, 10.0), (-35.0, 10.0), (90.0, 10.0), (-90.0, 10.0))
"""Views of a foot, about its own axis: from above, oblique, from the side."""


@dataclass(frozen=True)
class Film:
    """How a part is taken: heights in mm, the parts of the body in the way, the views, the width in mm.

    `views` are mean and spread of the angle about the body's axis, in degrees; of a `foot` about its own
    axis, from heel to toes. A width of 0 takes all, others are varied by `widths`. `bends` is how far the
    joint at `joint_mm` bends; `beside_mm` is where what is shown lies across the body, None for all.
    """

    part: str
    bottom_mm: float
    top_mm: float
    shown: tuple[int, ...]
    views: tuple[tuple[float, float], ...]
    width_mm: float = 0.0
    widths: tuple[float, float] = USUAL
    foot: bool = False
    joint_mm: float = 0.0
    bends: float = 0.0
    beside_mm: tuple[float, float] | None = None

    @property
    def of_spine(self) -> bool:
        """Whether it shows a spine, which bends to the sides and is taken in more ways."""
        return self.part in SPINES

    @property
    def of_limb(self) -> bool:
        """Whether it shows a limb alone."""
        return self.views in (ROUND, SOLE)


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
        taken = films(marks[name])
        for film in taken:
            for _ in range(MORE_VIEWS if film.of_limb or film.of_spine else VIEWS):
                pixels = _film(body, film, rng)
                found.append(_sample(pixels, film.part, name))
        found += [_sample(_pair(body, taken, rng), "tlspine", name) for _ in range(PAIRS)]
    return tuple(found)


def _sample(pixels: NDArray[np.uint8], part: str, name: str) -> Sample:
    return Sample(pixels, _group(part), part, "", f"anatomy:{name}", drawn=True)


def _pair(body: Voxels, taken: Sequence[Film], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a thoracic and a lumbar spine side by side, as one image of both is often kept."""
    both = []
    for part in ("tspine", "lspine"):
        of_part = [film for film in taken if film.part == part]
        both.append(projected(body, of_part[int(rng.integers(len(of_part)))], rng))
    return drawn_films.beside(both, rng)


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


def films(marks: Mapping[str, Any]) -> tuple[Film, ...]:
    """Return the films of one body, by its landmarks in mm."""
    z = marks["z_mm"]
    sacrum, top = z["S2_S3_est"], z["vertex"]
    t1 = z.get("T1_bottom", z.get("T1_bottom_est"))
    trunk = (TRUNK,)
    found = [
        Film("skull", z["chin_mandible_bottom"] - 30, top + 15, trunk, FRONT + SIDE),
        Film("cspine", z["C7_T1"] - 40, z["odontoid_tip"] + 40, trunk, FRONT + SIDE, 190, NARROW),
        Film("cspine", z["C7_T1"] - 60, z["odontoid_tip"] + 60, trunk, SIDE + OBLIQUE),
        Film("tspine", z["T12_bottom"] - 30, t1 + 50, trunk, FRONT + SIDE, 260, NARROW),
        Film("tlspine", sacrum - 10, t1 + 50, trunk, FRONT + SIDE, 260, NARROW),
        Film("tlspine", z["iliac_crest_top"], t1 + 50, trunk, FRONT, 300, NARROW),
        Film("tlspine", z["iliac_crest_top"] + 35, t1 + 50, trunk, FRONT, 300, NARROW),
        Film("lspine", sacrum - 30, z["T12_bottom"] + 50, trunk, FRONT + SIDE, 230, LUMBAR),
        Film("lspine", sacrum - 40, z["T12_bottom"] + 70, trunk, SIDE + OBLIQUE),
        Film("spine", sacrum - 60, z["odontoid_tip"] + 60, trunk, FRONT + FRONT + SIDE, 300, NARROW),
        Film("spine", sacrum - 120, z["odontoid_tip"] + 60, EVERYTHING, FRONT, 420, NARROW),
        Film("spine", sacrum - 120, z["odontoid_tip"] + 80, EVERYTHING, FRONT + OBLIQUE),
        Film("chest", z["lung_base"] - 50, z["lung_apex"] + 60, EVERYTHING, FRONT),
        Film("chest", z["lung_base"] - 50, z["lung_apex"] + 60, trunk, SIDE),
        Film("abdomen", z["pubis_ischium_bottom"] - 10, z["lung_base"] + 50, trunk, FRONT, 420),
        Film("abdomen", z["pubis_ischium_bottom"] - 10, z["lung_base"] + 50, trunk, FRONT, 420),
        Film("abdomen", z["pubis_ischium_bottom"] - 10, z["lung_base"] + 170, trunk, FRONT, 460),
        Film("shoulder", z["lung_apex"] - 80, z["lung_apex"] + 50, EVERYTHING, FRONT),
        Film("shoulder", z["lung_apex"] - 50, z["lung_apex"] + 70, EVERYTHING, FRONT),
        Film("pelvis", z["pubis_ischium_bottom"] - 70, z["iliac_crest_top"] + 30,
             (TRUNK, RIGHT_LEG, LEFT_LEG), FRONT, 460),
        *(_beside("pelvis", marks, f"femur_{side}", (130.0, 110.0), 95.0) for side in ("right", "left")),
        *(_beside("shoulder", marks, f"humerus_{side}", (140.0, 70.0), 110.0) for side in ("right", "left")),
    ]  # fmt: skip
    for side, leg, arm in (("right", RIGHT_LEG, RIGHT_ARM), ("left", LEFT_LEG, LEFT_ARM)):
        found += [*_leg(z, side, leg), *_arm(marks["limbs"], side, arm)]
    return tuple(found)


def _beside(
    part: str, marks: Mapping[str, Any], bone: str, reach_mm: tuple[float, float], half_mm: float
) -> Film:
    """Return the film of a hip or shoulder: round the upper end of a bone, seen from the front."""
    height, _, x = marks["limbs"][bone]["proximal_end"]
    views = ((0.0, 18.0), (180.0, 18.0))
    return Film(
        part, height - reach_mm[0], height + reach_mm[1], EVERYTHING, views,
        beside_mm=(x - half_mm, x + half_mm),
    )  # fmt: skip


def _leg(z: Mapping[str, float], side: str, leg: int) -> Iterable[Film]:
    knee, ankle, hip, shown = (
        z[f"femur_bottom_{side}"], z[f"tibia_bottom_{side}"], z[f"femur_top_{side}"], (leg,)
    )  # fmt: skip
    both = (RIGHT_LEG, LEFT_LEG)
    yield Film("thigh", knee - 40, hip + 10, shown, ROUND)
    yield Film("thigh", knee - 40, hip + 60, (TRUNK, *both), FRONT)
    yield Film("knee", knee - 130, knee + 130, shown, ROUND, joint_mm=knee, bends=100.0)
    yield Film("knee", knee - 130, knee + 130, both, FRONT)
    yield Film("knee", knee - 65, knee + 65, shown, FRONT)
    yield Film("calf", ankle - 50, knee + 60, shown, ROUND)
    yield Film("ankle", z["body_bottom"] - 10, ankle + 120, shown, ROUND, joint_mm=ankle, bends=35.0)
    yield Film("foot", z["body_bottom"] - 10, ankle + 5, shown, SOLE, foot=True)
    yield Film("foot", z["body_bottom"] - 10, ankle + 40, shown, SOLE, foot=True)


def _arm(limbs: Mapping[str, Any], side: str, arm: int) -> Iterable[Film]:
    humerus, hand = limbs[f"humerus_{side}"], limbs[f"hand_{side}"]
    shoulder, elbow = humerus["proximal_end"][0], humerus["distal_end"][0]
    wrist, shown = hand["wrist"][0], (arm,)
    tip = hand["finger_tip_bone"][0]
    yield Film("arm", elbow - 50, shoulder + 40, shown, ROUND)
    yield Film("elbow", elbow - 110, elbow + 100, shown, ROUND, joint_mm=elbow, bends=120.0)
    yield Film("forearm", wrist - 40, elbow + 40, shown, ROUND)
    yield Film("forearm", wrist - 60, elbow + 90, shown, ROUND, joint_mm=elbow, bends=110.0)
    yield Film("wrist", wrist - 80, wrist + 100, shown, ROUND, joint_mm=wrist, bends=45.0)
    yield Film("wrist", wrist - 120, wrist + 90, shown, ROUND, joint_mm=wrist, bends=45.0)
    yield Film("wrist", tip - 10, wrist + 110, shown, ROUND, joint_mm=wrist, bends=45.0)
    yield Film("hand", tip - 10, wrist + 40, shown, ROUND, joint_mm=wrist, bends=30.0)
    yield Film("hand", tip - 10, wrist + 40, shown, ROUND, joint_mm=(tip + wrist) / 2, bends=110.0)
    yield Film("hand", tip - 10, wrist - 50, shown, ROUND, 45, joint_mm=(2 * tip + wrist) / 3, bends=80.0)


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
