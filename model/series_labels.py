"""What a whole CT series can be: the axis it was reformatted along, its contrast, its part of the body.

The three axes, the two kinds of contrast and the sixteen parts are those of Li et al. 2024, Table 1.
`other` is not among them: arms, legs and shoulders, which the paper's series did not hold.
"""

from typing import Final

AXES: Final = ("axial", "coronal", "sagittal")
WITHOUT: Final = "without"
WITH: Final = "with"
CONTRASTS: Final = (WITHOUT, WITH)
OTHER: Final = "other"
PAPER_PARTS: Final = (
    "head", "head_face", "face_sinus", "temporal_bone", "head_neck", "neck", "cspine", "ct_spine", "tspine",
    "tl_spine", "lspine", "chest", "chest_abdomen_pelvis", "abdomen", "abdomen_pelvis", "pelvis",
)  # fmt: skip
PARTS: Final = (*PAPER_PARTS, OTHER)
TITLES: Final = {
    "head": "head",
    "head_face": "head and face",
    "face_sinus": "face, orbits, sinuses",
    "temporal_bone": "temporal bone",
    "head_neck": "head and neck",
    "neck": "neck",
    "cspine": "cervical spine",
    "ct_spine": "cervical and thoracic spine",
    "tspine": "thoracic spine",
    "tl_spine": "thoracic and lumbar spine",
    "lspine": "lumbar spine",
    "chest": "chest",
    "chest_abdomen_pelvis": "chest, abdomen, pelvis",
    "abdomen": "abdomen",
    "abdomen_pelvis": "abdomen and pelvis",
    "pelvis": "pelvis",
    OTHER: "limb or shoulder",
}
"""What people read for each part."""
