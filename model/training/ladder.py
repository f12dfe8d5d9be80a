"""The ladder: every stage of deciding against one of them, paired, on slices, series and boundaries.

What is hard for both cancels out: a difference is the mean of differences over the same draws of
subjects, and one whose interval leaves out zero is a difference.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.regions import UNKNOWN
from model.training.bootstrap import Figure, Places, mean
from model.training.cases import EvaluationError, Part
from model.training.evaluate import Judged
from model.training.metrics import ADJACENT
from model.training.series_metrics import LEAST_IMAGES, boundaries, sets

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """One column: its name, what it is multiplied by to be shown, and what its values are of."""

    title: str
    unit: float
    values: Callable[[Part, Judged], tuple[Values, Places]]


@dataclass(frozen=True)
class Rung:
    """One stage: each measure, and what it has more of it than the reference has (None for that itself)."""

    name: str
    title: str
    figures: tuple[Figure, ...]
    gains: tuple[Figure, ...] | None


def ladder(part: Part, judged: Sequence[Judged], reference: str) -> tuple[Rung, ...]:
    """Return all stages of a part beside the one called `reference`; EvaluationError without it."""
    base = next((one for one in judged if one.stage.name == reference), None)
    if base is None:
        raise EvaluationError(f"there is no stage '{reference}' to compare with")
    return tuple(_rung(part, one, None if one is base else base) for one in judged)


def _rung(part: Part, one: Judged, base: Judged | None) -> Rung:
    figures, gains = [], []
    for measure in MEASURES:
        values, places = measure.values(part, one)
        figures.append(_of(values, places))
        if base is not None:
            gains.append(_of(values - measure.values(part, base)[0], places))
    return Rung(one.stage.name, one.stage.title, tuple(figures), None if base is None else tuple(gains))


def _of(values: Values, places: Places) -> Figure:
    """Return the mean of what both have: a boundary that one did not find is in neither."""
    there = np.flatnonzero(np.isfinite(values))
    kept = Places(
        tuple(places.subjects[i] for i in there),
        tuple(places.studies[i] for i in there),
        tuple(places.series[i] for i in there),
        tuple(places.positions_mm[i] for i in there),
    )
    return mean(values[there], kept)


def _slices(of: Callable[[str, str], bool]) -> Callable[[Part, Judged], tuple[Values, Places]]:
    def values(_: Part, one: Judged) -> tuple[Values, Places]:
        pairs = zip(one.outcome.truth, one.outcome.predicted, strict=True)
        return np.array([of(truth, said) for truth, said in pairs], np.float64), one.outcome.places

    return values


def _series(which: int) -> Callable[[Part, Judged], tuple[Values, Places]]:
    def values(part: Part, one: Judged) -> tuple[Values, Places]:
        rows = [
            (case, sets(case, decided.regions, one.stage.resolves)[which])
            for case, decided in zip(part.cases, one.decided, strict=True)
            if case.positions_mm is not None and len(case.scored) >= LEAST_IMAGES
        ]
        places = Places(
            tuple(case.subject for case, _ in rows),
            tuple(case.source for case, _ in rows),
            tuple(case.name for case, _ in rows),
            (0.0,) * len(rows),
        )
        return np.array([value for _, value in rows], np.float64), places

    return values


def _boundaries(part: Part, one: Judged) -> tuple[Values, Places]:
    found = [
        boundary
        for case, decided in zip(part.cases, one.decided, strict=True)
        for boundary in boundaries(case, decided.regions)
    ]
    places = Places(
        tuple(each.subject for each in found),
        tuple(each.source for each in found),
        tuple(each.case for each in found),
        tuple(each.middle_mm for each in found),
    )
    return np.array([each.error_mm for each in found], np.float64), places


def _apart(truth: str, said: str) -> bool:
    return said not in (truth, UNKNOWN) and frozenset((truth, said)) not in ADJACENT


MEASURES: Final = (
    Measure("slices right %", 100.0, _slices(lambda truth, said: truth == said)),
    Measure("taken for a region apart %", 100.0, _slices(_apart)),
    Measure("covered %", 100.0, _slices(lambda _, said: said != UNKNOWN)),
    Measure("exact set %", 100.0, _series(0)),
    Measure("false region %", 100.0, _series(1)),
    Measure("boundary mm", 1.0, _boundaries),
)


def table(rungs: Sequence[Rung]) -> str:
    """Return the ladder in Markdown: a line for each stage, and one for what it changes."""
    heads = ("stage", *(measure.title for measure in MEASURES))
    base = next(rung.title for rung in rungs if rung.gains is None)
    lines = [heads, ("---",) * len(heads)]
    for rung in rungs:
        lines.append((rung.title, *map(_plain, rung.figures, MEASURES)))
        if rung.gains is not None:
            lines.append((f"… against {base}", *map(_signed, rung.gains, MEASURES)))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(found: Figure, measure: Measure) -> str:
    value, low, high = (measure.unit * each for each in (found.value, found.low, found.high))
    return "-" if np.isnan(value) else f"{value:.1f} ({low:.1f} to {high:.1f})"


def _signed(found: Figure, measure: Measure) -> str:
    value, low, high = (measure.unit * each for each in (found.value, found.low, found.high))
    return "-" if np.isnan(value) else f"{value:+.1f} ({low:+.1f} to {high:+.1f})"
