"""Scores networks for whole CT series as their paper does (Li et al. 2024): accuracies with intervals.

Each of 1000 draws takes studies with replacement; all series of a study go together. Axis is scored as the
network alone sees it, as the headers of these series are right by construction.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from model.projections import row_places, views
from model.series_labels import AXES, CONTRASTS, OTHER, PAPER_PARTS, PARTS
from model.series_reader import MEASURE, SeriesReader
from model.series_stack import Plan
from model.training.volume_cases import SeriesCase
from model.training.volume_draw import NOBODY
from model.volumes import STORED, Volume, kept, small, upright

DRAWS: Final = 1000
ROW_SCALES: Final = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
"""Temperatures that are tried for the stretches."""
SEED: Final = 1000


@dataclass(frozen=True, eq=False)
class Said:
    """What a network said of n series: probabilities (n, classes) of each head, CPU milliseconds of each.

    `rows` counts stretches with a known region: right and all, of each series, (n, 2); `row_losses` are their
    negative log likelihoods at each of ROW_SCALES; `measured` (n,) says whose contrast is no network's word.
    """

    cases: tuple[SeriesCase, ...]
    parts: NDArray[np.float64]
    contrasts: NDArray[np.float64]
    axes: NDArray[np.float64]
    rows: NDArray[np.int64]
    row_losses: NDArray[np.float64]
    cpu_ms: NDArray[np.float64]
    measured: NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """A share with its 95 % interval, and of how many series and studies."""

    value: float
    low: float
    high: float
    series: int
    studies: int


@dataclass(frozen=True)
class ClassFigures:
    """One class of one head: sensitivity, specificity and F1 with intervals, and its number of series."""

    name: str
    series: int
    sensitivity: Estimate
    specificity: Estimate
    f1: Estimate


@dataclass(frozen=True, eq=False)
class SeriesScore:
    """All figures of one part; `confusion` by head: (true, said) counts."""

    name: str
    figures: dict[str, Estimate]
    classes: dict[str, tuple[ClassFigures, ...]]
    confusion: dict[str, tuple[tuple[str, ...], NDArray[np.int64]]]


def ask(reader: SeriesReader, cases: Iterable[SeriesCase], tick: Callable[[], None]) -> Said:
    """Ask a network of every series."""
    kept, parts, contrasts, axes, rows, losses, spent, measured = [], [], [], [], [], [], [], []
    for case in cases:
        begun = time.process_time()
        said = reader.predict(case.stack, case.planned)
        spent.append(1000 * (time.process_time() - begun))
        kept.append(case)
        parts.append([said.parts.get(part, 0.0) for part in PARTS])
        contrasts.append([said.contrasts[name] for name in CONTRASTS])
        axes.append([said.axes[name] for name in AXES])
        hits, lost = _rows(case, None if said.stretches is None else said.stretches.probabilities)
        rows.append(hits)
        losses.append(lost)
        measured.append(said.contrast_from == MEASURE)
        tick()
    tables = (np.array(each) for each in (parts, contrasts, axes, rows, losses, spent, measured))
    return Said(tuple(kept), *tables)


def _rows(case: SeriesCase, said: NDArray[np.float32] | None) -> tuple[tuple[int, int], list[float]]:
    """Return how many stretches with a known region are right and there are, and their losses."""
    if said is None or case.planned.turn is None:
        return (0, 0), [0.0] * len(ROW_SCALES)
    places = row_places(views(upright(case.stack, case.planned.turn)))
    places = places[np.isfinite(places)][::-1]
    true = case.regions[np.floor(places * len(case.regions)).astype(int).clip(0, len(case.regions) - 1)]
    known = true != NOBODY
    right = int((said.argmax(axis=1) == true)[known].sum())
    return (right, int(known.sum())), [_loss(said[known], true[known], scale) for scale in ROW_SCALES]


def _loss(said: NDArray[np.float32], true: NDArray[np.int8], scale: float) -> float:
    """Return the summed negative log likelihood of truths at a temperature."""
    powers = np.log(said.astype(np.float64) + 1e-12) / scale
    return float((np.logaddexp.reduce(powers, axis=1) - powers[np.arange(len(true)), true]).sum())


def temperatures(said: Said) -> dict[str, float]:
    """Return the temperature of each head that fits best, never below 1: it softens, as slices' do."""
    truths = {
        "part": (said.parts, np.array([case.part for case in said.cases])),
        "contrast": (said.contrasts, np.where(said.measured, NOBODY, [case.contrast for case in said.cases])),
        "axis": (said.axes, np.array([case.axis for case in said.cases])),
    }
    rows = ROW_SCALES[int(said.row_losses.sum(axis=0).argmin())]
    return {**{head: _fitted(table, true) for head, (table, true) in truths.items()}, "rows": rows}


def _fitted(table: NDArray[np.float64], true: NDArray[np.int64]) -> float:
    known = true != NOBODY
    if not known.any():
        return 1.0
    logits, wanted = np.log(table[known] + 1e-12), true[known]

    def loss(scale: float) -> float:
        powers = logits / scale
        return float(np.mean(np.logaddexp.reduce(powers, axis=1) - powers[np.arange(len(wanted)), wanted]))

    return round(float(minimize_scalar(loss, bounds=(1.0, 10.0), method="bounded").x), 3)


