"""The whole-body anatomies, and where in them each region lies (Raffy et al. 2023, Table 1 landmarks).

A body is a volume of tissue classes (z from feet to head, y from front to back, x from the patient's
right to left) and of parts (1 trunk and head, 2 and 3 arms, 4 and 5 legs). A site is a range of
axial slices of one region, with the parts that may be in view and, for spines and joints, where the
field of view is centred.
"""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

TRUNK, RIGHT_ARM, LEFT_ARM, RIGHT_LEG, LEFT_LEG = 1, 2, 3, 4, 5
TISSUES: Final = 31
"""Tissue classes of all anatomies (classes.csv), 0 the air outside."""
FILES: Final = {"AM": "AM_iso.npz", "AF": "AF_iso.npz", "BP3D": "bp3d_body_1p5.npz"}
ICRP_SPINE: Final = tuple(range(47, 55))
"""Organ numbers of the vertebral column in ICRP Publication 110, cervical spine to sacrum."""


@dataclass(frozen=True)
class Site:
    """Where a region can be cut out of a body.

    `first`..`last` are inclusive z indices. `parts` are the choices of parts in view. `centre` is
    None (the field of view is round all parts), one (y, x) or one for each z, in voxels; `field_mm`
    the smallest and largest side of the field of view, (0, 0) where it follows from the parts.
    `often` says how many times as often as others MR is asked for it.
    """

    region: str
    first: int
    last: int
    parts: tuple[tuple[int, ...], ...]
    centre: NDArray[np.float32] | None = None
    field_mm: tuple[float, float] = (0.0, 0.0)
    often: int = 1


@dataclass(frozen=True)
class Body:
    """One whole-body anatomy, uint8 (z, y, x) arrays, with the sites that its landmarks give."""

    name: str
    tissue: NDArray[np.uint8]
    part: NDArray[np.uint8]
    spacing_mm: float
    sites: tuple[Site, ...]

    @cached_property
    def arm_heights(self) -> dict[int, tuple[int, int]]:
        """The first and the last slice of each arm."""
        found = {arm: np.flatnonzero((self.part == arm).any(axis=(1, 2))) for arm in (RIGHT_ARM, LEFT_ARM)}
        return {arm: (int(slices[0]), int(slices[-1])) for arm, slices in found.items()}


class Landmarks:
    """The landmarks of one body: heights in mm from the lowest slice, limb axes in mm (z, y, x)."""

    def __init__(self, plain: Mapping[str, Any], spacing_mm: float) -> None:
        self._heights: dict[str, float] = {name: float(height) for name, height in plain["z_mm"].items()}
        self._limbs: Mapping[str, Mapping[str, Any]] = plain["limbs"]
        self.spacing_mm = spacing_mm

    def height(self, name: str) -> float:
        """Return the height (mm) of the landmark whose name begins so, estimated or not."""
        return next(v for k, v in self._heights.items() if k.startswith(name))

    def limb(self, names: tuple[str, ...], point: str) -> tuple[float, float, float]:
        """Return a point (z, y, x) in mm on the first limb of `names` that this body has."""
        axis = next(self._limbs[name] for name in names if name in self._limbs)
        z, y, x = axis[point]
        return float(z), float(y), float(x)

    def site(
        self,
        region: str,
        low_mm: float,
        high_mm: float,
        parts: tuple[tuple[int, ...], ...],
        centre_mm: tuple[float, float] | None = None,
        field_mm: tuple[float, float] = (0.0, 0.0),
    ) -> Site:
        """Return the site between two heights, 3 mm inside of both as landmarks are not exact."""
        first = int(np.ceil((low_mm + 3.0) / self.spacing_mm))
        last = int(np.floor((high_mm - 3.0) / self.spacing_mm))
        centre = (
            None if centre_mm is None else np.asarray(centre_mm, np.float32) / np.float32(self.spacing_mm)
        )
        return Site(region, first, last, parts, centre, field_mm)


