"""Compares two weights on the same slices: paired differences with intervals from a bootstrap over subjects.

`evaluate --compare earlier.npz` uses it. Both outcomes are drawn with the same subjects each time, so
that what is hard for both cancels out; an interval that leaves out zero is a difference.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.training.metrics import (
    DRAWS,
    Figure,
    Matrices,
    Outcome,
    averages,
    confusion_by_subject,
    non_adjacent_share,
)

MEASURES = ("accuracy", "macro sensitivity", "macro F1", "neither theirs nor adjacent")


@dataclass(frozen=True)
class Difference:
    """One measure (a share 0..1) with the earlier and the present weights, and present minus earlier."""

    measure: str
    before: float
    after: float
    change: Figure


def differences(before: Outcome, after: Outcome, seed: int = 1) -> tuple[Difference, ...]:
    """Return the paired differences of two outcomes; ValueError if they are not of the same slices."""
    same = (before.classes, before.truth, before.subjects) == (after.classes, after.truth, after.subjects)
    if not same:
        raise ValueError("only outcomes of the same slices and classes can be compared")
    matrices = confusion_by_subject(before), confusion_by_subject(after)
    rng = np.random.default_rng(seed)
    n = len(matrices[0])
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)
    points = [_measures(one.sum(axis=0), before.classes) for one in matrices]
    spreads = [_measures(np.einsum("ds,sij->dij", drawn, one), before.classes) for one in matrices]
    found = []
    for name in MEASURES:
        low, high = np.nanquantile(spreads[1][name] - spreads[0][name], [0.025, 0.975])
        old, new = float(points[0][name]), float(points[1][name])
        found.append(Difference(name, old, new, Figure(new - old, float(low), float(high))))
    return tuple(found)


def _measures(matrices: Matrices, classes: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """Return every measure of confusion matrices (..., k, k)."""
    macro = averages(matrices, weighted=False)
    shares = (
        averages(matrices, weighted=True)["sensitivity"],
        macro["sensitivity"],
        macro["f1"],
        non_adjacent_share(matrices, classes),
    )
    return dict(zip(MEASURES, shares, strict=True))


def table(found: dict[str, tuple[Difference, ...]]) -> str:
    """Return the Markdown table of the differences by part of the split, in per cent and points."""
    lines = ["| part | measure | before % | now % | change, points |", "|---|---|---|---|---|"]
    for part, rows in found.items():
        for row in rows:
            c = row.change
            change = f"{100 * c.value:+.1f} ({100 * c.low:+.1f} to {100 * c.high:+.1f})"
            lines.append(
                f"| {part} | {row.measure} | {100 * row.before:.1f} | {100 * row.after:.1f} | {change} |"
            )
    return "\n".join(lines)
