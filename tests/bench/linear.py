"""Whether the cost of a series grows with its images and no faster: 100 to 10 000 slices, end to end."""

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from tests.bench.measure import processor_times
from tests.bench.plots import linear_plot
from tests.builders import Recipe, write
from tests.harness import Archive, RunningNode, free_port, make_node, running, storescu, wait_until

SIZES: Final = (100, 300, 1000, 3000, 10_000)
PLOT: Final = Path("tests/bench/plots/linear.svg")
_PATIENCE_S: Final = 1200.0


@dataclass(frozen=True)
class Cost:
    """One series from its first image sent to its last copy recorded; memory is the highest, in MiB."""

    images: int
    wall_s: float
    receiver_cpu_s: float
    worker_cpu_s: float
    receiver_mib: float
    worker_mib: float


@dataclass(frozen=True)
class Growth:
    """The costs of series of growing length."""

    costs: Sequence[Cost]

    def markdown(self) -> str:
        """Write the table; with a steady cost an image its columns an image stay the same."""
        lines = [
            "## Series from 100 to 10 000 slices",
            "",
            "Slices of 64 x 64 pixels, one association, to storescp; the network sees its 160 x 160 as ever. "
            "From the first image sent to the last delivery recorded; the second until a series is stable "
            "counts. CPU time of the node's process and of its worker, and the highest memory of each.",
            "",
            "| images | s | ms/image | node, CPU ms/image | worker, CPU ms/image | node, MiB | worker, MiB |",
            "|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for each in self.costs:
            parts = [each.wall_s, each.receiver_cpu_s, each.worker_cpu_s]
            cells = [f"{1000 * part / each.images:.2f}" for part in parts]
            memory = f"{each.receiver_mib:.0f} | {each.worker_mib:.0f}"
            lines.append(f"| {each.images} | {each.wall_s:.1f} | {' | '.join(cells)} | {memory} |")
        return "\n".join([*lines, "", f"![cost against images]({PLOT})", ""])


def growth(folder: Path, beside: Path, sizes: Sequence[int] = SIZES) -> Growth:
    """Send series of these sizes through one node, one after the other, and draw the plot."""
    with ExitStack() as stack:
        archive = Archive(folder / "linear-archive", free_port()).start("+xa", "+B", "-pdu", "131072")
        stack.callback(archive.stop)
        described = make_node(
            folder / "linear", archive.destination(relabel="always"), series={"stable_age_s": 1}
        )
        node = stack.enter_context(running(described))
        _through(node, archive, folder, 20, "first")  # starts the worker
        found = Growth([_through(node, archive, folder, size, f"n{size}") for size in sizes])
    linear_plot(found.costs, beside / PLOT)
    return found


def _through(node: RunningNode, archive: Archive, folder: Path, images: int, seed: str) -> Cost:
    assert node.process is not None
    files = folder / seed
    write(files, Recipe(n=images, step_mm=1500 / images, seed=seed))
    root = psutil.Process(node.process.pid)
    before, workers = processor_times(root), _workers(node)
    started = time.perf_counter()
    assert storescu(node.port, [files], "-R", "+sd", "-pdu", "131072").returncode == 0
    series = len(node.rows()) + 1
    peak = [0.0, 0.0]

    def delivered() -> bool:
        peak[0] = max(peak[0], _mib([root]))
        peak[1] = max(peak[1], _mib(_workers(node)))
        return len(node.rows(state="delivered")) >= series

    wait_until(delivered, f"{images} copies are delivered", _PATIENCE_S)
    wall_s = time.perf_counter() - started
    used = {pid: cpu_s - before.get(pid, 0.0) for pid, cpu_s in processor_times(root).items()}
    assert len(archive.files()) == images
    for path in [*archive.files()]:
        path.unlink()
    shutil.rmtree(files)
    of_workers = sum(used.get(each.pid, 0.0) for each in {*workers, *_workers(node)})
    return Cost(images, wall_s, used[root.pid], of_workers, *peak)


def _workers(node: RunningNode) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in node.workers()]


def _mib(processes: Sequence[psutil.Process]) -> float:
    return float(sum(each.memory_info().rss for each in processes)) / 2**20
