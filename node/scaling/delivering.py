"""Delivering as a task: one of a destination's connections, claimed while something is due there."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from db.claims import connecting, delivering
from db.deliveries import due
from db.destinations import hold
from db.journeys import due_series, journeys
from db.outages import left_alone, missed, outages, reached
from db.session import Database
from node import metrics
from node.auditing.audit import Trail
from node.auditing.ledger import Ledger
from node.clock import utc_now
from node.delivery.backoff import pause_s
from node.delivery.courier import Courier, Ending
from node.delivery.destinations import transport
from node.relabelling.relabel import Modifier
from node.scaling.journey import stage
from node.scaling.lease import Lease
from node.settings.config import Config
from node.settings.destinations import Destination
from node.storage.spool import Spool

log = structlog.get_logger()

_SERIES: Final = 20
_BATCH: Final = 200
"""What one connection takes at a time: at most so many series, and so many instances of them."""
_ASK_S: Final = 1.0


class Paused:
    """Whether an admin holds a destination back."""

    def __init__(self, database: Database, destination: str) -> None:
        self._database = database
        self._destination = destination
        self._asked_at = -_ASK_S
        self._paused = False

    def __call__(self) -> bool:
        """Tell what was known a moment ago."""
        if time.monotonic() - self._asked_at > _ASK_S:
            with self._database.reading() as session:
                self._paused = hold(session, self._destination).paused_at is not None
            self._asked_at = time.monotonic()
        return self._paused


@dataclass(frozen=True, slots=True)
class _Lane:
    """One of the connections that a destination may have."""

    courier: Courier
    paused: Paused
    ledger: Ledger


class Delivering:
    """Delivers to any configured destination; safe for as many threads as there are tasks."""

    def __init__(
        self,
        config: Config,
        database: Database,
        spool: Spool,
        lease: Lease,
        stop: threading.Event,
        trail: Trail,
        again: Callable[[str], None],
    ) -> None:
        """`again` is told of a destination where something is left when a task's time is over."""
        self._config = config
        self._database = database
        self._spool = spool
        self._lease = lease
        self._stop = stop
        self._trail = trail
        self._again = again
        self._modifier = Modifier(config.receive.ae_title, int(config.receive.maximum_inflated_bytes))
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """End what transcodes."""
        for lane in self._lanes.values():
            lane.courier.close()

    def deliver_series(self, name: str) -> None:
        """Deliver series that have something due for a destination, until none has or the time is over.

        Where all connections of the destination are in use, those who use them take what is due: they look
        once more after they have given their connection back.
        """
        if name not in {each.name for each in self._config.destinations}:
            return
        destination = self._config.destination(name)
        numbers = [str(number) for number in range(destination.concurrency)]
        ends_at = time.monotonic() + self._config.scaling.deliver_for_s
        while not self._stop.is_set():
            with self._lease.holding(connecting(name), numbers) as number:
                if number is None or not self._drain(destination, number, ends_at):
                    return
            if time.monotonic() >= ends_at:
                self._again(name)
                return
            if not self._due(name):
                return

    def _drain(self, destination: Destination, number: str, ends_at: float) -> bool:
        """Deliver until nothing is due or the time is over; False where it is to be left alone."""
        lane = self._lane(destination, number)
        while not self._stop.is_set() and time.monotonic() < ends_at:
            if lane.paused() or self._left_alone(destination.name):
                return False
            series = self._lease.claim(delivering(destination.name), self._due(destination.name))
            if not series:
                return True
            try:
                went_on = self._deliver(destination, lane, [int(each) for each in series])
            finally:
                self._lease.release(delivering(destination.name), series)
                lane.ledger.write()
            if not went_on:
                return False
        return True

    def _deliver(self, destination: Destination, lane: _Lane, series: list[int]) -> bool:
        """Deliver what is due of claimed series, one after the other; False where the peer broke off."""
        now = utc_now()
        latest = now + timedelta(seconds=destination.retry.maximum_s)
        with self._database.reading() as session:
            work = due(session, destination.name, now, _BATCH, latest, among=series)
            ways = {each.series_id: each for each in journeys(session, {one.series_id for one in work})}
        if not work:
            return True
        began = time.time_ns()
        ending = lane.courier.deliver(work, self._stop)
        self._note(destination, ending)
        for series_id, way in ways.items():
            told: dict[str, str | int] = {"series_id": series_id, "destination": destination.name}
            with stage("deliver", way.correlation_id, began, **told):
                log.info("delivery tried", **told, instances=sum(one.series_id == series_id for one in work))
        return not ending.broke

    def _note(self, destination: Destination, ending: Ending) -> None:
        """Tell all forwarders whether the destination answers."""
        name = destination.name
        metrics.UP.labels(name).set(0 if ending.broke and not ending.answered else 1)
        with self._database.session() as session:
            if not ending.broke:
                reached(session, name)
                return
            known = outages(session).get(name)
            misses = 1 if known is None or ending.answered else known.misses + 1
            pause = max(ending.pause_s, pause_s(destination.retry, misses))
            missed(session, name, pause, ending.why, misses)

    def _due(self, name: str) -> list[str]:
        now = utc_now()
        latest = now + timedelta(seconds=self._config.destination(name).retry.maximum_s)
        with self._database.reading() as session:
            return [str(each) for each in due_series(session, name, now, latest, _SERIES)]

    def _left_alone(self, name: str) -> bool:
        with self._database.reading() as session:
            return left_alone(session, name)

    def _lane(self, destination: Destination, number: str) -> _Lane:
        """Return what a connection is used with; each may use its share of what the destination takes."""
        with self._lock:
            if (destination.name, number) not in self._lanes:
                self._lanes[destination.name, number] = self._new_lane(_share(destination))
            return self._lanes[destination.name, number]

    def _new_lane(self, destination: Destination) -> _Lane:
        calling = self._config.receive.ae_title
        paused = Paused(self._database, destination.name)
        ledger = Ledger(self._trail, calling, destination.name)
        way = transport(destination, calling)
        courier = Courier(destination, way, self._database, self._spool, self._modifier, paused, ledger)
        return _Lane(courier, paused, ledger)


def _share(destination: Destination) -> Destination:
    """Return a destination with the rates that one of its connections may use."""
    parts = destination.concurrency
    instances, size = destination.instances_per_s, destination.bytes_per_s
    shared = {
        "instances_per_s": None if instances is None else instances / parts,
        "bytes_per_s": None if size is None else max(1, int(size) // parts),
    }
    return destination.model_copy(update=shared)
