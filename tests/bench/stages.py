"""Where the time of a series goes: each stage of the worker for itself, beside the node's own process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import process_time
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from model.classify import SHIPPED, Classifier, model_input
from model.read import read_header, read_pixels
from model.runtimes import AUTO, Engine
from model.series_reader import SeriesReader
from model.series_weights import SHIPPED as WHOLE
from model.training.volume_evaluation import costs
from node.pictures import Sketch
from node.relabelling.relabel import read_incoming
from tests.bench.through import Through

PLOT: Final = Path("tests/bench/plots/stages.svg")
TIMES: Final = 3
OWN: Final = "receive, gather, relabel, forward"
REST: Final = "rules, records, processes"
DICOM: Final = (OWN, "read header", "read tags", REST)
"""What counts as DICOM overhead: all but decoding, preparing and the networks."""


@dataclass(frozen=True)
class Stages:
    """CPU seconds of each stage, by kind of series; the plot is drawn `beside` the document."""

    images: int
    found: Mapping[str, Mapping[str, float]]
    beside: Path

    def markdown(self) -> str:
        """Write the table, and draw it."""
        plot(self.found, self.beside / PLOT)
        names = list(self.found)
        rows = list(dict.fromkeys(stage for each in self.found.values() for stage in each))
        lines = ["## Where the time goes", "", f"CPU seconds of a series of {self.images} images:", ""]
        lines += [f"|  | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
        for row in rows:
            lines.append(
                f"| {row} | {' | '.join(f'{self.found[name].get(row, 0.0):.2f}' for name in names)} |"
            )
        for title, some in (("**all**", rows), ("**DICOM overhead**", [row for row in rows if row in DICOM])):
            sums = [sum(self.found[name].get(row, 0.0) for row in some) for name in names]
            lines.append(f"| {title} | {' | '.join(f'**{each:.2f}**' for each in sums)} |")
        lines += [
            "",
            f"DICOM overhead: {', '.join(DICOM)}. Pictures, drawn where there is a page, are not in it.",
            "",
        ]
        return "\n".join([*lines, f"![CPU seconds of a series by stage]({PLOT})", ""])


def stages(series: Mapping[str, tuple[Sequence[Path], Through]], images: int, beside: Path) -> Stages:
    """Measure the stages of the worker on some files of each kind; the rest of its time is what is left."""
    classifier, reader = Classifier.load({"CT": SHIPPED["CT"]}, Engine(AUTO)), SeriesReader.load(WHOLE)
    whole_s = _least(lambda: costs(reader, images))
    found = {}
    for name, (files, through) in series.items():
        each = {**_worker(files, classifier, images), "look at the whole": whole_s}
        whole = median(through.course.worker_cpu_s)
        found[name] = {
            OWN: median(through.course.receiver_cpu_s), **each, REST: max(0.0, whole - sum(each.values()))
        }  # fmt: skip
    return Stages(images, found, beside)


def _worker(files: Sequence[Path], classifier: Classifier, images: int) -> dict[str, float]:
    definition, scale = classifier.definition("CT"), images / len(files)
    headers = [read_header(path) for path in files]
    decoded = [read_pixels(header) for header in headers]
    inputs = [model_input(image, definition) for image in decoded]
    classifier.judge("CT", inputs)
    work: dict[str, Callable[[], object]] = {
        "read header": lambda: [read_header(path) for path in files],
        "read tags": lambda: [read_incoming(h.path, h.transfer_syntax_uid, 1 << 29) for h in headers],
        "decode": lambda: [read_pixels(header) for header in headers],
        "prepare": lambda: [model_input(image, definition) for image in decoded],
        "network": lambda: classifier.judge("CT", inputs),
    }
    return {name: scale * _least(each) for name, each in work.items()}


def picture_cpu_s(files: Sequence[Path], images: int) -> float:
    """Return the CPU seconds that sketching a series takes, where there is a page."""
    shown = [(header, read_pixels(header)) for header in map(read_header, files)]

    def draw() -> None:
        sketch = Sketch()
        for header, image in shown:
            sketch.add(header, image)

    return images / len(files) * _least(draw)


def _least(work: Callable[[], object]) -> float:
    """Return the least CPU seconds of a few times; the other ones were disturbed."""
    times = []
    for _ in range(TIMES):
        began = process_time()
        work()
        times.append(process_time() - began)
    return min(times)


def plot(found: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw one bar a kind of series."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "bodytag", "font.size": 9.0}):
        figure = Figure(figsize=(6.4, 2.6), layout="constrained")
        axes = figure.subplots()
        left = dict.fromkeys(found, 0.0)
        for stage in dict.fromkeys(name for each in found.values() for name in each):
            widths = [found[name].get(stage, 0.0) for name in found]
            axes.barh(list(found), widths, left=[left[name] for name in found], label=stage)
            left = {name: left[name] + width for name, width in zip(found, widths, strict=True)}
        axes.set(xlabel="CPU s a series")
        figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=7.5)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
