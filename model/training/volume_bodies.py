"""Synthetic CT series of the whole-body anatomies: any protocol, axis, tilt, thickness, kernel and phase."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.series_labels import AXES
from model.training import physique, volume_tissues
from model.training.bodies import LEFT_ARM, LEFT_LEG, RIGHT_ARM, RIGHT_LEG, TRUNK, Body, Site, load_bodies
from model.training.volume_draw import (
    NOBODY,
    REGIONS,
    Box,
    Draw,
    axis_drawn,
    grid,
    imaged,
    mixed_slabs,
    part_index,
    person_drawn,
    shortened,
    sources,
    table_top,
    tilt_drawn,
)
from model.training.volume_protocols import (
    BODY,
    EAR,
    FACE,
    HEAD,
    LIMB,
    SPINE,
    Protocol,
    chosen,
    ends,
)
from model.training.volume_tissues import BRAIN
from model.volumes import Volume

EYE: Final = 25
LIMBS: Final = ("thigh", "knee", "calf", "foot", "shoulder", "arm", "elbow", "forearm", "hand")
ARMS: Final = (RIGHT_ARM, LEFT_ARM)
LEGS: Final = (RIGHT_LEG, LEFT_LEG)


@dataclass(frozen=True, eq=False)
class Figure:
    """A body with what protocols need: heights in mm, the brain's and the eyes' centre (y, x) in mm."""

    body: Body
    heights: Mapping[str, float]
    brain_mm: tuple[float, float]
    eyes_mm: tuple[float, float]


def load_figures(data: Path, names: tuple[str, ...]) -> tuple[Figure, ...]:
    """Read the anatomies of these names. Raises FileNotFoundError where one is absent."""
    plain = json.loads((data / "anatomy" / "landmarks.json").read_text(encoding="utf-8"))
    return tuple(_figure(body, plain[body.name]["z_mm"]) for body in load_bodies(data, names))


def _figure(body: Body, z: Mapping[str, float]) -> Figure:
    def height(name: str) -> float:
        return float(next(value for key, value in z.items() if key.startswith(name)))

    eyes, brain = (
        np.argwhere(body.tissue == tissue).mean(axis=0) * body.spacing_mm for tissue in (EYE, BRAIN)
    )
    base = height("skull_base")
    heights = {
        "vertex": height("vertex"), "skull_base": base, "chin": height("chin"), "eyes": float(eyes[0]),
        "ear": base + 18.0, "c7": height("C7_T1"), "apex": height("lung_apex"), "dome": height("diaphragm"),
        "base": height("lung_base"), "t12": height("T12_bottom"), "crest": height("iliac_crest"),
        "bifurcation": height("L4_bottom"), "s2": height("S2_S3"), "pubis": height("pubis"),
        "trochanter": height("lesser_trochanter"),
    }  # fmt: skip
    return Figure(body, heights, (float(brain[1]), float(brain[2])), (float(eyes[1]), float(eyes[2])))


def draw(figure: Figure, part: str, rng: np.random.Generator) -> Draw:
    """Draw one series of a label out of a body."""
    protocol = chosen(part, rng)
    axis = axis_drawn(rng)
    if protocol.centre == LIMB:
        box, parts, site = _limb(figure, axis, rng)
    else:
        box, parts = _placed(figure, protocol, axis, rng)
        site = None
    person = person_drawn(rng)
    shape, spacing = grid(box, rng)
    places = sources(box, person, shape, spacing)
    tissue = _tissue(figure.body, places, parts)
    if axis == "axial" and rng.random() < 0.5:
        tissue = _another(tissue, spacing[1], rng)
    volume_tissues.supplied(tissue, spacing, rng)
    volume_tissues.veined(tissue, spacing, rng)
    enhanced = bool(rng.random() < 0.5)
    values = volume_tissues.table(enhanced, rng)[tissue]
    volume_tissues.mimics(values, tissue, spacing, rng)
    if protocol.centre in (BODY, HEAD) and rng.random() < 0.5:
        table_top(values, rng)
    values = imaged(mixed_slabs(values, axis, rng), box, rng)
    middle = places[0][:, shape[1] // 2, shape[2] // 2]
    regions = _regions(figure, protocol, site, middle)
    return Draw(Volume(values, spacing), regions, part_index(part), AXES.index(axis),
                int(enhanced), "anatomies", figure.body.name)  # fmt: skip


def _tissue(body: Body, places: NDArray[np.float32], parts: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the tissue class at each place in mm; air outside the body and in parts that are not in view."""
    index = np.round(places / np.float32(body.spacing_mm)).astype(np.int32)
    inside = np.ones(places.shape[1:], np.bool_)
    for axis, length in enumerate(body.tissue.shape):
        inside &= (index[axis] >= 0) & (index[axis] < length)
        np.clip(index[axis], 0, length - 1, out=index[axis])
    shown = np.zeros(256, np.bool_)
    shown[list(parts)] = True
    place = index[0], index[1], index[2]
    return np.where(inside & shown[body.part[place]], body.tissue[place], 0).astype(np.uint8)


