"""The vocabulary of radiographs: five groups, and the finer part that an image shows, with its term.

The groups are those of Pham et al. 2021. The parts are the regions of regions.py where there is one, and
joints and stretches of the spine that only radiographs tell apart (PS3.16 Annex L, Table L-1).
"""

from typing import Final

from model import regions
from model.regions import Code, Region

MODALITIES: Final = frozenset({"CR", "DX", "RG"})
MODEL: Final = "XR"
"""What the model of radiographs is called, whatever the modality of its images."""

ABDOMEN: Final = "abdomen"
ADULT_CHEST: Final = "adult_chest"
PEDIATRIC_CHEST: Final = "pediatric_chest"
SPINE_GROUP: Final = "spine"
OTHERS: Final = "others"
GROUPS: Final = regions.XR_CLASSES
"""What the first head tells apart, in the order of its outputs."""
CHESTS: Final = (ADULT_CHEST, PEDIATRIC_CHEST)

SKULL: Final = Region("skull", "SKULL", Code("89546000", "Skull"))
SPINE: Final = Region("spine", "SPINE", Code("421060004", "Spine"))
TLSPINE: Final = Region("tlspine", "TLSPINE", Code("1217256009", "Thoraco-lumbar spine"))
ANKLE: Final = Region("ankle", "ANKLE", Code("70258002", "Ankle joint"), paired=True)
WRIST: Final = Region("wrist", "WRIST", Code("74670003", "Wrist joint"), paired=True)

PARTS: Final[tuple[Region, ...]] = (
    SKULL, regions.CSPINE, regions.TSPINE, TLSPINE, regions.LSPINE, SPINE, regions.CHEST, regions.ABDOMEN,
    regions.PELVIS, regions.THIGH, regions.KNEE, regions.CALF, ANKLE, regions.FOOT, regions.SHOULDER,
    regions.ARM, regions.ELBOW, regions.FOREARM, WRIST, regions.HAND,
)  # fmt: skip
PART_KEYS: Final[tuple[str, ...]] = tuple(part.key for part in PARTS)
"""What the second head tells apart, in the order of its outputs."""
UPPER_LIMB: Final = Region("upperlimb", "UPPERLIMB", Code("53120007", "Upper limb"), paired=True)
LOWER_LIMB: Final = Region("lowerlimb", "LOWERLIMB", Code("61685007", "Lower limb"), paired=True)
"""What is said of an image that shows some part of a limb, it is not sure which."""
BY_KEY: Final[dict[str, Region]] = {part.key: part for part in (*PARTS, UPPER_LIMB, LOWER_LIMB)}

KNOWN_KEYS: Final[tuple[str, ...]] = tuple(dict.fromkeys((*regions.BY_KEY, *BY_KEY)))
"""Everything that a verdict may say of an image: the regions, then the parts of radiographs beyond them."""

SPINE_PARTS: Final = frozenset({"cspine", "tspine", "tlspine", "lspine", "spine"})
WHOLES: Final[dict[str, tuple[str, ...]]] = {
    "skull": ("head",),
    "ankle": ("foot",),
    "wrist": ("hand",),
    "tlspine": ("tspine", "lspine"),
    "spine": ("cspine", "tspine", "lspine"),
    "upperlimb": regions.ARM_CHAIN,
    "lowerlimb": ("thigh", "knee", "calf", "foot"),
}
"""The regions that a part beyond regions.py lies in or spans."""


def model_of(modality: str) -> str:
    """Return which model looks at the images of a modality."""
    return MODEL if modality in MODALITIES else modality


def groups_of(part: str) -> tuple[str, ...]:
    """Return the groups that an image of a part may belong to."""
    if part == regions.CHEST.key:
        return CHESTS
    if part == regions.ABDOMEN.key:
        return (ABDOMEN,)
    return (SPINE_GROUP,) if part in SPINE_PARTS else (OTHERS,)


def part_of(group: str) -> str | None:
    """Return the part that a group is, None where it holds several."""
    if group in CHESTS:
        return regions.CHEST.key
    return regions.ABDOMEN.key if group == ABDOMEN else SPINE.key if group == SPINE_GROUP else None
