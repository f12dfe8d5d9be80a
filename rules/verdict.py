"""Verdict: regions per slice, spans in mm, series term, confidence, the rule that decided."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.regions import Code


@dataclass(frozen=True)
class Vote:
    """What was decided of another series: regions and confidences (0..1) of n images.

    `positions_mm` (n,) are along the same axis as those of the series that is decided.
    """

    positions_mm: NDArray[np.float64]
    regions: tuple[str, ...]
    confidences: NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """The network's outputs for the classified images of one series, in any order.

    `probabilities` is float32 (n, k), k in the order of `classes`; `positions_mm` is float64 (n,),
    along the normal of the image plane, towards the head, None where they are not known. `normals`
    (n, 3) are the unit normals of the image planes. `energy` float32 (n,) says how foreign each image
    looks, more being more, and `maximum_energy` from where on that is doubted (rules/doubt.py). `votes`
    are what other series of the same Frame of Reference show. `heights_mm` (n, 2) are the heights of
    each image's lowest and highest point, of use where planes lie along the body; their positions are
    then along their own normal. `whole` (n, k) is what the whole series shows at each image's height.
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    positions_mm: NDArray[np.float64] | None
    normals: NDArray[np.float64] | None = None
    energy: NDArray[np.float32] | None = None
    maximum_energy: float | None = None
    votes: tuple[Vote, ...] = ()
    heights_mm: NDArray[np.float64] | None = None
    whole: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        n = len(self.probabilities)
        if self.probabilities.shape != (n, len(self.classes)):
            shape = self.probabilities.shape
            raise ValueError(f"probabilities have shape {shape}, expected (n, {len(self.classes)})")
        for name, shape in (
            ("positions_mm", (n,)),
            ("normals", (n, 3)),
            ("energy", (n,)),
            ("heights_mm", (n, 2)),
            ("whole", (n, len(self.classes))),
        ):
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"{name} have shape {value.shape}, expected {shape}")

    def of(self, images: NDArray[np.intp]) -> "Evidence":
        """Return the evidence of some of the images, by their indices."""
        names = ("positions_mm", "normals", "energy", "heights_mm", "whole")
        given = {name: getattr(self, name) for name in names}
        chosen: dict[str, Any] = {
            name: None if value is None else value[images] for name, value in given.items()
        }
        return replace(self, probabilities=self.probabilities[images], **chosen)


@dataclass(frozen=True, slots=True)
class Span:
    """A run of neighbouring images with one region: first and last position in mm, towards the head.

    For images whose planes lie along the body these are their lowest and highest point.
    """

    region: str
    first_mm: float
    last_mm: float
    images: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the node says of a series.

    `regions` and `confidences` (0..1) follow the order of the evidence, `spans` the body from the feet
    to the head. `dominant` is the region of the greatest extent in mm. `term` and `code` are the
    series' Body Part Examined and its coded concept, None where none may be written. `rule` names
    the last rule that changed the outcome; `flags` are remarks for the reviewer. `group` is that of
    radiographs (model/radiographs.py), None for others and in doubt.
    """

    regions: tuple[str, ...]
    confidences: tuple[float, ...]
    spans: tuple[Span, ...]
    term: str | None
    code: Code | None
    paired: bool
    confidence: float
    rule: str
    flags: tuple[str, ...] = ()
    dominant: str | None = None
    group: str | None = None