def trunk_sites(marks: Landmarks) -> tuple[Site, ...]:
    """Return the sites of head and trunk, with arms beside it or raised out of view."""
    h = marks.height
    arms = ((TRUNK,), (TRUNK, RIGHT_ARM, LEFT_ARM))
    base, dome = h("lung_base"), h("diaphragm_dome")
    bifurcation = h("L4_bottom")
    legs = (*arms[0], RIGHT_LEG, LEFT_LEG)
    return (
        marks.site("head", h("skull_base"), h("vertex"), ((TRUNK,),)),
        marks.site("neck", h("lung_apex"), h("skull_base"), arms),
        marks.site("chest", dome, h("lung_apex"), arms),
        marks.site("abdomen_chest", base, dome, arms),
        marks.site("abdomen", bifurcation, base, arms),
        marks.site("pelvis", h("pubis_ischium"), bifurcation, (legs, legs, (*legs, RIGHT_ARM, LEFT_ARM))),
    )


def leg_sites(marks: Landmarks, side: str) -> tuple[Site, ...]:
    """Return thigh to foot of one leg or both, and the hip and half the pelvis of this side."""
    own = RIGHT_LEG if side == "right" else LEFT_LEG
    parts = ((own,), (RIGHT_LEG, LEFT_LEG))
    thigh, knee = marks.height(f"femur_distal_sixth_{side}"), marks.height(f"tibia_proximal_sixth_{side}")
    calf = marks.height(f"tibia_distal_third_{side}")
    trochanter = marks.height(f"lesser_trochanter_est_{side}")
    _, y, x = marks.limb((f"femur_{side}",), "proximal_end")
    top = marks.height(f"femur_top_{side}") + 30.0
    everything = ((TRUNK, RIGHT_LEG, LEFT_LEG),)
    return (
        marks.site("pelvis", trochanter, top, everything, (y, x), (160.0, 260.0)),
        marks.site("pelvis", trochanter, marks.height("L4_bottom"), everything, (y, x), (220.0, 320.0)),
        marks.site("thigh", thigh, trochanter, parts),
        marks.site("knee", knee, thigh, parts),
        marks.site("calf", calf, knee, parts),
        marks.site("foot", marks.height("body_bottom"), calf, parts),
    )


def arm_sites(marks: Landmarks, side: str) -> tuple[Site, ...]:
    """Return shoulder to hand of one arm; the shoulder with the trunk behind it."""
    own = RIGHT_ARM if side == "right" else LEFT_ARM
    humerus, radius = (f"humerus_{side}",), (f"radius_{side}", f"forearm_{side}")
    proximal, distal = marks.limb(humerus, "proximal_sixth")[0], marks.limb(humerus, "distal_sixth")[0]
    elbow, wrist = marks.limb(radius, "proximal_sixth")[0], marks.limb(radius, "distal_sixth")[0]
    tip = marks.limb((f"hand_{side}",), "finger_tip_bone")[0]
    _, y, x = marks.limb(humerus, "proximal_end")
    top = marks.height(f"AC_joint_top_{side}")
    alone = ((own,),)
    return (
        marks.site("shoulder", proximal, top, ((TRUNK, own),), (y, x), (150.0, 240.0)),
        marks.site("arm", distal, proximal, alone),
        marks.site("elbow", elbow, distal, alone),
        marks.site("forearm", wrist, elbow, alone),
        marks.site("hand", tip, wrist, alone),
    )


def spine_sites(marks: Landmarks, spine: NDArray[np.float32]) -> tuple[Site, ...]:
    """Return the three spine protocols; `spine` (z, 2) is the column's (y, x) centre at each height."""
    h = marks.height
    twelve = h("T12_bottom")
    ranges = (
        ("cspine", h("T1_bottom"), h("odontoid_tip"), (100.0, 180.0)),
        ("tspine", twelve, h("C7_T1"), (110.0, 200.0)),
        ("lspine", h("S2_S3"), twelve + 25.0, (120.0, 220.0)),
    )
    found = []
    for region, low, high, field in ranges:
        plain = marks.site(region, low, high, ((TRUNK,), (TRUNK, RIGHT_ARM, LEFT_ARM)))
        centre = spine[plain.first : plain.last + 1]
        found.append(Site(region, plain.first, plain.last, plain.parts, centre, field))
    return tuple(found)


