"""The sweeper: finds work whose task was lost, and what a dead process left; one process at a time leads.

There must be as many tasks in a queue as there is work for it. Where there are fewer, tasks were lost, with
the broker or with whoever should have published them, and as many are published anew, the oldest work first.
A task too many does no harm: it finds its work claimed or done.
"""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import structlog

from db import claims
from db.deliveries import skip_destinations
from db.destinations import hold
from db.journeys import due_series, waiting
from db.outages import left_alone
from db.session import Database
from node.clock import utc_now
from node.scaling import figures
from node.scaling.broker import Broker
from node.scaling.lease import Lease
from node.scaling.tracker import SharedTracker
from node.settings.config import Config
from node.storage.spool import Spool

log = structlog.get_logger()

_EVERYTHING: Final = "all"
_STEP_S: Final = 1.0
_MOST: Final = 10_000
"""Tasks published at a time for one queue: the rest has time until the next sweep."""
_SETTLED_S: Final = 300.0
"""A leader so long in office fails what waits for destinations that are configured no more: while versions of
the configuration are exchanged, the old one must not judge what the new one began."""

Loop = Callable[[threading.Event], None]


class Sweeper:
    """Leads where nobody else does; then it sweeps, and runs the loops that there may be one of."""

    def __init__(
        self,
        config: Config,
        database: Database,
        spool: Spool,
        lease: Lease,
        broker: Broker,
        tracker: SharedTracker,
        loops: Sequence[Loop] = (),
    ) -> None:
        self._config = config
        self._database = database
        self._spool = spool
        self._lease = lease
        self._broker = broker
        self._tracker = tracker
        self._loops = loops
        self._led_since: float | None = None
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._skipped = False

    def run(self, stop: threading.Event) -> None:
        """Lead, and sweep, until `stop` is set."""
        swept_at = 0.0
        while not stop.wait(_STEP_S):
            try:
                if self._leads():
                    self._tracker.settle()
                    if time.monotonic() - swept_at >= self._config.scaling.sweep_s:
                        swept_at = time.monotonic()
                        self.sweep()
            except Exception:
                log.exception("the sweeper failed; it goes on")
        self._resign()

    def sweep(self) -> None:
        """Look once for everything that may have been lost."""
        self._bury()
        self._skip_removed()
        try:
            self._sweep_series()
            for name in self._broker.destinations:
                self._sweep_destination(name)
        except OSError as error:
            log.warning("nothing can be published", reason=str(error))

    def _sweep_series(self) -> None:
        with self._database.reading() as session:
            found = waiting(session, _MOST)
        figures.GROWING.set(self._tracker.growing())
        depths = self._broker.depths(self._broker.classifying())
        for priority, series in found.items():
            name = self._broker.queue_of(priority)
            lost = series[: max(0, len(series) - depths[name])]
            figures.QUEUE.labels(name).set(depths[name])
            figures.WAITING.labels(priority.name.lower()).set(len(series))
            figures.ANEW.labels(name).inc(len(lost))
            if lost:
                log.info("tasks are published anew", queue=name, tasks=len(lost))
                self._broker.classify((each, priority) for each in lost)

    def _sweep_destination(self, name: str) -> None:
        """Publish a task for each free connection of a destination that something is due for."""
        destination = self._config.destination(name)
        now = utc_now()
        latest = now + timedelta(seconds=destination.retry.maximum_s)
        with self._database.reading() as session:
            held = hold(session, name).paused_at is not None or left_alone(session, name)
            series = [] if held else due_series(session, name, now, latest, destination.concurrency)
            used = len(claims.taken(session, claims.connecting(name)))
        queue = self._broker.queue_to(name)
        [depth] = self._broker.depths([queue]).values()
        figures.QUEUE.labels(queue).set(depth)
        lost = max(0, min(len(series), destination.concurrency - used) - depth)
        figures.ANEW.labels(queue).inc(lost)
        self._broker.deliver([name] * lost)

    def _skip_removed(self) -> None:
        if self._skipped or self._led_since is None or time.monotonic() - self._led_since < _SETTLED_S:
            return
        self._skipped = True
        with self._database.session() as session:
            skip_destinations(session, self._broker.destinations, utc_now())

    def _bury(self) -> None:
        """Take up what processes left that gave no sign of life for two leases."""
        silent_s = 2 * self._config.scaling.lease_s
        with self._database.session() as session:
            dead = claims.bury(session, silent_s)
            claims.tidy(session, 10 * silent_s)
        for process in dead:
            log.warning("a process is gone; its work is taken over", process=process.name, role=process.role)
            figures.BURIED.labels(process.role).inc()
            self._spool.clear_unfinished_of(process.name)
        if any(process.role == "receiver" for process in dead):
            found = self._tracker.recover()
            self._tracker.hand_over()
            log.info("instances found in the spool", instances=found)

    def _leads(self) -> bool:
        """Tell whether this process leads, and begin or end what the leader alone does."""
        leads = self._lease.has(claims.HOUSEKEEPING, _EVERYTHING)
        if leads and self._led_since is None:
            self._led_since = time.monotonic()
            self._ended = threading.Event()
            self._threads = [
                threading.Thread(target=loop, args=(self._ended,), name=f"leader-{number}", daemon=True)
                for number, loop in enumerate(self._loops)
            ]
            for thread in self._threads:
                thread.start()
            log.info("this process leads", process=self._lease.name)
        elif not leads:
            self._resign()
        figures.LEADS.set(float(leads))
        return leads

    def _resign(self) -> None:
        if self._led_since is None:
            return
        self._ended.set()
        self._led_since = None
        for thread in self._threads:
            thread.join(_STEP_S)
