"""MR contrast by family of sequences: how bright each tissue is, within the order that its physics gives.

Fat and fatty marrow go together, compact bone, tendon and air are dark, fluid is dark on T1 and bright on
T2; what varies is drawn anew for each image. Families: T1, T2, proton density, each with or without fat
suppression, gradient echo, balanced steady state, diffusion and maps of its coefficient (ADC), angiography,
and the four images of Dixon; now and then none of them (Billot et al. 2023: random contrast makes a network
learn shapes).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.training.bodies import TISSUES

GROUPS: Final[dict[str, tuple[int, ...]]] = {
    "fat": (2, 6), "marrow": (5,), "skin": (1,), "muscle": (3, 16), "misc": (27,), "bone": (0, 4, 8, 9, 26),
    "tendon": (29,), "cartilage": (7, 30), "disc": (28,), "fluid": (11, 21, 22, 25), "liver": (13,),
    "spleen": (14,), "kidney": (15,), "gut": (18, 19), "gland": (20, 23, 24), "brain": (10, 12),
    "vessel": (17,),
}  # fmt: skip
"""Tissue classes of the anatomies (classes.csv) that look alike in MR."""

FAMILIES: Final[dict[str, dict[str, float]]] = {
    "t1": {
        "fat": 0.95, "marrow": 0.75, "skin": 0.5, "muscle": 0.38, "misc": 0.4, "bone": 0.03,
        "tendon": 0.08, "cartilage": 0.42, "disc": 0.35, "fluid": 0.14, "liver": 0.52, "spleen": 0.38,
        "kidney": 0.4, "gut": 0.38, "gland": 0.42, "brain": 0.48, "vessel": 0.2,
    },
    "t2": {
        "fat": 0.72, "marrow": 0.55, "skin": 0.4, "muscle": 0.2, "misc": 0.35, "bone": 0.03,
        "tendon": 0.06, "cartilage": 0.42, "disc": 0.5, "fluid": 1.0, "liver": 0.28, "spleen": 0.5,
        "kidney": 0.62, "gut": 0.42, "gland": 0.55, "brain": 0.48, "vessel": 0.1,
    },
    "pd": {
        "fat": 0.82, "marrow": 0.68, "skin": 0.5, "muscle": 0.45, "misc": 0.5, "bone": 0.04,
        "tendon": 0.1, "cartilage": 0.66, "disc": 0.55, "fluid": 0.78, "liver": 0.5, "spleen": 0.58,
        "kidney": 0.62, "gut": 0.52, "gland": 0.6, "brain": 0.68, "vessel": 0.2,
    },
    "gre": {
        "fat": 0.55, "marrow": 0.3, "skin": 0.4, "muscle": 0.5, "misc": 0.45, "bone": 0.03,
        "tendon": 0.14, "cartilage": 0.72, "disc": 0.55, "fluid": 0.72, "liver": 0.5, "spleen": 0.48,
        "kidney": 0.52, "gut": 0.48, "gland": 0.5, "brain": 0.55, "vessel": 0.85,
    },
    "ssfp": {
        "fat": 0.8, "marrow": 0.55, "skin": 0.5, "muscle": 0.28, "misc": 0.4, "bone": 0.03,
        "tendon": 0.08, "cartilage": 0.5, "disc": 0.5, "fluid": 1.0, "liver": 0.38, "spleen": 0.5,
        "kidney": 0.6, "gut": 0.5, "gland": 0.5, "brain": 0.45, "vessel": 0.95,
    },
    "dwi": {
        "fat": 0.07, "marrow": 0.12, "skin": 0.08, "muscle": 0.14, "misc": 0.2, "bone": 0.02,
        "tendon": 0.04, "cartilage": 0.22, "disc": 0.2, "fluid": 0.3, "liver": 0.28, "spleen": 0.75,
        "kidney": 0.62, "gut": 0.35, "gland": 0.62, "brain": 0.75, "vessel": 0.08,
    },
    "adc": {
        "fat": 0.12, "marrow": 0.18, "skin": 0.2, "muscle": 0.5, "misc": 0.5, "bone": 0.03,
        "tendon": 0.2, "cartilage": 0.45, "disc": 0.5, "fluid": 1.0, "liver": 0.42, "spleen": 0.3,
        "kidney": 0.65, "gut": 0.55, "gland": 0.5, "brain": 0.32, "vessel": 0.5,
    },
    "mra": {
        "fat": 0.16, "marrow": 0.14, "skin": 0.15, "muscle": 0.24, "misc": 0.22, "bone": 0.02,
        "tendon": 0.05, "cartilage": 0.22, "disc": 0.22, "fluid": 0.14, "liver": 0.28, "spleen": 0.3,
        "kidney": 0.42, "gut": 0.25, "gland": 0.28, "brain": 0.3, "vessel": 1.0,
    },
    "fat": {
        "fat": 1.0, "marrow": 0.7, "skin": 0.2, "muscle": 0.06, "misc": 0.08, "bone": 0.02,
        "tendon": 0.03, "cartilage": 0.05, "disc": 0.05, "fluid": 0.03, "liver": 0.07, "spleen": 0.05,
        "kidney": 0.05, "gut": 0.06, "gland": 0.08, "brain": 0.05, "vessel": 0.03,
    },
}  # fmt: skip
"""Typical brightness 0..1 of each group by family; `fat` is the fat image of Dixon."""

PLANAR: Final = ("dwi", "adc")
"""Families that are made with echo-planar sequences (model/training/diffusion.py)."""
RARE: Final = (*PLANAR, "mra")
SELDOM: Final = {
    **dict.fromkeys(("cspine", "tspine", "lspine"), 0.0),
    **dict.fromkeys(("shoulder", "arm", "elbow", "forearm", "hand", "thigh", "knee", "calf", "foot"), 0.4),
}
"""Families that some regions are seldom scanned with, and how often against others; axial spines never."""
OFTEN: Final = {
    "t1": 0.27,
    "t2": 0.24,
    "pd": 0.17,
    "gre": 0.12,
    "ssfp": 0.05,
    "dwi": 0.07,
    "adc": 0.06,
    "mra": 0.05,
    "fat": 0.03,
}
SUPPRESSED: Final = {
    "t1": 0.4,
    "t2": 0.5,
    "pd": 0.6,
    "gre": 0.3,
    "ssfp": 0.2,
    "dwi": 0.0,
    "adc": 0.0,
    "mra": 0.3,
    "fat": 0.0,
}
"""How often each family is drawn, and how often with its fat suppressed."""
ENHANCING: Final = {
    "vessel": 1.0,
    "kidney": 0.9,
    "liver": 0.6,
    "spleen": 0.7,
    "gland": 0.6,
    "gut": 0.5,
    "muscle": 0.15,
}
"""How far contrast medium brightens each group on T1, as a share of the way to 1."""
ANY: Final = "any"
ANY_SHARE: Final = 0.25
"""Share of images of no family, each group as bright as chance has it: the shapes alone tell the region."""
OPPOSED_SHARE: Final = 0.25
"""Share of T1 and gradient echo images without suppression in which fat and water are out of phase."""


@dataclass(frozen=True)
class Contrast:
    """One sequence: float32 (31,) brightness 0..1.2 by tissue, and whether borders of fat are black.

    `suppressed_times` says how many times brighter fat would be without suppression, 1 where there is none.
    """

    family: str
    table: NDArray[np.float32]
    opposed: bool
    suppressed_times: float = 1.0


def contrast(rng: np.random.Generator, region: str | None = None) -> Contrast:
    """Draw a sequence, one that the region is scanned with where it is given."""
    seldom = SELDOM.get(region or "", 1.0)
    often = np.array([share * (seldom if name in RARE else 1.0) for name, share in OFTEN.items()])
    family = str(rng.choice(list(OFTEN), p=often / often.sum()))
    groups = dict(FAMILIES[family])
    if rng.random() < ANY_SHARE:
        family = ANY
        groups |= {name: float(rng.uniform(0.03, 1.0)) for name in groups if name != "bone"}
    if family == "t1" and rng.random() < 0.4:
        reach = rng.uniform(0.3, 1.0)
        groups |= {
            name: groups[name] + reach * share * (1 - groups[name]) for name, share in ENHANCING.items()
        }
    suppressed = rng.random() < SUPPRESSED.get(family, 0.0)
    if family == "mra":
        rest = float(rng.random()) ** 2  # of what stands still some angiograms show next to nothing
        groups |= {name: rest * groups[name] for name in groups if name != "vessel"}
    left = 1.0
    if suppressed:
        left = float(rng.uniform(0.05, 0.4))
        groups |= {name: groups[name] * left for name in ("fat", "marrow", "skin")}
    table = np.zeros(TISSUES)
    for name, tissues in GROUPS.items():
        common = groups[name] * rng.uniform(0.75, 1.3)
        table[list(tissues)] = common * rng.uniform(0.92, 1.08, len(tissues))
    table[19] *= rng.uniform(0.2, 1.6)  # what the gut holds may be anything
    if family != "mra":
        table[17] *= rng.choice([0.3, 1.0, 1.0 + 2.0 * rng.random()])  # flow takes signal away or brings it
    table += rng.normal(0, 0.02, TISSUES) * (table > 0.1)
    table[0] = 0.0
    opposed = family in ("t1", "gre") and not suppressed and rng.random() < OPPOSED_SHARE
    return Contrast(family, np.clip(table, 0.0, 1.2).astype(np.float32), bool(opposed), 1.0 / left)
