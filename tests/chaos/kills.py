"""Kills: between every pair of steps, and at random times under load."""

import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.chaos.line import Line, line
from tests.chaos.objects import series
from tests.chaos.plan import Plan, Result
from tests.chaos.sender import NotAcceptedError
from tests.harness import wait_until

STEPS: Final[tuple[tuple[str, int], ...]] = (
    ("before node.storage.draft:Draft.add", 3),  # amid an instance, its file begun
    ("before node.storage.draft:_sync", 3),  # written, and gone after a power cut
    ("after node.storage.draft:_sync", 3),  # written, without its name
    ("after node.storage.spool:_give_name", 3),  # stored, not answered
    ("after node.storage.spool:Spool.keep", 3),
    ("before node.worker:look_early", 1),  # in the worker, while more may come
    ("after node.worker:look_early", 1),  # seen, and nothing recorded
    ("before db.series:register", 1),  # complete, not in the database
    ("after db.series:register", 1),  # in a transaction that is not committed
    ("after node.series:Tracker._register", 1),  # committed
    ("before node.worker:classify_series", 1),  # in the worker from here
    ("before db.results:record_outcome", 1),
    ("after db.results:record_outcome", 1),
    ("after node.worker:classify_series", 1),  # committed, not told
    ("after db.deliveries:due", 3),  # in the forwarder from here
    ("after node.relabelling.relabel:relabelled", 2),
    ("before node.delivery.scu:DicomSender.store", 3),
    ("after node.delivery.scu:DicomSender.store", 3),  # sent, not recorded
    ("after db.sent:succeeded_together", 3),  # in a transaction that is not committed
    ("before db.retention:remove", 1),
    ("after db.retention:remove", 1),
    ("before node.storage.spool:Spool.remove", 1),  # committed, files still there
    ("after node.storage.spool:Spool.remove", 1),
)
"""Where a process kills itself, at which call, in the order of a series' way through the node."""

_PAUSE: Final = threading.Event()
_BACKLOG: Final = 60
"""Objects accepted and not delivered from which on the modalities wait, so that the end comes in time."""


def steps(plan: Plan) -> Result:
    """Die at every step once, each time in the middle of a series, and start again."""
    chosen = STEPS[::6] if plan.short else STEPS
    with line(spool={"keep_days": 0}) as made:
        for number, (step, nth) in enumerate(chosen):
            marker = made.folder / f"died-{number}"
            made.faults(die=step, nth=nth, marker=str(marker))
            made.kill()
            made.restart()
            _send_while_dying(made, marker)
        made.faults()
        made.kill()
        made.node.start()
        return Result(made.settle(), f"{len(chosen)} steps: " + ", ".join(step for step, _ in chosen))


def _send_while_dying(made: Line, marker: Path) -> None:
    """Send a series; start the node again once it died. The worker is started again by the node."""
    files = series(made.folder / "in", 8)
    uids = {path.name.split("+")[0] for path in files}

    def dead() -> bool:
        made.restart()
        with suppress(NotAcceptedError):
            made.insist(files, 3)
        return marker.exists() and uids <= {one.uid for one in made.ledger.answered}

    wait_until(dead, f"the step is reached: {marker.name}", 180)


def at_random(plan: Plan) -> Result:
    """Kill node, worker or all at random times while three modalities send without pause."""
    kills = 6 if plan.short else plan.kills
    done = dict.fromkeys(("node", "worker", "all"), 0)
    chance = random.Random(plan.seed)
    with line() as made:
        made.faults()
        made.node.start()
        stop = threading.Event()
        load = [threading.Thread(target=_load, args=(made, stop, number)) for number in range(3)]
        for thread in load:
            thread.start()
        try:
            while sum(done.values()) < kills and not plan.over(reserve_s=plan.scaled(100, 60)):
                _PAUSE.wait(chance.uniform(0.05, 1.0))
                done[_kill_one(made, chance)] += 1
                made.restart()
        finally:
            stop.set()
            for thread in load:
                thread.join()
        counts = made.settle(240)
    named = ", ".join(f"{count} of {what}" for what, count in done.items())
    return Result(counts, f"{sum(done.values())} kills under load: {named}", sum(done.values()) >= kills)


def _kill_one(made: Line, chance: random.Random) -> str:
    what = chance.choice(("node", "worker", "worker", "all"))
    workers = made.node.workers()
    if what in ("worker", "all"):
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
    if what in ("node", "all"):
        made.kill()
    return what


def _load(made: Line, stop: threading.Event, number: int) -> None:
    """Send series of one to twelve instances, at times some of them again, until told to stop."""
    chance = random.Random(number)
    folder = made.folder / f"in-{number}"
    while not stop.is_set():
        files = series(folder, chance.randint(1, 12))
        again = chance.random() < 0.1
        started = time.monotonic()
        made.insist(files, 300)
        if again:
            made.insist(files, 300)
        _PAUSE.wait(min(1.0, time.monotonic() - started))
        while not stop.is_set() and made.backlog() > _BACKLOG:
            _PAUSE.wait(0.1)
