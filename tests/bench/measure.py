"""Interleaved measurements: every system once a round, medians, and ratios within a round."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import psutil


@dataclass(frozen=True)
class Sample:
    """One run: wall time, and CPU time of the process in question where it can be had."""

    wall_s: float
    cpu_s: float | None = None


Run = Callable[[], Sample]


@dataclass(frozen=True)
class Table:
    """What one question's runs took; `reference` names the system that ratios are against."""

    title: str
    what: str
    images: int
    reference: str | None
    samples: Mapping[str, tuple[Sample, ...]]
    loads: tuple[float, ...]

    def markdown(self) -> str:
        """Write the table, one line a system; ratios above 1 mean faster than the reference."""
        lines = [f"## {self.title}", "", self.what, ""]
        columns = ["", "s a run", "ms/image", "images/s", "CPU ms/image"]
        if self.reference:
            columns.append(f"speed against {self.reference}")
        lines += [f"| {' | '.join(columns)} |", f"|---{'|---:' * (len(columns) - 1)}|"]
        lines += [self._line(name, runs) for name, runs in self.samples.items()]
        rounds = len(next(iter(self.samples.values())))
        load = f"{min(self.loads):.1f} to {max(self.loads):.1f}"
        lines += ["", f"n = {self.images} images a run, {rounds} rounds, load average {load}.", ""]
        return "\n".join(lines)

    def _line(self, name: str, runs: tuple[Sample, ...]) -> str:
        walls = [1000 * run.wall_s / self.images for run in runs]
        cpus = [1000 * run.cpu_s / self.images for run in runs if run.cpu_s is not None]
        cpu = f"{median(cpus):.2f}" if cpus else "–"
        total_s = median(run.wall_s for run in runs)
        cells = [name, f"{total_s:.1f}", _spread(walls), f"{1000 / median(walls):.0f}", cpu]
        if self.reference is not None:
            pairs = zip(self.samples[self.reference], runs, strict=True)
            cells.append(_spread([other.wall_s / own.wall_s for other, own in pairs]))
        return f"| {' | '.join(cells)} |"


def interleaved(
    title: str, what: str, images: int, rounds: int, runs: Mapping[str, Run], reference: str | None = None
) -> Table:
    """Run every system once a round, in order, so that what else the machine does hits all of them."""
    samples: dict[str, list[Sample]] = {name: [] for name in runs}
    loads = [os.getloadavg()[0]]
    for _ in range(rounds):
        for name, run in runs.items():
            samples[name].append(run())
        loads.append(os.getloadavg()[0])
    found = {name: tuple(each) for name, each in samples.items()}
    return Table(title, what, images, reference, found, tuple(loads))


class Watch:
    """Wall and CPU time since it was made; of this process, or of that with a number, and its children."""

    def __init__(self, pid: int | None = None) -> None:
        self._pid = pid
        self._cpu_s = self._used()
        self._start = time.perf_counter()

    def _used(self) -> float:
        if self._pid is not None:
            return sum(cpu_s(self._pid).values())
        times = psutil.Process().cpu_times()
        return float(times.user + times.system)

    def sample(self) -> Sample:
        """Return what was used until now."""
        return Sample(time.perf_counter() - self._start, self._used() - self._cpu_s)


def processor_times(root: psutil.Process) -> dict[int, float]:
    """Return the CPU seconds of a process and each of its children so far."""
    times = {each.pid: each.cpu_times() for each in (root, *root.children(recursive=True))}
    return {number: float(used.user + used.system) for number, used in times.items()}


def own(work: Callable[[], object]) -> Run:
    """Make a run of work that this process does itself."""

    def run() -> Sample:
        watch = Watch()
        work()
        return watch.sample()

    return run


def _spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def cpu_s(pid: int) -> dict[int, float]:
    """Return the CPU seconds of a process and each of its children so far."""
    root = psutil.Process(pid)
    times = {each.pid: each.cpu_times() for each in (root, *root.children(recursive=True))}
    return {number: float(used.user + used.system) for number, used in times.items()}


def at_rest(pid: int) -> bool:
    """Look for a second whether a process and its children have nothing to do."""
    before = sum(cpu_s(pid).values())
    psutil.cpu_percent(interval=1.0)
    return sum(cpu_s(pid).values()) - before < 0.1