def pelvic_site(marks: Landmarks) -> Site:
    """Return the pelvis in a small field of view round its middle, as prostate and cervix are scanned."""
    (_, y, right), (_, _, left) = (
        marks.limb((f"femur_{side}",), "proximal_end") for side in ("right", "left")
    )
    low, top = marks.height("pubis_ischium"), marks.height("femur_top_right") + 40.0
    middle = (y, (right + left) / 2)
    site = marks.site("pelvis", low, top, ((TRUNK, RIGHT_LEG, LEFT_LEG),), middle, (130.0, 230.0))
    return replace(site, often=2)


def beside(site: Site, limb: NDArray[np.float32], parts: tuple[int, ...]) -> Site:
    """Return a limb's site once more: centred on the limb, with trunk, other limb or arm beside it in view.

    That is how a limb is scanned that cannot be moved away from the body.
    """
    field_mm = (90.0, 180.0) if site.region in ("forearm", "hand") else (110.0, 240.0)
    if site.region == "arm":
        field_mm = (110.0, 320.0)
    return Site(site.region, site.first, site.last, (parts,), limb[site.first : site.last + 1], field_mm)


def all_sites(
    marks: Landmarks, spine: NDArray[np.float32], limbs: Mapping[int, NDArray[np.float32]]
) -> tuple[Site, ...]:
    """Return every site of a body; `limbs` gives the (z, 2) centre line of each part that is a limb."""
    everything = (TRUNK, RIGHT_ARM, LEFT_ARM, RIGHT_LEG, LEFT_LEG)
    found = [*trunk_sites(marks), pelvic_site(marks), *spine_sites(marks, spine)]
    for side, arm, leg in (("right", RIGHT_ARM, RIGHT_LEG), ("left", LEFT_ARM, LEFT_LEG)):
        legs, arms = leg_sites(marks, side), arm_sites(marks, side)
        found += [*legs, *arms]
        found += [beside(site, limbs[leg], (RIGHT_LEG, LEFT_LEG)) for site in legs if site.centre is None]
        found += [beside(site, limbs[arm], everything) for site in arms if site.centre is None]
    return tuple(found)


def centre_line(structure: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return (z, 2): the (y, x) centre of a spine or limb at each height, interpolated over gaps."""
    heights = np.flatnonzero(structure.any(axis=(1, 2)))
    centres = np.array([np.argwhere(structure[z]).mean(axis=0) for z in heights])
    every = np.arange(structure.shape[0])
    curve = [np.interp(every, heights, centres[:, axis]) for axis in (0, 1)]
    return np.stack(curve, axis=1).astype(np.float32)


def load_bodies(data: Path, names: Iterable[str] = tuple(FILES)) -> tuple[Body, ...]:
    """Read the anatomies of these names. Raises FileNotFoundError where one is absent."""
    folder = data / "anatomy"
    plain = json.loads((folder / "landmarks.json").read_text(encoding="utf-8"))
    bodies = []
    for name in names:
        with np.load(folder / FILES[name], allow_pickle=False) as arrays:
            tissue, part = arrays["tissue"], arrays["part"]
            spacing = float(arrays["spacing_zyx_mm"][0])
            numbers = ICRP_SPINE if "organ" in arrays.files else _vertebrae(folder)
            column = np.isin(arrays["organ" if "organ" in arrays.files else "label"], numbers)
        marks = Landmarks(plain[name], spacing)
        limbs = {limb: centre_line(part == limb) for limb in (RIGHT_ARM, LEFT_ARM, RIGHT_LEG, LEFT_LEG)}
        bodies.append(Body(name, tissue, part, spacing, all_sites(marks, centre_line(column), limbs)))
    return tuple(bodies)


def _vertebrae(folder: Path) -> tuple[int, ...]:
    with (folder / "bp3d_label_table.csv").open(newline="", encoding="utf-8") as lines:
        table = {int(line["label"]): line["name"] for line in csv.DictReader(lines)}
    bones = {
        n for n, name in table.items() if name.endswith(" vertebra") or name in ("Atlas", "Axis", "Sacrum")
    }
    return tuple(sorted(bones))
