"""The service: all the parts of a running node, on one screen."""

import signal
import threading
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import structlog

from db.deliveries import skip_destinations
from db.records import Route, SeriesFacts
from db.session import Database, migrate, open_migrated
from node import metrics, site
from node.auditing.admin import started
from node.auditing.audit import APPLICATION_STOP, Trail
from node.clock import utc_now
from node.delivery.destinations import remarks
from node.delivery.dispatch import Dispatcher
from node.delivery.forward import Forwarder
from node.dicomweb.process import WebReceiver
from node.health import Health
from node.intake.clerks import Clerks
from node.intake.commitment import Commitments
from node.intake.intake import Arrival, note_found
from node.intake.receive import Receiver
from node.notifying.notifier import Notifier
from node.notifying.troubles import Disk
from node.notifying.ways import configured
from node.notifying.wording import Sender
from node.relabelling.coercion import KEEP
from node.relabelling.relabel import Modifier
from node.series import Tracker
from node.settings.config import Config, ConfigError
from node.storage.retention import Keeper
from node.storage.spool import Spool
from node.upkeep import Upkeep
from node.version import VERSION
from node.web.process import WebPage, first_login

log = structlog.get_logger()

ALL: Final = "all"

_STOP_TIMEOUT_S: Final = 30.0
_REFUSING_S: Final = 600.0
"""For how long after an instance was refused for the quota's sake that counts as a trouble."""


