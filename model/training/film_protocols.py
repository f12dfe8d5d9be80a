"""How radiographs of each part are taken of a body whose landmarks are known: heights, views, widths."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from model.training.bodies import LEFT_ARM, LEFT_LEG, RIGHT_ARM, RIGHT_LEG, TRUNK

SPINES: Final = frozenset({"cspine", "tspine", "tlspine", "lspine", "spine"})
NARROW: Final = (0.4, 1.05)
USUAL: Final = (0.8, 1.25)
LUMBAR: Final = (0.5, 1.3)
"""How wide a film is taken against its width: smallest and largest share; of lumbar spines anything from a
strip to most of the belly."""
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
    `often` multiplies how many are drawn: nearly all real abdomens are of one source.
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
    often: int = 1

    @property
    def of_spine(self) -> bool:
        """Whether it shows a spine, which bends to the sides and is taken in more ways."""
        return self.part in SPINES

    @property
    def of_limb(self) -> bool:
        """Whether it shows a limb alone."""
        return self.views in (ROUND, SOLE)


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
        Film("abdomen", z["pubis_ischium_bottom"] - 10, z["lung_base"] + 50, trunk, FRONT, 420, often=6),
        Film("abdomen", z["pubis_ischium_bottom"] - 10, z["lung_base"] + 170, trunk, FRONT, 460, often=3),
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
