"""Synthetic slices: tissue classes of a whole-body anatomy turned into Hounsfield or MR intensities.

Only three anatomies exist, so the intensities carry the variety: CT values jitter per tissue, with
contrast medium in half the draws; MR intensities are drawn per tissue, weighted T1, T2, fat-suppressed
or at random. A real CT can be turned into something like an MR as well (`mr_from_ct`): that gives the
MR model the limbs and spines of many more people than the MR data holds.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.training import physique, texture, upright
from model.training.augment import Field
from model.training.bodies import LEFT_ARM, RIGHT_ARM, TISSUES, Body, Site
from model.training.sequences import Contrast, contrast

SPONGY: Final = 5
# tissue class -> Hounsfield units; classes.csv of the anatomies numbers the tissues.
HOUNSFIELD: Final = np.array(
    [-1000, -30, -100, 50, 900, 250, 60, 90, -820, -950, 36, 10, 38, 58, 48, 34, 42, 42, 38, 20,
     42, 8, 8, 45, 25, 30, 1800, 35, 75, 80, 60], np.float32,
)  # fmt: skip
ENHANCED: Final = {13: 45.0, 14: 70.0, 15: 110.0, 16: 60.0, 17: 180.0, 18: 35.0, 20: 50.0, 23: 50.0}
"""What contrast medium adds at most, by tissue: liver, spleen, kidney, heart, vessels, gut, glands."""

TILTED: Final = {"hand": 50.0, "foot": 35.0, "forearm": 45.0, "arm": 55.0, "elbow": 30.0, "shoulder": 30.0,
                 "knee": 20.0, "calf": 25.0, "thigh": 20.0}  # fmt: skip
"""How many degrees a region's plane may be tilted from the axial one."""
FINE_PIXELS: Final = 180
"""Pixels that a small field of view is drawn with: joints are scanned finely, the anatomies are not."""
MOST_FINE: Final = 3
ARTHROGRAMS: Final = 0.1
"""How often contrast medium fills a joint in CT."""
REACH_MM: Final = 200.0
"""Half the side of what a tilted plane shows at most."""


BOTH_SHARE: Final = 0.35
ELSEWHERE_MM: Final = 70.0
"""How often the other arm or hand lies beside one, and how much higher or lower that is cut (1 std)."""
JOINTS: Final = frozenset({"shoulder", "elbow", "hand", "knee", "foot", "pelvis"})
"""Regions that hold a joint, so that cartilage and fluid line their bones."""


@dataclass(frozen=True)
class Drawing:
    """A synthetic image: float32 (rows, columns), and the field of view as (top, left, bottom, right).

    `spacing_mm` is the side of its pixels; the field of view is in pixels. `family` is the MR sequence.
    """

    values: NDArray[np.float32]
    field: Field
    spacing_mm: float
    label: str
    family: str | None = None


def draw(body: Body, site: Site, modality: str, rng: np.random.Generator) -> Drawing:
    """Cut one random slice (or thick slab) of a site and give it intensities."""
    z = int(rng.integers(site.first, site.last + 1))
    parts = site.parts[int(rng.integers(len(site.parts)))]
    thick = int(rng.integers(2, 6)) if rng.random() < 0.3 else 1
    stop = min(z + thick, site.last + 1)
    if site.region in TILTED and rng.random() < 0.5:
        tissue, field = _oblique(body, site, z, parts, stop - z, rng)
    else:
        tissue = np.where(np.isin(body.part[z:stop], parts), body.tissue[z:stop], 0)
        field = _field(body, site, z, tissue[0], rng)
    if parts in ((RIGHT_ARM,), (LEFT_ARM,)) and rng.random() < BOTH_SHARE:
        tissue, field = with_other(tissue, field, rng, _elsewhere(body, z, parts[0], len(tissue), rng))
    return _painted(tissue, field, body.spacing_mm, site.region, modality, rng)


def draw_upright(body: Body, site: Site, rng: np.random.Generator) -> Drawing:
    """Cut a plane along the body through a site and give it MR brightness."""
    plane = upright.cut(body, site, rng)
    tissue = plane.values.astype(np.uint8)[np.newaxis]
    return _painted(tissue, plane.field, plane.spacing_mm, site.region, "MR", rng)