def tempered(said: Said, fitted: Mapping[str, float]) -> Said:
    """Return what was said with the temperature of each head."""

    def softened(table: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
        powers = np.power(table, 1.0 / scale)
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    return replace(
        said,
        parts=softened(said.parts, fitted["part"]),
        contrasts=np.where(
            said.measured[:, np.newaxis], said.contrasts, softened(said.contrasts, fitted["contrast"])
        ),
        axes=softened(said.axes, fitted["axis"]),
    )


def score(name: str, said: Said) -> SeriesScore:
    """Return the figures of one part."""
    truths = ([getattr(case, key) for case in said.cases] for key in ("part", "axis", "contrast"))
    part, axis, contrast = (np.array(each) for each in truths)
    studies = np.array([case.study for case in said.cases])
    labelled = np.isin(part, [PARTS.index(each) for each in PAPER_PARTS])
    best = said.parts.argmax(axis=1)
    two = np.argsort(-said.parts, axis=1)[:, :2]
    right = {
        "body part, top 1": (best == part, labelled),
        "body part, top 2": ((two == part[:, np.newaxis]).any(axis=1), labelled),
        "axis": (said.axes.argmax(axis=1) == axis, np.ones(len(axis), np.bool_)),
        "contrast": (said.contrasts.argmax(axis=1) == contrast, contrast != NOBODY),
    }
    all_known = labelled & (contrast != NOBODY)
    three = right["body part, top 1"][0] & right["axis"][0] & right["contrast"][0]
    right["all three"] = (three, all_known)
    known = part != NOBODY
    right["limb or one of the sixteen"] = (
        (best == PARTS.index(OTHER)) == (part == PARTS.index(OTHER)),
        known,
    )
    figures = {key: estimate(hit[of], studies[of]) for key, (hit, of) in right.items() if of.any()}
    hits, count = said.rows[:, 0], said.rows[:, 1]
    if count.sum():
        figures["region of each stretch"] = ratio(hits, count, studies)
    heads = (
        ("body part", PARTS, part, best, part != NOBODY),
        ("axis", AXES, axis, said.axes.argmax(axis=1), axis != NOBODY),
        ("contrast", CONTRASTS, contrast, said.contrasts.argmax(axis=1), contrast != NOBODY),
    )
    classes: dict[str, tuple[ClassFigures, ...]] = {}
    confusion: dict[str, tuple[tuple[str, ...], NDArray[np.int64]]] = {}
    for head, names, true, found, of in heads:
        if of.any():
            classes[head] = tuple(_classes(names, true[of], found[of], studies[of]))
            table = np.zeros((len(names), len(names)), np.int64)
            np.add.at(table, (true[of], found[of]), 1)
            confusion[head] = (names, table)
    return SeriesScore(name, figures, classes, confusion)


def draws(studies: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return (DRAWS, n): how often each series counts in each draw of studies with replacement."""
    names, place = np.unique(studies, return_inverse=True)
    rng = np.random.default_rng(SEED)
    taken = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    return np.asarray(taken[:, place], np.int64)


def ratio(hits: NDArray[np.int64], count: NDArray[np.int64], studies: NDArray[np.str_]) -> Estimate:
    """Return a share of counts with its interval over studies; NaN where there is nothing to share."""
    weights = draws(studies)
    below = weights @ count
    shares = (weights @ hits)[below > 0] / below[below > 0]
    value = float(hits.sum() / count.sum()) if count.sum() else float("nan")
    low, high = np.quantile(shares, (0.025, 0.975)) if len(shares) else (float("nan"), float("nan"))
    return Estimate(value, float(low), float(high), int((count > 0).sum()), len(set(studies.tolist())))


def estimate(right: NDArray[np.bool_], studies: NDArray[np.str_]) -> Estimate:
    """Return the share of series that are right."""
    return ratio(right.astype(np.int64), np.ones(len(right), np.int64), studies)


def _classes(
    names: Sequence[str], true: NDArray[np.int64], said: NDArray[np.int64], studies: NDArray[np.str_]
) -> Iterable[ClassFigures]:
    """Yield the figures of each class that is there."""
    for index, name in enumerate(names):
        mine, called = true == index, said == index
        if not mine.any():
            continue
        both = (mine & called).astype(np.int64)
        neither = (~mine & ~called).astype(np.int64)
        either = mine.astype(np.int64) + called.astype(np.int64)
        yield ClassFigures(
            name,
            int(mine.sum()),
            ratio(both, mine.astype(np.int64), studies),
            ratio(neither, (~mine).astype(np.int64), studies),
            ratio(2 * both, either, studies),
        )


def costs(reader: SeriesReader, slices: int, side: int = 512) -> float:
    """Return the CPU milliseconds from so many decoded slices of side x side to the answer."""
    rng = np.random.default_rng(SEED)
    image = rng.normal(0, 300, (side, side)).astype(np.float32)
    chosen = kept(slices)
    step = slices / len(chosen)
    places = np.arange(len(chosen), dtype=np.float64) * step
    planned = Plan((), places, step, STORED["axial"], reach_mm=(0.0, float(slices)))
    begun = time.process_time()
    stack = np.stack([small(image)[0] for _ in chosen])
    reader.predict(Volume(stack, (step, 3.0, 3.0)), planned)
    return 1000 * (time.process_time() - begun)
