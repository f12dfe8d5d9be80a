"""The plots of BENCHMARKS.md: throughput against associations, and cost against images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.bench.measure import Table

if TYPE_CHECKING:
    from tests.bench.linear import Cost

RECEIVE: Final = Path("tests/bench/plots/receive.svg")
_STYLE: Final = {"svg.fonttype": "none", "svg.hashsalt": "bodytag", "font.size": 9.0, "axes.grid": True}


def receive_plot(tables: Mapping[int, Table], path: Path = RECEIVE) -> None:
    """Draw images a second of each system against associations, with the range of the rounds."""
    systems = list(next(iter(tables.values())).samples)

    def draw(axes: Any) -> None:
        for system in systems:
            rates = {n: _rates(table, system) for n, table in sorted(tables.items())}
            middle = [sorted(each)[len(each) // 2] for each in rates.values()]
            below = [m - min(each) for m, each in zip(middle, rates.values(), strict=True)]
            above = [max(each) - m for m, each in zip(middle, rates.values(), strict=True)]
            axes.errorbar(list(rates), middle, yerr=[below, above], marker="o", capsize=3, label=system)
        axes.set(xlabel="associations", ylabel="images/s", xticks=sorted(tables), ylim=(0, None))

    _save(draw, path)


def linear_plot(costs: "Sequence[Cost]", path: Path) -> None:
    """Draw the CPU milliseconds of an image, of node and worker, against the images of its series."""

    def draw(axes: Any) -> None:
        images = [each.images for each in costs]
        axes.plot(images, [1000 * c.receiver_cpu_s / c.images for c in costs], marker="o", label="node")
        axes.plot(images, [1000 * c.worker_cpu_s / c.images for c in costs], marker="o", label="worker")
        axes.set(xlabel="images of the series", ylabel="CPU ms/image", xscale="log", ylim=(0, None))

    _save(draw, path)


def _rates(table: Table, system: str) -> list[float]:
    return [table.images / sample.wall_s for sample in table.samples[system]]


def _save(draw: Any, path: Path) -> None:
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type, unused-ignore]
        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.legend(frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
