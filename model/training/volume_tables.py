"""The figures of networks for whole CT series as tables for MODEL_CARD.md and as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.series_labels import TITLES
from model.training.volume_evaluation import Estimate, SeriesScore


def percent(each: Estimate) -> str:
    """Write a share with its interval in per cent."""
    if not np.isfinite(each.value):
        return "–"
    return f"{100 * each.value:.1f} ({100 * each.low:.0f}-{100 * each.high:.0f})"


def tables(scores: Sequence[SeriesScore]) -> str:
    """Return all tables of the scored parts."""
    pieces = [summary(scores)]
    for each in scores:
        pieces.append(f"#### CT series. {each.name}")
        pieces += [_classes(each, head) for head in each.classes]
        pieces += [_confusion(head, *each.confusion[head]) for head in each.confusion]
    return "\n\n".join(pieces)


def summary(scores: Sequence[SeriesScore]) -> str:
    """Return one line a figure, one column a part."""
    names = list(dict.fromkeys(name for each in scores for name in each.figures))
    lines = [_line(["% (95 % interval), series / studies", *(each.name for each in scores)])]
    lines.append(_line(["---"] * (len(scores) + 1)))
    for name in names:
        cells = [each.figures.get(name) for each in scores]
        lines.append(_line([name, *("–" if cell is None else _cell(cell) for cell in cells)]))
    return "\n".join(lines)


def _cell(each: Estimate) -> str:
    return f"{percent(each)}, {each.series} / {each.studies}"


def _classes(score: SeriesScore, head: str) -> str:
    lines = [_line([head, "series", "sensitivity %", "specificity %", "F1 %"]), _line(["---"] * 5)]
    for each in score.classes[head]:
        shares = (percent(each.sensitivity), percent(each.specificity), percent(each.f1))
        lines.append(_line([_title(each.name), str(each.series), *shares]))
    return "\n".join(lines)


def _confusion(head: str, names: Sequence[str], table: NDArray[np.int64]) -> str:
    """Return true classes that are there as rows, and as columns whatever was said."""
    rows = [int(row) for row in np.flatnonzero(table.sum(axis=1))]
    columns = [int(column) for column in np.flatnonzero(table.sum(axis=0) + table.sum(axis=1))]
    lines = [_line([f"{head}: true \\ said", *(_title(names[c]) for c in columns)])]
    lines.append(_line(["---"] * (len(columns) + 1)))
    for row in rows:
        cells = [str(table[row, c]) if table[row, c] else "" for c in columns]
        lines.append(_line([_title(names[row]), *cells]))
    return "\n".join(lines)


def _title(name: str) -> str:
    return TITLES.get(name, name)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def plain(scores: Sequence[SeriesScore], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures as plain values."""
    parts = {
        each.name: {
            "figures": {name: rounded(figure) for name, figure in each.figures.items()},
            "classes": {
                head: {one.name: {"series": one.series, "f1": rounded(one.f1)} for one in found}
                for head, found in each.classes.items()
            },
        }
        for each in scores
    }
    return {"parts": parts, **more}


def rounded(each: Estimate) -> dict[str, Any]:
    """Return an estimate as plain values, null for what is no number."""
    return {key: _number(value) for key, value in asdict(each).items()}


def _number(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4) if np.isfinite(value) else None
    return value
