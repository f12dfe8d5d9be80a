"""The diagrams of the HTML report as SVG: regions with intervals, reliability, accuracy against coverage.

Lines and texts that must show on light and on dark ground take the colour of the page's text.
"""

import io
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure as Drawing

from model.training.bootstrap import Figure
from model.training.compare import Difference
from model.training.evaluate import StageReport

COLOURS: Final = ("#8a8f98", "#2f7dd1", "#d9822b", "#3a9d5d")
"""One colour a stage; they differ in brightness as well, for print and for the colour-blind."""
INK: Final = "#010203"
"""Stands for the colour of the page's text until the SVG is written."""
FEW: Final = 5
"""Below so many subjects an interval says little: its marker is hollow."""
_STYLE: Final = {
    "svg.fonttype": "none", "svg.hashsalt": "bodytag", "font.family": "sans-serif", "font.size": 9.0,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "grid.color": INK, "grid.alpha": 0.15, "legend.frameon": False,
}  # fmt: skip


def regions(stages: Sequence[StageReport]) -> str:
    """Draw sensitivity and F1 of every region with their intervals, the stages one under the other."""
    rows = stages[0].figures.regions
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type, unused-ignore]
        page = Drawing(figsize=(9.2, 0.7 + 0.34 * len(rows)))
        left, right = page.subplots(1, 2, sharey=True)
        for axes, name, title in ((left, "sensitivity", "sensitivity %"), (right, "f1", "F1 %")):
            for number, stage in enumerate(stages):
                shift = (number - (len(stages) - 1) / 2) * 0.26
                for place, row in enumerate(stage.figures.regions):
                    _interval(axes, getattr(row, name), place + shift, number, row.subjects >= FEW)
            _dress(axes, title, [f"{r.region}  n {r.slices}, {r.subjects} s." for r in rows])
            axes.set_xlim(-2, 102)
        handles = [_handle(right, number, stage.title) for number, stage in enumerate(stages)]
        if len(stages) > 1:
            page.legend(handles=handles, loc="outside upper right", ncols=len(handles))
        return _svg(page)


def _interval(axes: Any, figure: Figure, place: float, number: int, filled: bool) -> None:
    colour = COLOURS[number % len(COLOURS)]
    low, value, high = (100 * each for each in (figure.low, figure.value, figure.high))
    axes.plot([low, high], [place, place], color=colour, linewidth=2.0, solid_capstyle="butt", alpha=0.75)
    face = colour if filled else "none"
    axes.plot(value, place, "o", markersize=5, markerfacecolor=face, markeredgecolor=colour)


def _dress(axes: Any, title: str, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(title)
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)


def _handle(axes: Any, number: int, title: str) -> Any:
    return axes.plot([], [], "o-", color=COLOURS[number % len(COLOURS)], markersize=5, label=title)[0]


def reliability(stages: Sequence[StageReport]) -> str:
    """Draw the reliability diagram: share right against confidence; areas grow with the images."""
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type, unused-ignore]
        page = Drawing(figsize=(4.5, 3.6))
        axes = page.subplots()
        axes.plot([0, 100], [0, 100], color=INK, linewidth=0.7, linestyle=(0, (4, 3)))
        for number, stage in enumerate(stages):
            bins = [one for one in stage.figures.reliability if one.images]
            x, y = [100 * one.confidence for one in bins], [100 * one.right for one in bins]
            colour = COLOURS[number % len(COLOURS)]
            total = sum(one.images for one in bins)
            sizes = [12 + 200 * one.images / total for one in bins]
            axes.plot(x, y, color=colour, linewidth=1.2, label=_calibrated(stage))
            axes.scatter(x, y, s=sizes, color=colour, alpha=0.6, linewidths=0)
        return _finished(page, axes, "confidence %", "right %")


def _calibrated(stage: StageReport) -> str:
    return f"{stage.title} (error {100 * stage.figures.calibration_error:.1f} %)"


def coverage(stages: Sequence[StageReport]) -> str:
    """Draw accuracy against coverage: of the most confident share of the images, how many are right."""
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type, unused-ignore]
        page = Drawing(figsize=(4.5, 3.6))
        axes = page.subplots()
        lowest = 100.0
        for number, stage in enumerate(stages):
            curve = stage.figures.coverage
            x, y = [100 * one.coverage for one in curve], [100 * one.right for one in curve]
            lowest = min(lowest, *y)
            axes.plot(x, y, color=COLOURS[number % len(COLOURS)], linewidth=1.8, label=stage.title)
        axes.set_ylim(max(0.0, 5 * np.floor(lowest / 5) - 5), 101)
        return _finished(page, axes, "share of the images, most confident first, %", "right %")


def forest(found: Sequence[tuple[str, Difference]]) -> str:
    """Draw paired differences with their intervals, in points, one line each; zero is no change."""
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type, unused-ignore]
        page = Drawing(figsize=(7.6, 0.8 + 0.27 * len(found)))
        axes = page.subplots()
        axes.axvline(0, color=INK, linewidth=0.8)
        widest = max(1.0, *(100 * max(abs(row.change.low), abs(row.change.high)) for _, row in found))
        axes.set_xlim(-1.05 * widest, 1.05 * widest)
        for place, (_, row) in enumerate(found):
            _interval(axes, row.change, place, 1, filled=not row.change.low <= 0 <= row.change.high)
        _dress(axes, "change in points", [name for name, _ in found])
        return _svg(page)


def _finished(page: Drawing, axes: Any, x: str, y: str) -> str:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid()
    axes.legend(loc="best", fontsize=8)
    return _svg(page)


def _svg(page: Drawing) -> str:
    """Return the drawing as an SVG element that fits the width of its place."""
    page.set_layout_engine("constrained")
    file = io.StringIO()
    page.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")