class Node:
    """Receiver, tracker, dispatcher and forwarders over one spool and one database."""

    def __init__(self, config: Config, spool: Spool, database: Database) -> None:
        self._config = config
        self._spool = spool
        self._database = database
        self._stop = threading.Event()
        self._health = Health()
        self._trail = trail = Trail(config.audit.file)
        modifier = Modifier(config.receive.ae_title, int(config.receive.maximum_inflated_bytes))
        # Whether a series is relabelled is decided with its verdict; until then nothing is.
        routes = [Route(destination.name, KEEP) for destination in config.forwarded]
        self._forwarders = [
            Forwarder(destination, config.receive.ae_title, database, spool, modifier, trail, self._health)
            for destination in config.destinations
        ]
        self._tracker = Tracker(config.series, spool, database, self._late_routes, self._registered)
        self._dispatcher = Dispatcher(
            config, database, routes, self._wake_forwarders, self._health, self._tracker.rested
        )
        self._commitments = Commitments(
            config.commitment, config.receive.ae_title, spool, database, self._tracker.gathered
        )
        self.receiver = Receiver(
            config.receive,
            spool,
            self._tracker.arrived,
            self._tracker.released,
            trail,
            self._commitments if config.commitment.enabled else None,
            Clerks.wanted(config, self._tracker.recover, self._health),
        )
        self._keeper = Keeper(config.spool, spool, database, trail)
        self._dicomweb = WebReceiver(
            config, self._arrived_by_web, self._tracker.released, self._tracker.recover
        )
        self._web = WebPage(config)
        self._dicomweb.health = self._web.health = self._health
        ways = [*configured(config.notify, Sender.of(config))]
        self._notifier = Notifier(config.notify, database, self._health, self._disk, ways)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Take up what was left, then listen; raises OSError when the address is taken."""
        with self._database.session() as session:
            skip_destinations(session, [each.name for each in self._config.destinations], utc_now())
        found = self._tracker.recover()
        if found:
            log.info("instances found in the spool", instances=found)
            note_found(self._trail, self._config.receive.ae_title, self._tracker.counts())
        self._show()
        self._run("tracker", self._tracker.run)
        for number in range(self._config.classify.workers):
            self._run(f"dispatcher-{number}", self._dispatcher.run)
        for number, forwarder in enumerate(self._forwarders):
            self._run(f"forwarder-{number}", forwarder.run)
        self._run("retention", self._keeper.run)
        self._run("upkeep", Upkeep(self._database).run)
        self._run("commitment", self._commitments.run)
        self._run("notifier", self._notifier.run)
        self.receiver.start()
        if self._config.dicomweb.enabled:
            self._dicomweb.listen()
            self._run("dicomweb", self._dicomweb.run)
        if self._config.web.enabled:
            self._web.listen()
            self._run("web", self._web.run)

    def stop(self) -> None:
        """Stop listening, let what is under way end, and return."""
        self._stop.set()
        self.receiver.stop()
        self._tracker.wake()
        self._commitments.wake()
        self._dispatcher.wake()
        self._wake_forwarders()
        for thread in self._threads:
            thread.join(_STOP_TIMEOUT_S)

    def _show(self) -> None:
        """Let the metrics say what holds at the moment when somebody asks."""
        metrics.VERSION.labels(VERSION).set(1)
        metrics.WORKERS.set(self._config.classify.workers)
        metrics.FLOOR_BYTES.set(int(self._config.spool.minimum_free))
        metrics.asked(metrics.FREE_BYTES, self._spool.room.free_bytes)
        metrics.asked(metrics.GATHERING, self._tracker.open_series)

    def _disk(self) -> Disk:
        room = self._spool.room
        floor = int(self._config.spool.minimum_free)
        return Disk(room.free_bytes(), floor, room.quota_refused(_REFUSING_S))

    def _run(self, name: str, loop: Callable[[threading.Event], None]) -> None:
        thread = threading.Thread(target=loop, args=(self._stop,), name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _late_routes(self, series: SeriesFacts) -> list[Route]:
        return [Route(each.name, KEEP) for each in site.unasked(self._config, site.facts_of(series))]

    def _registered(self) -> None:
        self._dispatcher.wake()
        self._wake_forwarders()  # late instances of a decided series are due at once

    def _arrived_by_web(self, arrival: Arrival) -> None:
        stored, title = arrival.stored, arrival.calling_ae_title
        self._spool.room.changed(stored.size_bytes)  # written by another process
        metrics.received("dicomweb", title, stored.size_bytes, stored.duplicate)
        self._tracker.arrived(arrival)

    def _wake_forwarders(self) -> None:
        for forwarder in self._forwarders:
            forwarder.wake()


def serve(config: Config, role: str = ALL, config_path: Path = Path("node.yaml")) -> None:
    """Run a node, or one role of several machines' node, until SIGTERM or SIGINT.

    Raises ConfigError, SpoolError, DatabaseError or OSError when it cannot start.
    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if config.dispatch == "local":
        if role != ALL:
            raise ConfigError(f"--role {role} is for several machines: dispatch: celery in the configuration")
        _serve_here(config, ended)
        return
    if find_spec("celery") is None:
        raise ConfigError("dispatch: celery needs its extra: pip install bodytag[scale]")
    process = import_module("node.scaling.process")  # nobody else needs Celery
    if role == ALL:
        process.serve_all(config_path, config, ended)
    else:
        process.serve_role(config, role, ended)


def _serve_here(config: Config, ended: threading.Event) -> None:
    """Run a node on one machine, all of it in this process and its children."""
    trail = Trail(config.audit.file)
    trail.check()
    quota = config.spool.quota
    spool = Spool(config.spool.folder, int(config.spool.minimum_free), None if quota is None else int(quota))
    with spool.lock():
        spool.clear_unfinished()
        if config.database.migrate_on_start:
            migrate(config.database.url)
        database = open_migrated(config.database.url)
        for remark in remarks(config):
            log.warning(remark)
        node = Node(config, spool, database)
        node.start()
        first_login(config, database, trail)
        log.info("bodytag runs", version=VERSION, destinations=[each.name for each in config.forwarded])
        started(trail, config)
        ended.wait()
        log.info("stopping")
        node.stop()
        trail.note(APPLICATION_STOP, succeeded=True, ae_title=config.receive.ae_title)
        database.close()
