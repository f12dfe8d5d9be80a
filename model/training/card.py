"""Writes the figures of an evaluation as tables into MODEL_CARD.md, and as plain values into the card."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from model.regions import UNKNOWN
from model.training.bootstrap import Figure
from model.training.cases import SOURCE, EvaluationError
from model.training.compare import Difference
from model.training.evaluate import Scored, StageReport
from model.training.metrics import Figures
from model.training.report import Incoming, Report
from model.training.series_metrics import BoundaryFigures

MODEL_CARD: Final = Path("MODEL_CARD.md")
CONFUSIONS: Final = 10


def percent(figure: Figure, interval: bool = True) -> str:
    """Return a share as per cent, with its 95 % interval."""
    if np.isnan(figure.value):
        return "-"
    text = f"{100 * figure.value:.1f}"
    return f"{text} ({100 * figure.low:.0f}-{100 * figure.high:.0f})" if interval else text


def points(change: Figure) -> str:
    """Return a difference of shares in points, with its sign and its 95 % interval."""
    return f"{100 * change.value:+.1f} ({100 * change.low:+.1f} to {100 * change.high:+.1f})"


def millimetres(row: BoundaryFigures) -> str:
    """Return a boundary error with its interval."""
    if np.isnan(row.error_mm.value):
        return "-"
    return f"{row.error_mm.value:.1f} ({row.error_mm.low:.1f}-{row.error_mm.high:.1f})"


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def tables(report: Report) -> str:
    """Return the Markdown of all parts of one evaluation."""
    shown = [_part(report, one) for one in report.parts]
    if report.incoming:
        shown.append(_incoming(report.weights.modality, report.incoming))
    return "\n\n".join(shown)


def left_out(report: Report) -> str:
    """Return the Markdown of sources left out of training: slices right, by source and MR sequence.

    Raises EvaluationError where none was scored.
    """
    rows = [row for one in report.parts if one.name.startswith(SOURCE) for row in _strata(one)]
    if not rows:
        raise EvaluationError("no source that was left out of training was scored")
    last = report.parts[0].stages[-1].title
    return table(("source", "sequence", "slices", "subjects", "network alone %", f"{last} %"), rows)


def _strata(one: Scored) -> list[list[object]]:
    ends, source = (one.stages[0], one.stages[-1]), one.name.removeprefix(SOURCE)
    strata = [
        next((each.strata for each in stage.confounders if each.factor == "sequence"), ()) for stage in ends
    ]
    rows: list[list[object]] = [
        [source, alone.value, alone.slices, alone.subjects, percent(alone.right), percent(after.right)]
        for alone, after in zip(*strata, strict=True)
    ]
    whole = ends[0].figures
    shares = (percent(stage.figures.weighted["sensitivity"]) for stage in ends)
    return [*rows, [source, "all", whole.slices, whole.subjects, *shares]]


def _part(report: Report, one: Scored) -> str:
    modality, first, last = report.weights.modality, one.stages[0].figures, one.stages[-1]
    sources = ", ".join(f"{name} {n} slices / {people}" for name, (n, people) in one.sources.items())
    text = f"{first.slices} slices of {first.subjects} subjects ({sources})."
    if one.synthetic:
        text = f"{first.slices} synthetic slices of one body."
    if modality == "MR":
        text += f" {100 * first.with_also:.1f} % right, network alone, when a second possible reading counts."
    missing = absent(first, report.classes)
    named = [f"{truth} as {said} {count}" for truth, said, count in confusions(last, report.classes)]
    ends = (
        f"No slices at all, so no figure: {', '.join(missing)}." if missing else "",
        f"Most frequent confusions, {last.title} (slices): {', '.join(named)}." if named else "",
    )
    pieces = (
        f"#### {modality}. {one.title}",
        f"{text} {one.note}".strip(),
        _whole(one),
        _regions(one),
        *ends,
    )
    return "\n\n".join(piece for piece in pieces if piece)


def _whole(one: Scored) -> str:
    """Return the table of what concerns all regions, one column a stage."""
    stages = [stage.figures for stage in one.stages]
    rows: list[list[object]] = [
        ["weighted sensitivity (accuracy) %", *(percent(f.weighted["sensitivity"]) for f in stages)],
        ["as the paper counts, slices 10 mm apart %", *(percent(f.spaced["sensitivity"]) for f in stages)],
        ["weighted specificity %", *(percent(f.weighted["specificity"]) for f in stages)],
        ["weighted F1 %", *(percent(f.weighted["f1"]) for f in stages)],
        ["macro sensitivity %", *(percent(f.macro["sensitivity"]) for f in stages)],
        ["macro F1 %", *(percent(f.macro["f1"]) for f in stages)],
        ["region neither theirs nor adjacent %", *(percent(f.non_adjacent) for f in stages)],
        ["unknown %", *(f"{100 * f.unknown:.1f}" for f in stages)],
        ["expected calibration error %", *(f"{100 * f.calibration_error:.1f}" for f in stages)],
        *_series(one.stages),
        *_gains(one.stages),
    ]
    return table(["", *(stage.title for stage in one.stages)], rows)


def _series(stages: Sequence[StageReport]) -> list[list[object]]:
    found = [stage.series for stage in stages]
    if found[0] is None:
        return []
    named = f"{found[0].series} series of {found[0].subjects} subjects"
    rows: list[list[object]] = [
        [f"exact set of regions, {named} %", *(percent(s.exact) if s else "-" for s in found)],
        [f"series with a false region, {named} %", *(percent(s.false) if s else "-" for s in found)],
    ]
    if found[0].boundaries:
        every = [s.boundaries[0] if s and s.boundaries else None for s in found]
        n = found[0].boundaries[0]
        head = f"boundary error, mean mm ({n.boundaries} boundaries of {n.subjects} subjects)"
        rows.append([head, *(millimetres(row) if row else "-" for row in every)])
    return rows


def _gains(stages: Sequence[StageReport]) -> list[list[object]]:
    if len(stages) < 2:
        return []
    gains = [points(stage.gain[0].change) if stage.gain else "-" for stage in stages]
    return [["accuracy gained over the network, points, paired", *gains]]


def _regions(one: Scored) -> str:
    """Return the table of regions: sensitivity of the first and the last stage, the rest of the last."""
    ends = (one.stages[0], one.stages[-1]) if len(one.stages) > 1 else one.stages
    stages = [stage.figures for stage in ends]
    behind = f" {ends[-1].title}" if len(ends) > 1 else ""
    heads = ["region", "slices", "subjects", *(f"sensitivity % {stage.title}" for stage in ends),
             f"specificity %{behind}", f"F1 %{behind}"]  # fmt: skip
    rows = [
        [row.region, row.slices, row.subjects, *(percent(f.regions[i].sensitivity) for f in stages),
         percent(stages[-1].regions[i].specificity, interval=False), percent(stages[-1].regions[i].f1)]
        for i, row in enumerate(stages[0].regions)
    ]  # fmt: skip
    return table(heads, rows)


def absent(found: Figures, classes: Sequence[str]) -> list[str]:
    """Return the regions that have no slice."""
    return [key for key in classes if key not in {row.region for row in found.regions}]


def confusions(
    stage: StageReport, classes: Sequence[str], most: int = CONFUSIONS
) -> list[tuple[str, str, int]]:
    """Return the most frequent confusions: truth, what was said, slices."""
    found = [
        (truth, said, count)
        for truth, row in zip(classes, stage.figures.confusion, strict=True)
        for said, count in zip((*classes, UNKNOWN), row, strict=True)
        if said != truth and count
    ]
    return sorted(found, key=lambda one: -one[2])[:most]


def _incoming(modality: str, rows: Sequence[Incoming]) -> str:
    """Return the table of the sample DICOM series: what came in, and what the node says."""
    lines = [
        [row.series, " or ".join(row.expected), judged(row.tag, row.tag_right),
         judged(row.text_term or "", row.text_right), judged(row.node, row.node_right), classified(row)]
        for row in rows
    ]  # fmt: skip
    n = len(rows)
    right = [sum(each) for each in zip(*((r.tag_right is True, r.text_right is True, r.node_right is True)
                                         for r in rows), strict=True)]  # fmt: skip
    lines.append(["**right**", "", *(f"**{count} of {n}**" for count in right), ""])
    heads = ["series", "expected", "BodyPartExamined", "procedure text", "node", "images"]
    title = f"#### {modality}. Sample DICOM series: what came in and what the node says"
    return f"{title}\n\n{table(heads, lines)}"


def classified(row: Incoming) -> str:
    """Return what became of the images of a series."""
    kept = f"{row.right} of {row.scored} right" if row.scored else ""
    passed = [f"{reason} {count}" for reason, count in row.passed_on.items()]
    return "; ".join(part for part in (kept, *passed) if part) or "-"


def judged(said: str, right: bool | None) -> str:
    """Return what was said of a series with a word on whether it is right."""
    if right is None:
        return f"{said} (no body part)" if said else "-"
    return f"{said} ({'right' if right else 'wrong'})"


def comparison(found: Mapping[str, Mapping[str, Sequence[Difference]]]) -> str:
    """Return the Markdown table of differences by part and stage, in per cent and points."""
    rows = [
        [part, stage, row.measure, f"{100 * row.before:.1f}", f"{100 * row.after:.1f}", points(row.change)]
        for part, stages in found.items()
        for stage, measures in stages.items()
        for row in measures
    ]
    return table(["part", "stage", "measure", "before %", "now %", "change, points"], rows)


def plain(report: Report) -> dict[str, object]:
    """Return the figures by part and stage as plain values, rounded, for the card beside the weights."""
    return {part.name: {stage.name: _plain(stage.figures) for stage in part.stages} for part in report.parts}


def _plain(figures: Figures) -> dict[str, object]:
    shares = ("sensitivity", "specificity", "f1")
    return {
        "slices": figures.slices,
        "subjects": figures.subjects,
        "regions": {
            row.region: {
                "slices": row.slices, "subjects": row.subjects,
                **{name: _numbers(getattr(row, name)) for name in shares},
            }
            for row in figures.regions
        },
        "weighted": {name: _numbers(figure) for name, figure in figures.weighted.items()},
        "macro": {name: _numbers(figure) for name, figure in figures.macro.items()},
        "non_adjacent": _numbers(figures.non_adjacent),
        "calibration_error": round(figures.calibration_error, 4),
        "confusion": [list(row) for row in figures.confusion],
    }  # fmt: skip


def _numbers(figure: Figure) -> list[float | None]:
    values = (figure.value, figure.low, figure.high)
    return [None if np.isnan(value) else round(value, 4) for value in values]


def insert(card: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of `name`; EvaluationError where the card has none."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    whole = card.read_text(encoding="utf-8")
    if begin not in whole or end not in whole:
        raise EvaluationError(f"{card} lacks the markers {begin} and {end}")
    before, after = whole.split(begin)[0], whole.split(end)[1]
    card.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
