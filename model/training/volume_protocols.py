"""The sixteen labels of whole CT series as protocols: from which landmark to which, how wide, which kernel.

A protocol's ends scatter round landmarks, as technologists set them; its field of view is centred on
the body, the head's front, an ear or the spine. Where two labels share anatomy they differ as protocols do: a
cervical spine is a small field of view in a bone kernel, a neck a wide one in a soft kernel (Li et al. 2024).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from model.series_labels import OTHER

BODY, FACE, EAR, EARS, SPINE, HEAD, LIMB = "body", "face", "ear", "ears", "spine", "head", "limb"
Span = tuple[float, float]
Heights = Mapping[str, float]


@dataclass(frozen=True)
class Protocol:
    """One way of scanning. `low` and `high` are a landmark and the range of mm above it; `field_mm` is
    the range of the field of view's side, (0, 0) where it follows from the body; `bone` is the share of
    sharp kernels."""

    part: str
    low: tuple[str, Span]
    high: tuple[str, Span]
    centre: str
    field_mm: Span = (0.0, 0.0)
    bone: float = 0.1
    share: float = 1.0


PROTOCOLS: Final = (
    Protocol("head", ("skull_base", (-35, 5)), ("vertex", (-12, 15)), HEAD, (200, 260), 0.3),
    Protocol("head_face", ("chin", (-20, 8)), ("vertex", (-12, 15)), HEAD, (200, 270), 0.4),
    Protocol("face_sinus", ("chin", (-10, 40)), ("eyes", (22, 55)), FACE, (130, 210), 0.7),
    Protocol("temporal_bone", ("ear", (-38, -18)), ("ear", (15, 35)), EAR, (80, 115), 0.95, 0.5),
    Protocol("temporal_bone", ("ear", (-38, -18)), ("ear", (15, 35)), EARS, (150, 230), 0.95, 0.5),
    Protocol("head_neck", ("apex", (-120, -10)), ("vertex", (-12, 15)), BODY, (220, 420), 0.1, 0.7),
    Protocol("head_neck", ("apex", (-120, -10)), ("vertex", (-12, 15)), BODY, (0, 0), 0.1, 0.3),
    Protocol("neck", ("apex", (-90, 0)), ("skull_base", (0, 50)), BODY, (180, 330), 0.1, 0.7),
    Protocol("neck", ("apex", (-90, 0)), ("skull_base", (0, 50)), BODY, (0, 0), 0.1, 0.3),
    Protocol("cspine", ("c7", (-50, -8)), ("skull_base", (2, 32)), SPINE, (100, 200), 0.7),
    Protocol("ct_spine", ("t12", (-40, 70)), ("skull_base", (2, 32)), SPINE, (110, 230), 0.7),
    Protocol("tspine", ("t12", (-50, 5)), ("c7", (0, 45)), SPINE, (110, 240), 0.7),
    Protocol("tl_spine", ("s2", (-60, 15)), ("c7", (0, 45)), SPINE, (120, 250), 0.7),
    Protocol("lspine", ("s2", (-60, 15)), ("t12", (20, 75)), SPINE, (110, 240), 0.7),
    Protocol("chest", ("base", (-70, 0)), ("apex", (0, 45)), BODY, (0, 0), 0.4, 0.85),
    Protocol("chest", ("base", (-70, 0)), ("apex", (0, 45)), BODY, (170, 320), 0.4, 0.15),
    Protocol("chest_abdomen_pelvis", ("pubis", (-50, 15)), ("apex", (-5, 55)), BODY, (0, 0), 0.1),
    Protocol("abdomen", ("crest", (-70, 30)), ("dome", (2, 45)), BODY, (0, 0), 0.05, 0.9),
    Protocol("abdomen", ("crest", (-70, 30)), ("dome", (2, 45)), BODY, (200, 320), 0.05, 0.1),
    Protocol("abdomen_pelvis", ("pubis", (-50, 15)), ("dome", (2, 55)), BODY, (0, 0), 0.05),
    Protocol("pelvis", ("pubis", (-60, 10)), ("crest", (-15, 45)), BODY, (0, 0), 0.3, 0.85),
    Protocol("pelvis", ("pubis", (-60, 10)), ("crest", (-15, 45)), BODY, (180, 320), 0.3, 0.15),
)
LIMB_PROTOCOL: Final = Protocol(OTHER, ("", (0, 0)), ("", (0, 0)), LIMB, (0, 0), 0.5)


def ends(protocol: Protocol, heights: Heights, rng: np.random.Generator) -> Span:
    """Return the lower and upper end in mm. Raises KeyError where the body has no such landmark."""
    (low, below), (high, above) = protocol.low, protocol.high
    return heights[low] + float(rng.uniform(*below)), heights[high] + float(rng.uniform(*above))


def chosen(part: str, rng: np.random.Generator) -> Protocol:
    """Return one of a label's protocols, by their shares."""
    found = [each for each in PROTOCOLS if each.part == part]
    if not found:
        return LIMB_PROTOCOL
    shares = np.array([each.share for each in found])
    return found[int(rng.choice(len(found), p=shares / shares.sum()))]
