"""What every process of an installation has, whatever its role: database, spool, broker, lease, sweeper."""

import threading
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from db.deliveries import wanting
from db.journeys import Journey
from db.records import Route, SeriesFacts
from db.session import Database
from node import metrics, site
from node.auditing.audit import Trail
from node.notifying.notifier import Notifier
from node.notifying.troubles import Disk
from node.notifying.ways import configured
from node.notifying.wording import Sender
from node.relabelling.coercion import KEEP
from node.scaling.broker import Broker
from node.scaling.health import SharedHealth
from node.scaling.lease import Lease
from node.scaling.sweeper import Sweeper
from node.scaling.tracker import SharedTracker
from node.settings.config import Config
from node.storage.retention import Keeper
from node.storage.spool import Spool
from node.upkeep import Upkeep
from node.version import VERSION

log = structlog.get_logger()

_STOP_TIMEOUT_S: Final = 30.0


class Parts:
    """The parts, and the threads that run in all roles; each role adds its own."""

    def __init__(
        self, config: Config, database: Database, spool: Spool, lease: Lease, ended: threading.Event
    ) -> None:
        """`ended` is set when a thread ends that should not: then the process is of no use any more."""
        self._ended = ended
        self.failed = False
        self.config = config
        self.database = database
        self.spool = spool
        self.lease = lease
        self.stop = threading.Event()
        self.trail = Trail(config.audit.file)
        self.broker = Broker(config)
        self.tracker = SharedTracker(config, spool, database, self.routes, self.stable, self.arrived_late)
        self._sweeper = Sweeper(config, database, spool, lease, self.broker, self.tracker, self._loops())
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Give signs of life, and sweep where nobody else does."""
        metrics.VERSION.labels(VERSION).set(1)
        metrics.FLOOR_BYTES.set(int(self.config.spool.minimum_free))
        metrics.asked(metrics.FREE_BYTES, self.spool.room.free_bytes)
        self.lease.sign()
        self.run("lease", self.lease.run)
        self.run("sweeper", self._sweeper.run)

    def run(self, name: str, loop: Callable[[threading.Event], None]) -> None:
        """Run a loop in a thread until the process stops."""

        def watched() -> None:
            try:
                loop(self.stop)
            finally:
                if not self.stop.is_set():
                    log.error("a part of the process ended", part=name)
                    self.failed = True
                    self._ended.set()

        thread = threading.Thread(target=watched, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def end(self) -> None:
        """Let the threads end, register what came, and free what is claimed.

        Without a database it says no farewell: then the leader will miss it, and look through the spool.
        """
        self.stop.set()
        for thread in self._threads:
            thread.join(_STOP_TIMEOUT_S)
        try:
            complete = self.tracker.hand_over()
        except SQLAlchemyError as error:
            log.warning("what came last is left to others", reason=type(error).__name__)
            return
        if complete:
            self.lease.farewell()

    def stable(self, found: Sequence[Journey]) -> None:
        """Publish series that became stable just now."""
        self.broker.classify((each.series_id, each.priority) for each in found)

    def decided(self, found: Journey) -> None:
        """Publish that copies of a series are due."""
        self.arrived_late(found.series_id)

    def arrived_late(self, series_id: int) -> None:
        """Publish that a decided series has something for its destinations."""
        with self.database.reading() as session:
            names = wanting(session, series_id)
        self.broker.deliver(sorted(names))

    def routes(self, series: SeriesFacts) -> list[Route]:
        """Return where late instances go whose series went nowhere before."""
        return [Route(each.name, KEEP) for each in site.unasked(self.config, site.facts_of(series))]

    def _loops(self) -> list[Callable[[threading.Event], None]]:
        """Return what the process that leads does beside sweeping."""
        config = self.config
        ways = [*configured(config.notify, Sender.of(config))]
        health = SharedHealth(self.database)
        notifier = Notifier(config.notify, self.database, health, self._disk, ways)
        keeper = Keeper(config.spool, self.spool, self.database, self.trail)
        return [notifier.run, keeper.run, Upkeep(self.database).run]

    def _disk(self) -> Disk:
        room = self.spool.room
        return Disk(room.free_bytes(), int(self.config.spool.minimum_free))
