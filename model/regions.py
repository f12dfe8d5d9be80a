"""The vocabulary: keys, order along the body, DICOM defined terms and SNOMED CT codes.

Source of the regions and landmarks: Raffy et al. 2023, Table 1. Source of the terms and codes:
PS3.16 Annex L, Table L-1.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept of SNOMED CT (Coding Scheme Designator SCT, PS3.16 8.1)."""

    value: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Region:
    """One body region.

    `term` is the defined term of Body Part Examined (0018,0015), at most 16 characters; `paired`
    says whether Laterality (0020,0060) applies to it.
    """

    key: str
    term: str
    code: Code
    paired: bool = False


HEAD: Final = Region("head", "HEAD", Code("69536005", "Head"))
NECK: Final = Region("neck", "NECK", Code("45048000", "Neck"))
CSPINE: Final = Region("cspine", "CSPINE", Code("122494005", "Cervical spine"))
CHEST: Final = Region("chest", "CHEST", Code("816094009", "Chest"))
BREAST: Final = Region("breast", "BREAST", Code("76752008", "Breast"), paired=True)
TSPINE: Final = Region("tspine", "TSPINE", Code("122495006", "Thoracic spine"))
ABDOMEN: Final = Region("abdomen", "ABDOMEN", Code("818981001", "Abdomen"))
LSPINE: Final = Region("lspine", "LSPINE", Code("122496007", "Lumbar spine"))
PELVIS: Final = Region("pelvis", "PELVIS", Code("816092008", "Pelvis"))
THIGH: Final = Region("thigh", "THIGH", Code("68367000", "Thigh"), paired=True)
KNEE: Final = Region("knee", "KNEE", Code("72696002", "Knee"), paired=True)
CALF: Final = Region("calf", "LOWERLEG", Code("30021000", "Lower leg"), paired=True)
FOOT: Final = Region("foot", "FOOT", Code("56459004", "Foot"), paired=True)
SHOULDER: Final = Region("shoulder", "SHOULDER", Code("16982005", "Shoulder"), paired=True)
ARM: Final = Region("arm", "UPPERARM", Code("40983000", "Upper arm"), paired=True)
ELBOW: Final = Region("elbow", "ELBOW", Code("16953009", "Elbow joint"), paired=True)
FOREARM: Final = Region("forearm", "FOREARM", Code("14975008", "Forearm"), paired=True)
HAND: Final = Region("hand", "HAND", Code("85562004", "Hand"), paired=True)

REGIONS: Final[tuple[Region, ...]] = (
    HEAD, NECK, CSPINE, CHEST, BREAST, TSPINE, ABDOMEN, LSPINE, PELVIS, THIGH, KNEE, CALF, FOOT,
    SHOULDER, ARM, ELBOW, FOREARM, HAND,
)  # fmt: skip
BY_KEY: Final[dict[str, Region]] = {region.key: region for region in REGIONS}

ABDOMEN_CHEST: Final = "abdomen_chest"
"""The extra network output for slices that show both lung base and upper abdomen; rules resolve it."""

UNKNOWN: Final = "unknown"
"""Doubt is an answer: no region could be told with the configured confidence."""

MR_CLASSES: Final[tuple[str, ...]] = (*(region.key for region in REGIONS), ABDOMEN_CHEST)
CT_CLASSES: Final[tuple[str, ...]] = tuple(key for key in MR_CLASSES if key != BREAST.key)
XR_CLASSES: Final = ("abdomen", "adult_chest", "pediatric_chest", "spine", "others")
"""The groups of radiographs (Pham et al. 2021); radiographs.py has the finer parts."""
CLASSES: Final[dict[str, tuple[str, ...]]] = {"CT": CT_CLASSES, "MR": MR_CLASSES, "XR": XR_CLASSES}

BODY_CHAIN: Final[tuple[str, ...]] = (
    "head", "neck", "chest", "abdomen", "pelvis", "thigh", "knee", "calf", "foot",
)  # fmt: skip
"""Trunk and leg from head to feet; the order every decoder walks."""

ARM_CHAIN: Final[tuple[str, ...]] = ("shoulder", "arm", "elbow", "forearm", "hand")
SPINE_CHAIN: Final[tuple[str, ...]] = ("cspine", "tspine", "lspine")
