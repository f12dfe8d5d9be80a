"""Break a running node in every way that is known, and write down what became of each object."""

import logging
import os
import signal
import time
import traceback
import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, NoReturn

import psutil
import typer

from tests.chaos import databases, disks, kills, peers, times, workers
from tests.chaos.plan import AT_THE_END, Fault, Plan
from tests.chaos.report import Ended, lines, text
from tests.scale.section import kept

FAULTS: Final[dict[str, Fault]] = {
    "kill -9 at random times": kills.at_random,
    "10 000 series": times.many,
    "kill -9 at every step": kills.steps,
    "SQLite locked": databases.locked,
    "PostgreSQL stopped": databases.stopped,
    "full disk": disks.full,
    "quota": disks.quota,
    "worker hangs, crashes, out of memory": workers.spoiled,
    "statuses for single instances": peers.statuses,
    "cut and dripping destination": peers.bad_lines,
    "destination gone": peers.gone,
    "association cut in an object": peers.cut_modalities,
    "clock jumps": times.clock,
    "late images": times.late,
    "same UID": times.same_uid,
    "configuration changed": times.configured,
}
"""All faults; the first two take longest."""

SEVERAL: Final = "## Several machines"
"""The section that tests/scale writes."""


def main(
    minutes: Annotated[float, typer.Option(help="the whole run takes no longer")] = 15,
    short: Annotated[bool, typer.Option(help="a minute's version of each fault")] = False,
    only: Annotated[list[str] | None, typer.Option(help="words of a fault's name")] = None,
    random_kills: Annotated[int, typer.Option("--kills", help="how many at random times")] = 200,
    jobs: Annotated[int, typer.Option(help="faults at the same time")] = 4,
    out: Annotated[Path | None, typer.Option(help="where the table is written")] = None,
) -> None:
    """Run the fault tests; exit with 1 if one of the last three figures is not zero anywhere."""
    warnings.simplefilter("ignore", ResourceWarning)
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end(2))
    plan = Plan(minutes, short, random_kills)
    chosen = {name: fault for name, fault in FAULTS.items() if not only or any(word in name for word in only)}
    ended = run_all(chosen, plan, jobs)
    table = text(ended, plan, lines(out) if only else {})
    print(table, flush=True)
    if out is not None:
        out.write_text(table + kept(out, SEVERAL), encoding="utf-8")
    end(0 if all(each.good for each in ended) else 1)


def run_all(chosen: Mapping[str, Fault], plan: Plan, jobs: int) -> list[Ended]:
    """Run faults, some at the same time; what does not end in time is not passed."""
    pool = ThreadPoolExecutor(jobs)
    running = {name: pool.submit(run, name, fault, plan) for name, fault in chosen.items()}
    wait(running.values(), max(0.0, plan.left_s()))
    late = Ended("", None, "not ended in time", 60 * plan.minutes - plan.left_s())
    return [each.result() if each.done() else replace(late, name=name) for name, each in running.items()]


def end(status: int) -> NoReturn:
    """End the program and every node that still runs, without waiting for what hangs."""
    for child in psutil.Process().children(recursive=True):
        child.kill()
    AT_THE_END.close()
    os._exit(status)


def run(name: str, fault: Fault, plan: Plan) -> Ended:
    """Run one fault, whatever it does."""
    began = time.monotonic()
    if plan.over(reserve_s=30):
        return Ended(name, None, "no time was left", 0.0)
    try:
        result = fault(plan)
    except Exception as error:  # noqa: BLE001 - one fault that fails must not end the others
        print(f"{name}: {error}", flush=True)
        traceback.print_exc()
        return Ended(name, None, f"{type(error).__name__}: {error}", time.monotonic() - began)
    ended = Ended(name, result, "", time.monotonic() - began)
    print(
        f"{name}: {'good' if ended.good else 'NOT GOOD'}, {result.counts}, {ended.took_s:.0f} s", flush=True
    )
    return ended


if __name__ == "__main__":
    typer.run(main)
