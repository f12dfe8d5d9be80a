"""The HTML report: one file that needs nothing else, for a screen, light or dark, and for paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from model.regions import UNKNOWN
from model.training import plots
from model.training.card import (
    absent,
    classified,
    confusions,
    judged,
    millimetres,
    percent,
    points,
)
from model.training.compare import Difference
from model.training.evaluate import Scored, StageReport
from model.training.metrics import ADJACENT
from model.training.report import Report

PAPER: Final = {
    "CT": {"sensitivity": 92.5, "specificity": 99.4, "f1": 92.5},
    "MR": {"sensitivity": 92.3, "specificity": 99.2, "f1": 92.2},
}
"""Weighted figures of Raffy et al. 2023 on their own test sets, in per cent."""
_TEMPLATES: Final = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Pictures:
    """Data URIs: of each part's worst mistakes in the order of the report, and a strip of each region."""

    mistakes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    samples: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One cell of a confusion matrix: images, their share of the row (0..1), and how grave it is."""

    images: int
    share: float
    kind: str


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix of one stage, rows the truth, columns what was said; empty ones left out."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[Cell, ...]], ...]


def render(report: Report, pictures: Pictures) -> str:
    """Return the page of a report."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(percent=percent, points=points, mm=millimetres, share=_share, p=_p)
    return environment.get_template("report.html").render(
        report=report,
        pictures=pictures,
        paper=PAPER[report.weights.modality],
        parts=[_part(report, part) for part in report.parts],
        forest=_forest(report),
        judged=judged,
        classified=classified,
        flat=flat(report.weights.training),
    )


def _part(report: Report, part: Scored) -> dict[str, Any]:
    """Return what the template shows of one part beside its figures."""
    drawings = {
        "regions": plots.regions(part.principal),
        "reliability": plots.reliability(part.principal),
        "coverage": plots.coverage(part.principal),
    }
    return {
        "scored": part,
        "last": part.stages[-1],
        "shown": part.principal,
        "absent": absent(part.stages[0].figures, report.classes),
        "matrices": [matrix(stage, report.classes) for stage in part.principal],
        "confusions": confusions(part.stages[-1], report.classes),
        "at_minimum": [at_confidence(stage, report.minimum_confidence) for stage in part.principal],
        **drawings,
    }


def matrix(stage: StageReport, classes: Sequence[str]) -> Matrix:
    """Return the confusion matrix of a stage without rows and columns that hold nothing."""
    counts = np.array(stage.figures.confusion)
    names = (*classes, UNKNOWN)
    columns = [
        i for i, name in enumerate(names) if counts[:, i].any() or (name != UNKNOWN and counts[i].any())
    ]
    rows = []
    for i, truth in enumerate(classes):
        total = int(counts[i].sum())
        if total:
            cells = tuple(
                Cell(int(counts[i, j]), float(counts[i, j] / total), kind(truth, names[j])) for j in columns
            )
            rows.append((truth, total, cells))
    return Matrix(stage.title, tuple(names[j] for j in columns), tuple(rows))


def kind(truth: str, said: str) -> str:
    """Return how grave it is to say `said` of a slice of `truth`: right, near, far or unknown."""
    if said == UNKNOWN:
        return "unknown"
    if said == truth:
        return "right"
    return "near" if frozenset((truth, said)) in ADJACENT else "far"


def at_confidence(stage: StageReport, minimum: float) -> tuple[float, float]:
    """Return the share of images that reach a confidence, and the share of them that is right, 0..1.

    From the bins of the reliability diagram, so exact where `minimum` is a tenth.
    """
    kept = [one for one in stage.figures.reliability if one.images and one.low >= minimum - 1e-9]
    images = sum(one.images for one in kept)
    right = sum(one.images * one.right for one in kept)
    return images / max(1, stage.figures.slices), right / images if images else float("nan")


def flat(plain: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Return nested values as one level, keys joined by dots."""
    found: dict[str, str] = {}
    for key, value in plain.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        elif value not in (None, "", [], ()):
            found[name] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return found


def _forest(report: Report) -> str:
    found: list[tuple[str, Difference]] = [
        (f"{part}, {row.measure}", row)
        for part, stages in report.comparison.items()
        for row in list(stages.values())[-1]
    ]
    return plots.forest(found) if found else ""


def _share(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.1f}"


def _p(value: float) -> str:
    return "-" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
