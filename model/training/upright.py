"""Sagittal and coronal pictures of the anatomies, and such cuts of real CT volumes: planes along the body.

A whole image is of one region: that which its field of view is centred on, as a protocol has it. The
anatomies are cut at any angle about the body's long axis for limbs, and near the two planes for the
trunk. Rows of a picture run from the head to the feet.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.training.augment import Field
from model.training.bodies import Body, Site
from model.training.data import Sample

SPINE: Final = ("cspine", "tspine", "lspine")
LIMBS: Final = ("shoulder", "arm", "elbow", "forearm", "hand", "thigh", "knee", "calf", "foot")
HEIGHT_MM: Final[dict[str, tuple[float, float]]] = {
    "head": (190, 280), "neck": (180, 300), "cspine": (170, 280), "chest": (260, 480),
    "tspine": (270, 400), "abdomen": (250, 430), "lspine": (210, 350), "pelvis": (170, 420),
    "shoulder": (130, 240), "arm": (230, 380), "elbow": (110, 200), "forearm": (190, 330),
    "hand": (100, 260), "thigh": (280, 480), "knee": (120, 220), "calf": (260, 440), "foot": (130, 280),
}  # fmt: skip
"""Smallest and largest height of the field of view by region."""
LENT: Final = {"cspine": "neck", "tspine": "chest", "lspine": "abdomen"}
"""The region of the trunk whose CT shows a spine as well, in the plane through its middle."""
ASIDE_MM: Final = 28.0
"""A sagittal plane nearer to the spine's middle shows the spine; the trunk is shown by those further off."""
BONE_HU: Final = 200.0
AIR_HU: Final = -300.0


@dataclass(frozen=True)
class Cut:
    """A plane along the body: values (rows, columns), the field of view in pixels, the side of a pixel."""

    values: NDArray[np.generic]
    field: Field
    spacing_mm: float


def possible(site: Site) -> bool:
    """Say whether a site can be cut along the body: limbs need a line that they are centred on."""
    return site.region in HEIGHT_MM and (site.centre is not None or site.region not in LIMBS)


def cut(body: Body, site: Site, rng: np.random.Generator) -> Cut:
    """Cut a plane along the body through a site: uint8 tissue classes."""
    spacing = body.spacing_mm
    parts = site.parts[int(rng.integers(len(site.parts)))]
    z = float(np.clip(rng.normal(0.5, 0.15), 0.1, 0.9)) * (site.last - site.first) + site.first
    shown = np.isin(body.part[round(z)], parts)
    y, x = _middle(site, round(z), shown)
    yaw = _yaw(site.region, rng)
    along, across = np.array([np.sin(yaw), np.cos(yaw)]), np.array([np.cos(yaw), -np.sin(yaw)])
    off = _off(site.region, shown, across, rng) / spacing
    height = rng.uniform(*_heights(site)) / spacing
    width = height * rng.uniform(0.6, 1.15)
    ahead = rng.uniform(-10.0, 45.0) / spacing if site.region in SPINE else 0.0
    tilt = np.deg2rad(np.clip(rng.normal(0.0, 7.0), -20.0, 20.0))
    reach_v, reach_u = round(0.75 * height) + 2, round(0.75 * width) + 2
    v, u = np.meshgrid(np.arange(-reach_v, reach_v + 1), np.arange(-reach_u, reach_u + 1), indexing="ij")
    deep = off + v * np.sin(tilt)
    place = (
        np.round(z - v * np.cos(tilt)).astype(np.int64),
        np.round(y - ahead + u * along[0] + deep * across[0]).astype(np.int64),
        np.round(x + u * along[1] + deep * across[1]).astype(np.int64),
    )
    inside = np.logical_and.reduce(
        [(p >= 0) & (p < n) for p, n in zip(place, body.tissue.shape, strict=True)]
    )
    near = tuple(p.clip(0, n - 1) for p, n in zip(place, body.tissue.shape, strict=True))
    tissue = np.where(inside & np.isin(body.part[near], parts), body.tissue[near], 0).astype(np.uint8)
    half_v, half_u = height / 2.0, width / 2.0
    field = (reach_v - half_v, reach_u - half_u, reach_v + half_v, reach_u + half_u)
    return Cut(tissue, field, spacing)


def _heights(site: Site) -> tuple[float, float]:
    """Return the range of heights of the field of view: that of a joint where the site has its own."""
    return site.field_mm if site.region == "pelvis" and site.centre is not None else HEIGHT_MM[site.region]


def _middle(site: Site, z: int, shown: NDArray[np.bool_]) -> tuple[float, float]:
    if site.centre is not None:
        y, x = site.centre if site.centre.ndim == 1 else site.centre[z - site.first]
    elif shown.any():
        y, x = np.argwhere(shown).mean(axis=0)
    else:
        y, x = np.array(shown.shape) / 2.0
    return float(y), float(x)


