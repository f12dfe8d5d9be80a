"""Compares two outcomes of the same slices: paired differences with intervals from the same draws.

What is hard for both cancels out; an interval that leaves out zero is a difference.
"""

from dataclasses import dataclass

from model.training.bootstrap import Figure, figure
from model.training.metrics import MEASURES, Outcome, measures


@dataclass(frozen=True)
class Difference:
    """One measure (a share 0..1) before and after, and after minus before."""

    measure: str
    before: float
    after: float
    change: Figure


def differences(before: Outcome, after: Outcome) -> tuple[Difference, ...]:
    """Return the paired differences of two outcomes; ValueError if they are not of the same slices."""
    same = (before.classes, before.truth, before.places) == (after.classes, after.truth, after.places)
    if not same:
        raise ValueError("only outcomes of the same slices and classes can be compared")
    old, new = (measures(one.confusion(), one.classes) for one in (before, after))
    first, second = (measures(one.resampled(), one.classes, one.confusion()) for one in (before, after))
    return tuple(
        Difference(
            name, float(old[name]), float(new[name]),
            figure(float(new[name] - old[name]), second[name] - first[name]),
        )
        for name in MEASURES
    )  # fmt: skip
