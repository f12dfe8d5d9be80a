"""The forwarder: one loop a destination, with connections of its own, so that none waits for another."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final

import structlog

from db.deliveries import due
from db.destinations import Hold, hold
from db.records import DeliveryWork
from db.session import Database
from node.auditing.audit import Trail
from node.auditing.ledger import Ledger
from node.clock import utc_now
from node.delivery.backoff import pause_s
from node.delivery.courier import Courier, Ending
from node.delivery.destinations import transport
from node.health import Health
from node.relabelling.relabel import Modifier
from node.settings.destinations import Destination
from node.storage.spool import Spool

log = structlog.get_logger()

_POLL_S: Final = 1.0
"""How often the database is asked for work that came from elsewhere (another process, `resend`)."""

_BATCH: Final = 500


class Forwarder:
    """Delivers what is due for one destination."""

    def __init__(
        self,
        destination: Destination,
        calling: str,
        database: Database,
        spool: Spool,
        modifier: Modifier,
        trail: Trail | None = None,
        health: Health | None = None,
    ) -> None:
        self._destination = destination
        self._database = database
        way = transport(destination, calling)
        self._ledger = Ledger(trail or Trail(None), calling, destination.name)
        self._courier = Courier(destination, way, database, spool, modifier, self._paused, self._ledger)
        self._health = health or Health()
        self._down = 0
        self._held = Hold()
        self._asked_at = -_POLL_S
        self._wake = threading.Event()

    def wake(self) -> None:
        """Tell the loop that there may be work."""
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set; while the destination is down, try with growing pauses."""
        while not stop.is_set():
            try:
                pause = self.deliver_due(stop)
            except Exception:
                log.exception("a forwarder failed; it goes on", destination=self._destination.name)
                pause = pause_s(self._destination.retry, 1)
            if self._down or pause > _POLL_S:
                self._rest(pause, stop)
            else:
                self._wake.wait(pause)
            self._wake.clear()
        self._courier.close()

    def deliver_due(self, stop: threading.Event) -> float:
        """Send one batch of what is due; return for how long to pause, in seconds."""
        if self._hold().paused_at is not None:
            return _POLL_S
        now = utc_now()
        # Nothing is put off for longer than this: what seems to be, a clock that was set back has put there.
        latest = now + timedelta(seconds=self._destination.retry.maximum_s)
        with self._database.reading() as session:
            work = due(
                session, self._destination.name, now, _BATCH * self._destination.concurrency, latest=latest
            )
        if not work:
            return _POLL_S
        try:
            endings = self._deliver(work, stop)
        finally:
            self._ledger.write()
        broke = [each for each in endings if each.broke]
        if not broke:
            self._down = 0
            self._health.reached(self._destination.name)
            return 0.0
        if any(each.answered for each in endings):
            self._down = 1
            self._health.reached(self._destination.name)
        else:
            self._down += 1
            self._health.missed(self._destination.name, broke[0].why)
        asked_for = max(each.pause_s for each in broke)
        return max(asked_for, pause_s(self._destination.retry, self._down))

    def _deliver(self, work: Sequence[DeliveryWork], stop: threading.Event) -> list[Ending]:
        """Share the work out among as many connections as the destination may have."""
        size = -(-len(work) // self._destination.concurrency)
        parts = [work[start : start + size] for start in range(0, len(work), size)]
        if len(parts) == 1:
            return [self._courier.deliver(work, stop)]
        with ThreadPoolExecutor(len(parts), "courier") as threads:
            return list(threads.map(lambda part: self._courier.deliver(part, stop), parts))

    def _rest(self, pause: float, stop: threading.Event) -> None:
        """Leave the destination alone, until the time is over or an admin says something of it."""
        ends_at = time.monotonic() + pause
        before = self._held.changed_at
        while not stop.is_set() and time.monotonic() < ends_at:
            if stop.wait(min(_POLL_S, max(0.0, ends_at - time.monotonic()))):
                return
            if self._hold().changed_at != before:
                self._down = 0
                return

    def _paused(self) -> bool:
        """Tell whether an admin holds the destination back, as far as was known a moment ago."""
        if time.monotonic() - self._asked_at > _POLL_S:
            self._hold()
        return self._held.paused_at is not None

    def _hold(self) -> Hold:
        with self._database.reading() as session:
            self._held = hold(session, self._destination.name)
        self._asked_at = time.monotonic()
        return self._held
