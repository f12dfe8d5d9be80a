"""Verdict: regions per slice, spans in mm, series term, confidence, the rule that decided."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.regions import Code


@dataclass(frozen=True)
class Evidence:
    """The network's outputs for the classified images of one series, sorted by position.

    `probabilities` is float32 (n, k), k in the order of `classes`; `positions_mm` is float64 (n,),
    not descending, along the normal of the image plane, towards the head.
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    positions_mm: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Span:
    """A run of neighbouring images with one region: first and last position in mm, towards the head."""

    region: str
    first_mm: float
    last_mm: float
    images: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the node says of a series.

    `regions` and `confidences` (0..1) follow the order of the evidence. `term` and `code` are the
    series' Body Part Examined and its coded concept, None where none may be written. `rule` names
    the last rule that changed the outcome; `flags` are remarks for the reviewer.
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
