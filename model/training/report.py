"""Writes the figures of an evaluation as tables into MODEL_CARD.md, and as plain values into the card."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from model.training.metrics import Figure, Figures, Scored

MODEL_CARD: Final = Path("MODEL_CARD.md")
TITLES: Final = {
    "evaluation": "Evaluation: sources never trained on",
    "validation": "Validation: other subjects of the training sources",
}


def percent(figure: Figure, interval: bool = True) -> str:
    """Return a share as per cent, with its 95 % interval."""
    if np.isnan(figure.value):
        return "-"
    text = f"{100 * figure.value:.1f}"
    return f"{text} ({100 * figure.low:.0f}-{100 * figure.high:.0f})" if interval else text


def tables(modality: str, scored: Sequence[Scored]) -> str:
    """Return the Markdown of all parts of one modality."""
    return "\n\n".join(_part(modality, one) for one in scored)


def _part(modality: str, one: Scored) -> str:
    figures = one.figures
    sources = ", ".join(f"{name} {n} slices / {people}" for name, (n, people) in one.sources.items())
    also = (
        f"; {100 * one.with_also:.1f} % when a second possible reading counts too" if modality == "MR" else ""
    )
    summary = (
        f"{figures.slices} axial slices of {figures.subjects} subjects ({sources}). "
        f"Accuracy (weighted sensitivity) {percent(figures.weighted['sensitivity'])} %{also}. "
        f"Taken for a region neither theirs nor beside it: {percent(figures.non_adjacent)} %. "
        f"Expected calibration error {100 * figures.calibration_error:.1f} %."
    )
    parts = (
        f"#### {modality}. {TITLES[one.part]}",
        summary,
        _regions(figures),
        _errors(figures),
    )
    return "\n\n".join(part for part in parts if part)


def _regions(figures: Figures) -> str:
    lines = [
        "| region | slices | subjects | sensitivity % | specificity % | F1 % |",
        "|---|---|---|---|---|---|",
    ]
    for row in figures.regions:
        shares = (
            f"{percent(row.sensitivity)} | {percent(row.specificity, interval=False)} | {percent(row.f1)}"
        )
        lines.append(f"| {row.region} | {row.slices} | {row.subjects} | {shares} |")
    for name, found in (("weighted", figures.weighted), ("macro", figures.macro)):
        shares = " | ".join(percent(found[key]) for key in ("sensitivity", "specificity", "f1"))
        lines.append(f"| **{name}** | {figures.slices} | {figures.subjects} | {shares} |")
    absent = [key for key in figures.classes if key not in {row.region for row in figures.regions}]
    note = f"\n\nNo slices at all, so no figure: {', '.join(absent)}." if absent else ""
    return "\n".join(lines) + note


def _errors(figures: Figures, most: int = 10) -> str:
    """Name the most frequent confusions; the whole matrix stands in the card beside the weights."""
    classes, matrix = figures.classes, figures.confusion.copy()
    np.fill_diagonal(matrix, 0)
    order = np.argsort(matrix, axis=None)[::-1][:most]
    pairs = [tuple(int(place) for place in np.unravel_index(flat, matrix.shape)) for flat in order]
    named = [f"{classes[t]} as {classes[p]} {matrix[t, p]}" for t, p in pairs if matrix[t, p]]
    return f"Most frequent confusions (slices): {', '.join(named)}." if named else ""


def plain(figures: Figures) -> dict[str, object]:
    """Return the figures as plain values, rounded to four digits, for the card beside the weights."""
    return {
        "slices": figures.slices,
        "subjects": figures.subjects,
        "regions": {
            row.region: {
                "slices": row.slices,
                "subjects": row.subjects,
                "sensitivity": _numbers(row.sensitivity),
                "specificity": _numbers(row.specificity),
                "f1": _numbers(row.f1),
            }
            for row in figures.regions
        },
        "weighted": {name: _numbers(figure) for name, figure in figures.weighted.items()},
        "macro": {name: _numbers(figure) for name, figure in figures.macro.items()},
        "non_adjacent": _numbers(figures.non_adjacent),
        "calibration_error": round(figures.calibration_error, 4),
        "confusion": figures.confusion.tolist(),
    }


def _numbers(figure: Figure) -> list[float | None]:
    values = (figure.value, figure.low, figure.high)
    return [None if np.isnan(value) else round(value, 4) for value in values]


def insert(card: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of `name` in the model card; ValueError if they are missing."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    whole = card.read_text(encoding="utf-8")
    if begin not in whole or end not in whole:
        raise ValueError(f"{card} lacks the markers {begin} and {end}")
    before, after = whole.split(begin)[0], whole.split(end)[1]
    card.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
