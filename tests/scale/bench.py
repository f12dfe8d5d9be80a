"""python -m tests.scale.bench: how work grows with workers, what an image costs, and what a year takes.

Rewrites its own section of BENCHMARKS.md and leaves the rest.
"""

import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import linear_regression, median
from typing import Annotated, Final

import psutil
import typer
from sqlalchemy import func, select, text

from db.session import open_database
from db.states import State
from db.tables import Series
from tests.builders import Recipe, write
from tests.chaos.__main__ import SEVERAL
from tests.chaos.ledger import Ledger
from tests.chaos.objects import series
from tests.chaos.sender import insist
from tests.harness import wait_until
from tests.scale.capacity import Costs, plan
from tests.scale.cluster import Cluster, cluster
from tests.scale.section import circumstances, rewrite

_IMAGE_BYTES: Final = 512 * 512 * 2
_SECONDS: Final = 1.0
"""For how long a worker waits over each series, as for a GPU."""
_WORKERS: Final = (1, 2, 4)


@dataclass(frozen=True)
class Rate:
    """Series decided in a second by so many workers, in each round."""

    workers: int
    series_per_s: tuple[float, ...]


def main(
    rounds: Annotated[int, typer.Option(help="how often each number of workers is measured")] = 3,
    count: Annotated[int, typer.Option(help="series of a round")] = 40,
    images: Annotated[int, typer.Option(help="images whose costs are measured")] = 600,
    kind: Annotated[str, typer.Option("--broker", help="rabbitmq or redis")] = "rabbitmq",
    out: Annotated[Path | None, typer.Option(help="whose section is rewritten")] = None,
) -> None:
    """Measure, and write the section."""
    warnings.simplefilter("ignore", ResourceWarning)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    found = growth(kind, count, rounds)
    costs = unit_costs(kind, images)
    told = "\n".join([_head(kind, count, rounds), _growth(found), costs.markdown(), plan(costs)])
    print(told, flush=True)
    if out is not None:
        rewrite(out, SEVERAL, told)


def growth(kind: str, count: int, rounds: int) -> list[Rate]:
    """Measure how many series so many workers decide in a second, in turns, so that all see the same load."""
    found: dict[int, list[float]] = {workers: [] for workers in _WORKERS}
    with cluster(kind) as made:
        made.faults = {"slow": _SECONDS}
        made.start_all(receiver=1, worker=max(_WORKERS), forwarder=1)
        done = 0
        for workers in _WORKERS * rounds:
            _have(made, 0)  # all is there before the first begins
            _send(made, count)
            done += count
            wait_until(partial(_stable, made, done), "all is stable")
            _have(made, workers)
            wait_until(partial(_reached, made, done), "all is decided", 600)
            found[workers].append(_rate(made, count))
    return [Rate(workers, tuple(each)) for workers, each in found.items()]


def _stable(made: Cluster, count: int) -> bool:
    return len(made.lines(event="series stable")) >= count


def _have(made: Cluster, workers: int) -> None:
    """Start or stop workers until there are so many, and wait until they are ready."""
    for number in range(1, max(_WORKERS) + 1):
        name = f"worker-{number}"
        alive = made.processes[name].poll() is None
        if number > workers and alive:
            made.stop(name)
        elif number <= workers and not alive:
            made.start(name)
    for number in range(1, workers + 1):
        wait_until(partial(made.asked, f"worker-{number}", "/ready"), "the worker is ready")


def _send(made: Cluster, count: int) -> None:
    for _ in range(count):
        insist(made.port(), series(made.folder / "in", 2), Ledger())


def _reached(made: Cluster, count: int) -> bool:
    return _decided(made) >= count


def _decided(made: Cluster) -> int:
    database = open_database(made.database.url)
    try:
        with database.reading() as session:
            wanted = select(func.count()).select_from(Series).where(Series.state != State.STABLE)
            return session.scalar(wanted) or 0
    finally:
        database.close()


def _rate(made: Cluster, count: int) -> float:
    """Return series in a second, of the middle of the last `count`: neither beginning nor end counts.

    Workers that keep step decide in bursts; the slope of a line through all of them does not depend on
    which of a burst the first and the last one are.
    """
    database = open_database(made.database.url)
    try:
        with database.reading() as session:
            newest = select(Series.decided_at).order_by(Series.decided_at.desc()).limit(count)
            at = list(session.scalars(newest))
    finally:
        database.close()
    times = sorted(each.timestamp() for each in at if each is not None)
    middle = times[count // 5 : count - count // 5]
    return linear_regression(middle, range(len(middle))).slope


def unit_costs(kind: str, images: int) -> Costs:
    """Send images of half a megabyte through one process of each role, and see what each of them took."""
    with cluster(kind, series={"stable_age_s": 2}) as made:
        made.start_all(receiver=1, worker=1, forwarder=1)
        files = [
            write(made.folder / "in" / str(number), Recipe(n=100, seed=f"s{number}", rows=512, columns=512))
            for number in range(images // 100)
        ]
        size, before = _database_bytes(made), _cpu_s(made)
        for each in files:
            insist(made.port(), each, Ledger(), 300)
        wait_until(lambda: made.archive.distinct() >= images, "all arrived", 600)
        wait_until(lambda: _decided(made) >= len(files), "all is decided", 60)
        after = _cpu_s(made)
        took = {role: 1000 * (after[role] - before[role]) / images for role in before}
        return Costs(
            images=images,
            image_bytes=_IMAGE_BYTES,
            receiver_ms=took["receiver"],
            worker_ms=took["worker"],
            forwarder_ms=took["forwarder"],
            database_bytes=(_database_bytes(made) - size) / images,
        )


def _cpu_s(made: Cluster) -> dict[str, float]:
    """Return the processor seconds of each role so far; a worker's include its inference process."""
    workers = {each.pid for name, each in made.processes.items()}
    found = {name.split("-")[0]: _seconds([each.pid]) for name, each in made.processes.items()}
    forked = [child.pid for child in psutil.Process(made.origin).children() if child.pid not in workers]
    found["worker"] += _seconds(forked)
    return found


def _seconds(pids: Sequence[int]) -> float:
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def _database_bytes(made: Cluster) -> int:
    database = open_database(made.database.url)
    try:
        with database.engine.connect() as connection:
            connection.execute(text("CHECKPOINT"))
            return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    finally:
        database.close()


def _head(kind: str, count: int, rounds: int) -> str:
    return (
        f"Written by `make bench-scale`: {circumstances()}. Broker {kind}; database, "
        "broker, all processes and "
        f"the archive on this one machine. A worker waits {_SECONDS:g} s over each series without using a "
        f"processor, as it would for a GPU, and then decides at once; {count} series of two images a round, "
        f"{rounds} rounds; the first and the last fifth of a round do not count.\n"
    )


def _growth(rates: Sequence[Rate]) -> str:
    one = median(rates[0].series_per_s)
    lines = ["| workers | series/s | of one worker | of the ideal |", "|---:|---:|---:|---:|"]
    for each in rates:
        middle = median(each.series_per_s)
        spread = f"{middle:.2f} ({min(each.series_per_s):.2f}–{max(each.series_per_s):.2f})"
        ratio = middle / one
        lines.append(f"| {each.workers} | {spread} | {ratio:.2f} | {100 * ratio / each.workers:.0f} % |")
    return "\n".join(lines) + f"\n\nn = {len(rates[0].series_per_s)} rounds, load {os.getloadavg()[0]:.1f}.\n"


if __name__ == "__main__":
    typer.run(main)