def _another(tissue: NDArray[np.uint8], spacing_mm: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the tissue with more or less fat under the skin, alike in all slices."""
    change = float(rng.uniform(-10.0, 25.0)) / spacing_mm
    made = [physique.fatter(cut, change) if change > 0 else physique.thinner(cut, -change) for cut in tissue]
    return np.stack(made)


def _placed(
    figure: Figure, protocol: Protocol, axis: str, rng: np.random.Generator
) -> tuple[Box, tuple[int, ...]]:
    """Return what a scan of a protocol covers, and the parts of the body in view."""
    low, high = shortened(protocol.part, *ends(protocol, figure.heights, rng), rng)
    parts: tuple[int, ...] = (TRUNK,)
    if low < figure.heights["pubis"] + 60:
        parts += LEGS
    if high < figure.heights["vertex"] - 60 and rng.random() < 0.4:
        parts += ARMS
    middle, size = _field(figure, protocol, low, high, parts, rng)
    depth, width = size
    if axis == "coronal" and rng.random() < 0.5:
        depth *= rng.uniform(0.5, 1.0)
    if axis == "sagittal" and rng.random() < 0.5:
        width *= rng.uniform(0.4, 1.0)
    box = Box(((low + high) / 2, *middle), (high - low, depth, width), tilt_drawn(axis, rng), axis,
              bool(rng.random() < protocol.bone))  # fmt: skip
    return box, parts


def _field(figure: Figure, protocol: Protocol, low: float, high: float, parts: tuple[int, ...],
           rng: np.random.Generator) -> tuple[tuple[float, float], tuple[float, float]]:  # fmt: skip
    """Return the middle (y, x) and the size (depth, width) of the field of view in mm."""
    body = figure.body
    side = float(rng.uniform(*protocol.field_mm))
    y, x = figure.brain_mm
    if protocol.centre == FACE:
        y = figure.eyes_mm[0] + float(rng.uniform(20, 45))
    elif protocol.centre == EAR:
        x += float(rng.choice([-1, 1])) * float(rng.uniform(38, 58))
    elif protocol.centre == SPINE:
        y, x = _spine(body, low, high)
    elif protocol.centre == BODY:
        first, last = (int(np.clip(mm / body.spacing_mm, 0, len(body.tissue) - 1)) for mm in (low, high))
        seen = np.asarray(np.isin(body.part[first : last + 1 : 4], parts).any(axis=0), np.bool_)
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        y, x = (float(found[0] + found[-1]) / 2 * body.spacing_mm for found in (rows, columns))
        if protocol.field_mm == (0.0, 0.0):
            wide = float(columns[-1] - columns[0]) * body.spacing_mm
            deep = float(rows[-1] - rows[0]) * body.spacing_mm
            side = wide + float(rng.uniform(-40, 60))
            return (y, x), (min(side, deep + float(rng.uniform(-10, 80))), side)
    y, x = y + float(rng.normal(0, 8)), x + float(rng.normal(0, 8))
    return (y, x), (side, side)


def _spine(body: Body, low: float, high: float) -> tuple[float, float]:
    """Return the mean (y, x) in mm of the spine between two heights."""
    found = []
    for site in body.sites:
        if site.region.endswith("spine") and site.centre is not None:
            heights = np.arange(site.first, site.last + 1) * body.spacing_mm
            inside = (heights > low) & (heights < high)
            found += [site.centre[inside] * body.spacing_mm]
    y, x = np.concatenate(found).mean(axis=0)
    return float(y), float(x)


def _limb(figure: Figure, axis: str, rng: np.random.Generator) -> tuple[Box, tuple[int, ...], Site]:
    """Return a scan of a limb or a shoulder: some of its site, or a little more."""
    body = figure.body
    limb = LIMBS[int(rng.integers(len(LIMBS)))]
    sites = [site for site in body.sites if site.region == limb]
    site = sites[int(rng.integers(len(sites)))]
    parts = site.parts[int(rng.integers(len(site.parts)))]
    mm = body.spacing_mm
    length = (site.last - site.first) * mm * float(rng.uniform(0.5, 1.3))
    middle = (site.first + site.last) / 2 * mm + float(rng.normal(0, 15))
    z = round(float(np.clip(middle / mm, site.first, site.last)))
    if site.centre is not None:
        y, x = (site.centre if site.centre.ndim == 1 else site.centre[z - site.first]) * mm
        deep = wide = float(rng.uniform(*site.field_mm))
    else:
        seen = np.argwhere(np.isin(body.part[z], parts)) * mm
        y, x = seen.mean(axis=0)
        deep, wide = np.ptp(seen, axis=0) + float(rng.uniform(10, 60))
    tilt = tuple(float(v) for v in rng.normal(0, np.deg2rad(12), 3))
    box = Box((middle, float(y), float(x)), (length, float(deep), float(wide)), (tilt[0], tilt[1], tilt[2]),
              axis, bool(rng.random() < 0.5))  # fmt: skip
    return box, parts, site


def _regions(
    figure: Figure, protocol: Protocol, site: Site | None, heights_mm: NDArray[np.float32]
) -> NDArray[np.int8]:
    """Return the region at each height, int8 indices of REGIONS, NOBODY where none is known."""
    found = np.full(len(heights_mm), NOBODY, np.int8)
    if site is not None:
        mm = figure.body.spacing_mm
        found[(heights_mm >= site.first * mm) & (heights_mm <= site.last * mm)] = REGIONS.index(site.region)
        return found
    h = figure.heights
    if protocol.centre == SPINE:
        borders = [
            ("cspine", h["c7"] - 8, 1e9),
            ("tspine", h["t12"], h["c7"] - 8),
            ("lspine", -1e9, h["t12"]),
        ]
    else:
        borders = [("head", h["skull_base"], 1e9), ("neck", h["apex"], h["skull_base"]),
                   ("chest", h["dome"], h["apex"]), ("abdomen_chest", h["base"], h["dome"]),
                   ("abdomen", h["bifurcation"], h["base"]), ("pelvis", h["trochanter"], h["bifurcation"]),
                   ("thigh", -1e9, h["trochanter"])]  # fmt: skip
    for region, low, high in borders:
        found[(heights_mm >= low) & (heights_mm < high)] = REGIONS.index(region)
    return found
