"""Contrast medium by measure: how much of a volume is even and brighter than muscle, without being bone.

In the trunk enhanced blood and organs are hundreds of millilitres, and Hounsfield units mean the same on
every scanner: a measure with two numbers to fit, where there are few images to learn from. Heads, necks and
limbs hold too few vessels as wide as the volume's voxels, so there the network's word is all there is.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes
from scipy.special import expit, logit

from model.volumes import Volume

TRUNK: Final = frozenset(
    {"chest", "chest_abdomen_pelvis", "abdomen", "abdomen_pelvis", "tspine", "tl_spine", "lspine"}
)
"""Labels of series that show the aorta."""
SOFT_HU: Final = (0.0, 90.0)
MUSCLE_HU: Final = (20.0, 70.0)
"""Between what the median of soft tissue is believed."""
BRIGHTER_HU: Final = 55.0
"""Unenhanced blood and organs lie less than this above muscle."""
BRIGHTEST_HU: Final = 600.0
EVEN_HU: Final = 30.0
"""Standard deviation within SMOOTHED_MM below which a place is even; bone and lungs are not."""
SMOOTHED_MM: Final = 6.0
BONE_HU: Final = 280.0
MARROW_HU: Final = 250.0
"""What bone encloses is taken for marrow up to here; brighter, it is blood within its own bright edge."""
BESIDE_MM: Final = 4.0
CLOSED_MM: Final = 5.0
SHARE_OF_NETWORK: Final = 0.5
MOST_ODDS: Final = 3.0
"""Bounds of the network's log odds. Both are judgement: it knows bodies well, and real contrast hardly."""
FEWEST: Final = 50
"""Places of even soft tissue that a volume must have for a measure."""


@dataclass(frozen=True)
class Enhancement:
    """A logistic curve over the logarithm of the share: half at `middle`, `slope` for each octave."""

    middle: float
    slope: float

    def probability(self, share: float) -> float:
        """Return how likely contrast medium was given, 0..1."""
        return float(expit(self._odds(share)))

    def beside(self, share: float, network: float) -> float:
        """Return the probability with the network's word, itself one, as half its weight in log odds."""
        heard = SHARE_OF_NETWORK * np.clip(logit(network), -MOST_ODDS, MOST_ODDS)
        return float(expit(self._odds(share) + heard))

    def _odds(self, share: float) -> float:
        return float(self.slope * np.log2(max(share, 1e-4) / self.middle))

    def as_json(self) -> dict[str, float]:
        """Return the curve as plain values for the card."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Enhancement":
        """Read what `as_json` wrote; raises KeyError, TypeError or ValueError where it is something else."""
        found = cls(float(plain["middle"]), float(plain["slope"]))
        if not (found.middle > 0.0 and found.slope > 0.0):
            raise ValueError(f"{found} is no curve that rises")
        return found


def bright_share(volume: Volume) -> float | None:
    """Return bright, even tissue as a share of even soft tissue; None where there is hardly any of that.

    `volume` stands upright. The share may be above 1.
    """
    _, down, right = volume.spacing_mm
    size = (_odd(SMOOTHED_MM / right), _odd(SMOOTHED_MM / down))
    means = np.stack([cv2.blur(plane, size) for plane in volume.values])
    squares = np.stack([cv2.blur(plane * plane, size) for plane in volume.values])
    even = squares - means * means < EVEN_HU**2
    soft = means[even & (means > SOFT_HU[0]) & (means < SOFT_HU[1])]
    if len(soft) < FEWEST:
        return None
    muscle = float(np.clip(np.median(soft), *MUSCLE_HU))
    bright = even & (means > muscle + BRIGHTER_HU) & (means < BRIGHTEST_HU)
    marrow = means < MARROW_HU
    for place in np.flatnonzero(bright.any(axis=(1, 2))):
        bright[place] &= ~(_bone(volume.values[place], (down, right)) & marrow[place])
    return float(bright.sum() / len(soft))


def _bone(plane: NDArray[np.float32], spacing_mm: tuple[float, float]) -> NDArray[np.bool_]:
    """Return bone, what it encloses and what lies beside it, in one axial plane."""
    bone = (plane > BONE_HU).astype(np.uint8)
    closed = cv2.morphologyEx(bone, cv2.MORPH_CLOSE, _disc(CLOSED_MM, spacing_mm))
    beside = cv2.dilate(bone, _disc(BESIDE_MM, spacing_mm)) > 0
    return np.asarray(binary_fill_holes(closed) | beside, np.bool_)


def _disc(radius_mm: float, spacing_mm: tuple[float, float]) -> NDArray[np.uint8]:
    rows, columns = (2 * max(1, round(radius_mm / mm)) + 1 for mm in spacing_mm)
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (columns, rows)), np.uint8)


def _odd(pixels: float) -> int:
    return max(3, round(pixels) | 1)