def _painted(
    tissue: NDArray[np.uint8], field: Field, spacing_mm: float, region: str, modality: str,
    rng: np.random.Generator,
) -> Drawing:  # fmt: skip
    """Make another person of tissue classes (slices, rows, columns), and give them intensities."""
    top, left, bottom, right = _window(field, tissue.shape[1:])
    # the field of view may reach beyond the body's array; what lies there is air
    cut = tissue[:, top:bottom, left:right]
    times = 1
    if len(cut) == 1:
        times = _finer(field) if rng.random() < 0.8 else 1
        person = _person(cut[0], spacing_mm, times, rng)
        if region in JOINTS and rng.random() < (0.6 if modality == "MR" else 0.3):
            person = texture.lined(person, spacing_mm / times, rng)
        cut = person[np.newaxis]
    drawn = None if modality == "CT" else contrast(rng, region)
    fine_mm = spacing_mm / times
    values = _ct(cut, fine_mm, region, rng) if drawn is None else _mr(cut, fine_mm, region, drawn, rng)
    low, high = times * (field[0] - top), times * (field[2] - top)
    near, far = times * (field[1] - left), times * (field[3] - left)
    return Drawing(values, (low, near, high, far), fine_mm, region, drawn.family if drawn else None)


def _elsewhere(body: Body, z: int, arm: int, thick: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Cut the same arm a little higher or lower, as the other one lies where hands are folded."""
    first, last = body.arm_heights[arm]
    wanted = z + rng.normal(0.0, ELSEWHERE_MM) / body.spacing_mm
    low = int(np.clip(wanted, first, max(first, last + 1 - thick)))
    cut = slice(low, low + thick)
    return np.where(body.part[cut] == arm, body.tissue[cut], 0).astype(np.uint8)


def with_other(
    tissue: NDArray[np.uint8], field: Field, rng: np.random.Generator, other: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], Field]:
    """Lay the mirror image of `other` beside a limb, both (slices, rows, columns), some of it in view.

    Raised arms and folded hands lie so; in the anatomies the arms hang far apart.
    """
    columns, rows = np.flatnonzero(tissue.any(axis=(0, 1))), np.flatnonzero(tissue.any(axis=(0, 2)))
    theirs = np.flatnonzero(other.any(axis=(0, 1)))
    if not (columns.size and theirs.size):
        return tissue, field
    width, height = int(theirs[-1] + 1 - theirs[0]), int(rows[-1] + 1 - rows[0])
    gap = int(rng.integers(0, width // 2 + 1))
    mirrored = other[:, :, theirs[0] : theirs[-1] + 1][:, :, ::-1]
    level = rows.mean() - np.flatnonzero(other.any(axis=(0, 2))).mean() + rng.normal(0, 0.2 * height)
    reach = max(other.shape[1], tissue.shape[1])
    wider = np.zeros((len(tissue), tissue.shape[1], tissue.shape[2] + width + gap), np.uint8)
    wider[:, :, : tissue.shape[2]] = tissue
    placed = np.pad(mirrored, ((0, 0), (reach, reach), (0, 0)))[:, reach - round(level) :][
        :, : tissue.shape[1]
    ]
    first = int(columns[-1]) + 1 + gap
    place = slice(first, first + width)
    wider[:, :, place] = np.where(wider[:, :, place] > 0, wider[:, :, place], placed)
    top, left, bottom, right = field
    return wider, (top, left, bottom, right + float(rng.uniform(0.0, 1.1)) * (width + gap))


def _finer(field: Field) -> int:
    """Return how many times finer the voxels must be for a field of view to fill FINE_PIXELS."""
    longest = max(field[2] - field[0], field[3] - field[1], 1.0)
    return int(np.clip(round(FINE_PIXELS / longest), 1, MOST_FINE))


def _person(
    cut: NDArray[np.uint8], spacing_mm: float, times: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    other = physique.another(cut, spacing_mm, rng)
    if times > 1:
        other = physique.finer(other, times)
    return physique.supplied(other, spacing_mm / times, rng) if rng.random() < 0.7 else other


def _ct(
    cut: NDArray[np.uint8], spacing_mm: float, region: str, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return Hounsfield units (rows, columns) of tissue classes (slices, rows, columns)."""
    table = hounsfield_table(rng)
    if region in JOINTS and rng.random() < ARTHROGRAMS:
        table[texture.FLUID] = rng.uniform(200.0, 1500.0)
    values = table[cut].mean(axis=0, dtype=np.float32)
    if region in JOINTS and rng.random() < 0.15:
        values = texture.fading(values, cut[0], spacing_mm, float(table[physique.MUSCLE]), rng)
    if rng.random() < 0.7:
        values = texture.bundled(values, cut[0], spacing_mm, float(rng.uniform(2.0, 14.0)), rng)
    values = _texture(_trabeculae(values, cut[0], rng), cut[0] > 0, 12.0, rng)
    return _table_top(values, cut[0] > 0, rng) if rng.random() < 0.3 else values


def _mr(
    cut: NDArray[np.uint8], spacing_mm: float, region: str, drawn: Contrast, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return MR brightness 0..1.2 (rows, columns) of tissue classes (slices, rows, columns)."""
    values = drawn.table[cut].mean(axis=0, dtype=np.float32)
    if drawn.opposed:
        values = _out_of_phase(values, cut[0], rng)
    if region in JOINTS and rng.random() < 0.1:
        values = texture.fading(values, cut[0], spacing_mm, float(drawn.table[physique.MUSCLE]), rng)
    if rng.random() < 0.8:
        muscle, fat = drawn.table[[physique.MUSCLE, physique.FAT]] * rng.uniform(0.03, 0.2, 2)
        values = texture.bundled(values, cut[0], spacing_mm, float(muscle), rng)
        values = texture.patchy(values, cut[0], spacing_mm, float(fat), rng)
    if drawn.suppressed_times > 1.0 and rng.random() < 0.5:
        values = texture.unevenly_suppressed(values, cut[0], drawn.suppressed_times, rng)
    if drawn.family == "mra":
        values = texture.vessels(values, cut[0], spacing_mm, float(drawn.table[physique.VESSEL]), rng)
    values = np.clip(values, 0.0, 1.2)
    return _texture(values, cut[0] > 0, float(rng.uniform(0.005, 0.035)), rng)


def _oblique(
    body: Body, site: Site, z: int, parts: tuple[int, ...], thick: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Field]:
    """Cut a plane tilted about both its axes, `thick` voxels deep: limbs rarely lie along the scanner.

    Returns uint8 (thick, n, n) tissue with the site's centre in the middle, and the field of view.
    """
    y, x = _centre(body, site, z, parts)
    reach = round(REACH_MM / body.spacing_mm)
    most = np.deg2rad(TILTED[site.region])
    pitch, roll = rng.uniform(-most, most, 2) * (1.0, rng.uniform(0.0, 0.7))
    side = np.arange(-reach, reach + 1)
    v, u = np.meshgrid(side, side, indexing="ij")
    heights = z + v * np.sin(pitch) + u * np.sin(roll) * np.cos(pitch)
    rows, columns = y + v * np.cos(pitch), x + u * np.cos(roll)
    deep = np.round(heights + np.arange(thick)[:, None, None]).astype(np.int64)
    row, column = np.round(rows).astype(np.int64), np.round(columns).astype(np.int64)
    depth, height, width = body.tissue.shape
    inside = (deep >= 0) & (deep < depth) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = deep.clip(0, depth - 1), row.clip(0, height - 1), column.clip(0, width - 1)
    tissue = np.where(inside & np.isin(body.part[place], parts), body.tissue[place], 0).astype(np.uint8)
    if site.centre is None:
        return tissue, _field(body, site, z, tissue[0], rng)
    half = rng.uniform(*site.field_mm) / body.spacing_mm / 2.0
    return tissue, (reach - half, reach - half, reach + half, reach + half)


def _centre(body: Body, site: Site, z: int, parts: tuple[int, ...]) -> tuple[float, float]:
    """Return where (y, x) a site is centred at height `z`: as it says itself, or amid its parts."""
    if site.centre is None:
        y, x = np.argwhere(np.isin(body.part[z], parts)).mean(axis=0)
    else:
        y, x = site.centre if site.centre.ndim == 1 else site.centre[z - site.first]
    return float(y), float(x)


def _field(body: Body, site: Site, z: int, tissue: NDArray[np.uint8], rng: np.random.Generator) -> Field:
    if site.centre is None:
        rows, columns = np.flatnonzero(tissue.any(axis=1)), np.flatnonzero(tissue.any(axis=0))
        if rows.size == 0:
            return (0.0, 0.0, float(tissue.shape[0]), float(tissue.shape[1]))
        margin = rng.uniform(1.0, 12.0) / body.spacing_mm
        return (rows[0] - margin, columns[0] - margin, rows[-1] + margin, columns[-1] + margin)
    y, x = _centre(body, site, z, ())
    half = rng.uniform(*site.field_mm) / body.spacing_mm / 2.0
    return (float(y - half), float(x - half), float(y + half), float(x + half))


def _window(field: Field, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return the part of the array that a widened field of view can reach, as slice bounds."""
    height, width = field[2] - field[0], field[3] - field[1]
    top, left = max(0, int(field[0] - 0.4 * height)), max(0, int(field[1] - 0.4 * width))
    bottom, right = int(field[2] + 0.4 * height) + 1, int(field[3] + 0.4 * width) + 1
    return top, left, min(shape[0], max(bottom, top + 1)), min(shape[1], max(right, left + 1))


def hounsfield_table(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return float32 (31,) Hounsfield units by tissue, jittered, enhanced by contrast in half the draws."""
    table = HOUNSFIELD + rng.normal(0, 8, TISSUES).astype(np.float32)
    bone = np.float32(rng.uniform(0.6, 1.4))
    table[[4, 5, 26]] *= bone
    table[6] = rng.uniform(-80, 100)
    table[8] = rng.uniform(-920, -700)
    table[19] = rng.choice([rng.uniform(-900, -200), rng.uniform(-20, 60), rng.uniform(100, 400)])
    if rng.random() < 0.5:
        phase = rng.uniform(0.3, 1.3)
        for tissue, added in ENHANCED.items():
            table[tissue] += phase * added * rng.uniform(0.3, 1.2)
    return table


def mr_from_ct(values: NDArray[np.float32], drawn: Contrast, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return an MR-like image 0..1.2 (rows, columns) of a CT image in Hounsfield units."""
    table = drawn.table
    fat, soft, marrow = float(table[2]), float(table[3]), float(table[5])
    fluid, organ, bright = float(table[11]), float(table[13]), float(table[17])
    units = [-1000, -500, -150, -100, -60, 0, 50, 85, 140, 250, 500, 800]
    levels = [0.0, 0.04, fat * 0.7, fat, fat, (soft + fluid) / 2, soft, organ, (bright + organ) / 2, marrow,
              0.15, 0.04]  # fmt: skip
    quiet = cv2.blur(values, (3, 3)) if rng.random() < 0.5 else values
    return np.asarray(np.interp(quiet, units, np.clip(levels, 0.0, 1.2)), np.float32)


def _out_of_phase(
    values: NDArray[np.float32], cut: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Blacken the borders between fat and water, whose signals cancel there."""
    kernel = np.ones((3, 3), np.uint8)
    fat = np.isin(cut, texture.FATTY).astype(np.uint8)
    water = ((cut > 0) & (fat == 0)).astype(np.uint8)
    border = (cv2.dilate(fat, kernel) & cv2.dilate(water, kernel)) > 0
    return np.where(border, values * np.float32(rng.uniform(0.05, 0.5)), values)


def _texture(
    values: NDArray[np.float32], body: NDArray[np.bool_], amount: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    coarse = rng.normal(0, amount, (values.shape[0] // 3 + 1, values.shape[1] // 3 + 1)).astype(np.float32)
    grain = cv2.resize(coarse, (values.shape[1], values.shape[0]), interpolation=cv2.INTER_LINEAR)
    sigma = float(rng.uniform(0.4, 1.0))
    return np.asarray(cv2.GaussianBlur(values + grain * body, (0, 0), sigma), np.float32)


def _trabeculae(
    values: NDArray[np.float32], cut: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Give spongy bone its honeycomb, coarse in the old: no bone is of one density."""
    strength = rng.uniform(20.0, 160.0)
    rows, columns = values.shape
    grain = int(rng.integers(1, 4))
    noise = rng.normal(0, strength, (rows // grain + 1, columns // grain + 1)).astype(np.float32)
    honeycomb = cv2.resize(noise, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return np.asarray(values + honeycomb * (cut == SPONGY), np.float32)


def _table_top(
    values: NDArray[np.float32], body: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Put the patient table, a bright arc, under the body."""
    rows = np.flatnonzero(body.any(axis=1))
    height, width = values.shape
    bottom = int(rows[-1]) + int(rng.integers(1, 6)) if rows.size else height
    depth = int(rng.integers(0, max(1, width // 6)))
    painted = np.ascontiguousarray(values)
    value = float(rng.uniform(-300, 300))
    cv2.ellipse(painted, (width // 2, bottom - depth), (width, max(1, depth)), 0, 0, 180, value, 1)
    return np.where(body, values, painted)