def _yaw(region: str, rng: np.random.Generator) -> float:
    """Return the angle (radians) between the picture's rows and the coronal plane."""
    if region in LIMBS and rng.random() < 0.5:
        return float(rng.uniform(0.0, np.pi))
    sagittal = rng.random() < (0.85 if region in SPINE else 0.5)
    return float((np.pi / 2 if sagittal else 0.0) + np.deg2rad(np.clip(rng.normal(0.0, 7.0), -20.0, 20.0)))


def _off(
    region: str, shown: NDArray[np.bool_], across: NDArray[np.float64], rng: np.random.Generator
) -> float:
    """Return how far (mm) the plane lies off the middle: near it for a spine, anywhere in the trunk."""
    if region in SPINE:
        return float(np.clip(rng.normal(0.0, 11.0), -ASIDE_MM, ASIDE_MM))
    if region in LIMBS:
        return float(rng.uniform(-22.0, 22.0))
    if region == "head":
        return float(rng.uniform(-50.0, 50.0))
    sagittal = abs(across[1]) > abs(across[0])
    far = 95.0 if sagittal else 60.0
    near = ASIDE_MM if sagittal and region in LENT.values() and shown.any() else 0.0
    return float(rng.choice([-1.0, 1.0]) * rng.uniform(near, far))


def reformat(sample: Sample, region: str, rng: np.random.Generator) -> Cut | None:
    """Cut a plane along the body out of the CT volume of a sample: Hounsfield units; None where none fits.

    `region` is the sample's own, or the spine that it lends (LENT).
    """
    stack = sample.stack
    if stack.spacing_mm is None or stack.positions_mm is None or len(stack.images) < 8:
        return None
    heights = stack.positions_mm
    length = float(rng.uniform(*HEIGHT_MM[region]))
    middle = float(heights[sample.index])
    inside = np.flatnonzero(np.abs(heights - middle) <= 0.75 * length)
    view = np.flatnonzero(np.abs(heights - middle) <= 0.5 * length)
    if np.ptp(heights[view]) < 0.6 * length or not _centred(sample, view):
        return None
    found = _across(sample, region, rng)
    if found is None:
        return None
    sagittal, place, centre = found
    lines = [stack.images[i][:, place] if sagittal else stack.images[i][place] for i in inside[::-1]]
    spacing = stack.spacing_mm[0 if sagittal else 1]
    rows = max(2, round(float(np.ptp(heights[inside])) / spacing) + 1)
    plain = np.stack(lines).astype(np.float32)
    values = cv2.resize(plain, (plain.shape[1], rows), interpolation=cv2.INTER_LINEAR)
    top = (float(heights[inside[-1]]) - (middle + length / 2.0)) / spacing
    width = length * float(rng.uniform(0.7, 1.15)) / spacing
    field = (top, centre - width / 2.0, top + length / spacing, centre + width / 2.0)
    return Cut(np.asarray(values, np.float32), field, spacing)


def _centred(sample: Sample, view: NDArray[np.intp]) -> bool:
    """Say whether most of what is labelled in view has the sample's label."""
    labels = [sample.stack.row.label(int(index)) for index in view]
    told = [label for label in labels if label is not None]
    return told.count(sample.label) >= 0.6 * len(told)


def _across(sample: Sample, region: str, rng: np.random.Generator) -> tuple[bool, int, float] | None:
    """Choose sagittal or coronal, the column or row of the plane, and where along it the view is centred."""
    assert sample.stack.spacing_mm is not None  # noqa: S101 - asked by the caller
    values, (high, wide) = sample.values(), sample.stack.spacing_mm
    body = np.argwhere(values > AIR_HU)
    if len(body) < 50:
        return None
    sagittal = bool(rng.random() < (0.85 if region in SPINE else 0.5))
    axis, spacing = (1, wide) if sagittal else (0, high)
    if region in SPINE:
        bone = cv2.GaussianBlur((values > BONE_HU).astype(np.float32), (0, 0), 15.0 / high)
        spine = np.unravel_index(int(bone.argmax()), bone.shape)
        place = float(spine[axis]) + float(np.clip(rng.normal(0, 9.0), -ASIDE_MM, ASIDE_MM)) / spacing
        centre = float(spine[1 - axis]) - (rng.uniform(-10.0, 45.0) / high if sagittal else 0.0)
    else:
        low, top = np.quantile(body[:, axis], (0.1, 0.9))
        place, centre = float(rng.uniform(low, top)), float(body[:, 1 - axis].mean())
        aside = abs(place - float(body[:, axis].mean())) * spacing
        if sagittal and region in LENT.values() and aside < ASIDE_MM:
            return None
    bounded = int(np.clip(round(place), 0, values.shape[axis] - 1))
    return sagittal, bounded, float(centre)
