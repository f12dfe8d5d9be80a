"""Series of real CT volumes: as they were scanned, and cut out of them as other protocols would scan.

What a volume covers follows from the manifest's labels of its slices; landmarks between which other
protocols lie are read off the borders of these labels. Volumes with two readings have no label of the whole.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from model.series_labels import AXES, OTHER
from model.training.data import UNSCORED, Row, load, read_manifest, true_subject
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
    tilt_drawn,
)
from model.training.volume_protocols import EAR, FACE, PROTOCOLS, SPINE, Protocol, ends
from model.volumes import AIR_HU, Volume

LEAST: Final = 8
"""Slices that a file must have to be a volume."""
SPINES: Final = ("cspine", "tspine", "lspine")
LIMBS: Final = ("thigh", "knee", "calf", "foot", "shoulder", "arm", "elbow", "forearm", "hand")
SLACK_MM: Final = 6.0
PLANNED: Final = "protocol name"


@dataclass(frozen=True, eq=False)
class Scan:
    """A real volume: values int16 (up, back, left), mm, the region of each slice, and known landmarks in mm.

    `part` is the label of the whole, None where there are two readings; `contrast` -1 where not known.
    """

    values: NDArray[np.int16]
    spacing_mm: tuple[float, float, float]
    regions: NDArray[np.int8]
    heights: Mapping[str, float]
    part: str | None
    contrast: int
    source: str
    subject: str
    name: str

    @property
    def shows(self) -> str:
        """The region that most of its slices show."""
        known = self.regions[self.regions != NOBODY]
        return REGIONS[int(np.bincount(known).argmax())] if len(known) else ""

    @property
    def length_mm(self) -> float:
        """How far it reaches from its lowest to its highest slice."""
        return len(self.values) * self.spacing_mm[0]


def load_scans(data: Path, subjects: frozenset[str]) -> tuple[Scan, ...]:
    """Read the volumes in Hounsfield units of these true subjects."""
    found = []
    for row in read_manifest(data, "CT"):
        volume = row.file.endswith(".npz") and row.hounsfield and row.plane == "axial"
        if volume and true_subject(row.subject) in subjects:
            scan = _scan(data, row)
            if scan is not None:
                found.append(scan)
    return tuple(found)


def _scan(data: Path, row: Row) -> Scan | None:
    stack = load(data, row)
    if len(stack.images) < LEAST or stack.spacing_mm is None or stack.positions_mm is None:
        return None
    heights = stack.positions_mm - stack.positions_mm[0]
    step = float(np.clip(np.median(np.diff(heights)), 1.0, 8.0))
    wanted = np.arange(0.0, heights[-1] + step / 2, step)
    nearest = np.abs(heights[np.newaxis] - wanted[:, np.newaxis]).argmin(axis=1)
    named = [row.label(int(index)) for index in nearest]
    regions = np.array(
        [NOBODY if key is None or key in UNSCORED else REGIONS.index(key) for key in named], np.int8
    )
    values = np.stack([stack.images[index] for index in nearest]).astype(np.int16)
    cover = _cover(regions, step)
    part = _part(cover)
    spine = any(key in SPINES for key in cover)
    marks = {} if part == OTHER else _levels(regions, step) if spine else _landmarks(regions, step)
    told = _told(row.contrast)
    return Scan(values, (step, *stack.spacing_mm), regions, marks, part, told, row.source,
                true_subject(row.subject), row.file)  # fmt: skip


def _told(contrast: str) -> int:
    """Return whether contrast medium was given, as an index into CONTRASTS; NOBODY where that is not known.

    The name of a protocol tells what was planned: the aorta of the one volume that is so told has 35 HU.
    """
    first = contrast.split(" ")[0].strip(",;")
    return NOBODY if PLANNED in contrast else {"yes": 1, "no": 0}.get(first, NOBODY)


def _cover(regions: NDArray[np.int8], step_mm: float) -> dict[str, float]:
    """Return how many mm of each region a volume covers."""
    found: defaultdict[str, float] = defaultdict(float)
    for index in regions:
        if index != NOBODY:
            found[REGIONS[index]] += step_mm
    return dict(found)


def _part(cover: Mapping[str, float]) -> str | None:
    """Return the label of a volume by what it covers, None where two would do."""

    def mm(name: str) -> float:
        return cover.get(name, 0.0)

    limbs = sum(mm(name) for name in LIMBS)
    if limbs:
        return OTHER if limbs >= 0.75 * sum(cover.values()) else None
    spines = tuple(name for name in SPINES if mm(name) >= 60 or mm(name) == sum(cover.values()))
    if any(mm(name) for name in SPINES):
        named = {("cspine",): "cspine", ("tspine",): "tspine", ("lspine",): "lspine",
                 ("cspine", "tspine"): "ct_spine", ("tspine", "lspine"): "tl_spine"}  # fmt: skip
        return named.get(spines)
    both = mm("abdomen_chest") / 2
    chest, abdomen = mm("chest") + both, mm("abdomen") + both
    if mm("head") + mm("neck") > chest + abdomen:
        return _head(mm("head"), mm("neck"), chest)
    if mm("head") > 0:
        return None
    if mm("pelvis") >= 60:
        whole = mm("chest") >= 80 and abdomen >= 80
        return "chest_abdomen_pelvis" if whole else "abdomen_pelvis" if abdomen >= 100 else None
    if mm("pelvis"):
        return "chest_abdomen_pelvis" if mm("chest") >= 80 else None
    return "chest" if chest > abdomen else "abdomen"


def _head(head: float, neck: float, chest: float) -> str | None:
    if head >= 100 and neck < 50 and not chest:
        return "head"
    if head >= 60 and neck >= 80:
        return "head_neck"
    return "neck" if head < 60 and neck >= 80 else None


def _landmarks(regions: NDArray[np.int8], step_mm: float) -> dict[str, float]:
    """Return the heights in mm that the labels' borders tell, and those that lie at a known distance of them.

    The distances are means of the three anatomies.
    """

    def span(name: str) -> tuple[float, float] | None:
        found = np.flatnonzero(regions == REGIONS.index(name))
        return (float(found[0]) * step_mm, float(found[-1] + 1) * step_mm) if len(found) else None

    marks: dict[str, float] = {}
    head, neck, chest, both = (span(name) for name in ("head", "neck", "chest", "abdomen_chest"))
    abdomen, pelvis = span("abdomen"), span("pelvis")
    if head is not None and neck is not None:
        base = neck[1]
        marks |= {"skull_base": base, "chin": base - 68.0, "eyes": base + 40.0, "ear": base + 18.0}
    elif head is not None and head[1] - head[0] > 100:
        marks |= {"skull_base": head[0], "eyes": head[0] + 40.0, "ear": head[0] + 18.0}
    if head is not None and head[1] - head[0] > 100:
        marks["vertex"] = len(regions) * step_mm
    if neck is not None and chest is not None:
        marks |= {"apex": neck[0], "c7": neck[0] + 21.0}
    if both is not None and abdomen is not None:
        marks["base"] = both[0]
    if both is not None and chest is not None:
        marks["dome"] = both[1]
    if abdomen is not None and pelvis is not None:
        marks |= {"crest": pelvis[1], "bifurcation": pelvis[1]}
        if pelvis[1] - pelvis[0] > 120:
            marks["pubis"] = max(0.0, pelvis[1] - 200.0)
    return marks


def _levels(regions: NDArray[np.int8], step_mm: float) -> dict[str, float]:
    """Return the landmarks of a spine: the border of T12, and the ends of what the volume holds of its parts.

    A spine that ends within a part is what such protocols often hold.
    """
    thoracic, lumbar = (np.flatnonzero(regions == REGIONS.index(name)) for name in ("tspine", "lspine"))
    marks: dict[str, float] = {}
    if len(thoracic) and len(lumbar):
        marks["t12"] = float(lumbar[-1] + thoracic[0] + 1) / 2 * step_mm
    if len(lumbar) * step_mm >= 80:
        marks["s2"] = 0.0
    if len(thoracic) * step_mm >= 100:
        marks["c7"] = float(thoracic[-1] + 1) * step_mm
    return marks


def possible(scan: Scan) -> dict[str, tuple[Protocol | None, ...]]:
    """Return the labels that series of a scan can have, with the protocols; None is the scan as it is."""
    found: defaultdict[str, list[Protocol | None]] = defaultdict(list)
    if scan.part is not None:
        found[scan.part].append(None)
    for each in PROTOCOLS:
        low, high = scan.heights.get(each.low[0]), scan.heights.get(each.high[0])
        if low is None or high is None:
            continue
        inside = low + each.low[1][1] > -SLACK_MM and high + each.high[1][0] < scan.length_mm + SLACK_MM
        if inside and high + each.high[1][0] - low - each.low[1][1] > 25:
            found[each.part].append(each)
    return {name: tuple(each) for name, each in found.items()}


def draw(
    scan: Scan, part: str, protocol: Protocol | None, rng: np.random.Generator, axis: str | None = None,
    plain: bool = False,
) -> Draw:  # fmt: skip
    """Draw a series of a scan; a `plain` one is neither stretched nor tilted nor made noisier."""
    axis = axis or axis_drawn(rng)
    low, high = 0.0, scan.length_mm
    if protocol is not None:
        wanted = ends(protocol, scan.heights, rng)
        low, high = max(low, wanted[0]), min(high, wanted[1])
    if not plain:
        low, high = shortened(part, low, high, rng)
    middle, size = _field(scan, protocol, low, high, rng)
    tilt = (0.0, 0.0, 0.0) if plain else tilt_drawn(axis, rng)
    bone = not plain and protocol is not None and bool(rng.random() < protocol.bone)
    box = Box(((low + high) / 2, *middle), (high - low, *size), tilt, axis, bone)
    shape, spacing = grid(box, rng)
    places = sources(box, person_drawn(rng, 0.0 if plain else 0.6), shape, spacing)
    values = _sampled(scan, places)
    if not plain:
        values = mixed_slabs(values, axis, rng)
        values = imaged(values, box, rng) if rng.random() < 0.7 else values
        if rng.random() < 0.5:
            values = np.ascontiguousarray(values[:, :, ::-1])
    regions = _regions(scan, protocol, places[0][:, shape[1] // 2, shape[2] // 2])
    return Draw(Volume(values, spacing), regions, part_index(part), AXES.index(axis), scan.contrast,
                scan.source, scan.subject)  # fmt: skip


def _sampled(scan: Scan, places: NDArray[np.float32]) -> NDArray[np.float32]:
    index = places / np.array(scan.spacing_mm, np.float32)[:, np.newaxis, np.newaxis, np.newaxis]
    low = [max(0, int(np.floor(each.min())) - 1) for each in index]
    high = [max(a + 2, int(np.ceil(each.max())) + 2) for a, each in zip(low, index, strict=True)]
    part = scan.values[low[0] : high[0], low[1] : high[1], low[2] : high[2]].astype(np.float32)
    if 0 in part.shape:
        return np.full(places.shape[1:], AIR_HU, np.float32)
    index -= np.array(low, np.float32)[:, np.newaxis, np.newaxis, np.newaxis]
    index[0] = index[0].clip(0, part.shape[0] - 1)
    return np.asarray(ndimage.map_coordinates(part, index, order=1, cval=AIR_HU), np.float32)


def _field(
    scan: Scan, protocol: Protocol | None, low: float, high: float, rng: np.random.Generator
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the middle (y, x) and the size (depth, width) of the field of view in mm."""
    _, down, right = scan.spacing_mm
    rows, columns = scan.values.shape[1:]
    whole = (rows * down / 2, columns * right / 2), (rows * down, columns * right)
    uncut = protocol is None or protocol.field_mm == (0.0, 0.0) or "t12" in scan.heights
    if protocol is None or uncut:
        return whole
    first, last = (
        int(low / scan.spacing_mm[0]),
        max(int(high / scan.spacing_mm[0]), int(low / scan.spacing_mm[0]) + 1),
    )
    body = scan.values[first:last]
    seen = np.argwhere((body > -300).mean(axis=0) > 0.5)
    if not len(seen):
        return whole
    y, x = seen.mean(axis=0) * (down, right)
    side = float(rng.uniform(*protocol.field_mm))
    if protocol.centre == SPINE:
        bone = cv2.GaussianBlur((body > 180).mean(axis=0).astype(np.float32), (0, 0), 15.0 / down)
        place = np.unravel_index(int(bone.argmax()), bone.shape)
        y, x = float(place[0]) * down, float(place[1]) * right
    elif protocol.centre == FACE:
        y = float(np.quantile(seen[:, 0], 0.02)) * down + side * float(rng.uniform(0.35, 0.5))
    elif protocol.centre == EAR:
        x += float(rng.choice([-1, 1])) * float(rng.uniform(38, 58))
    return (float(y + rng.normal(0, 6)), float(x + rng.normal(0, 6))), (side, side)


def _regions(scan: Scan, protocol: Protocol | None, heights_mm: NDArray[np.float32]) -> NDArray[np.int8]:
    index = np.floor(heights_mm / scan.spacing_mm[0]).astype(np.int64)
    inside = (index >= 0) & (index < len(scan.regions))
    found = np.where(inside, scan.regions[index.clip(0, len(scan.regions) - 1)], NOBODY).astype(np.int8)
    if protocol is not None and protocol.centre == SPINE and "t12" not in scan.heights:
        c7 = scan.heights["c7"]
        found = np.where(heights_mm > c7 - 8, REGIONS.index("cspine"), NOBODY).astype(np.int8)
    return found
