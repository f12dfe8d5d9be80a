"""The roles: what a process of an installation on several machines does, each on one screen."""

import threading
from abc import abstractmethod
from typing import Final

import structlog

from node import metrics
from node.dicomweb.process import WebReceiver
from node.intake.clerks import Clerks
from node.intake.commitment import Commitments
from node.intake.intake import Arrival, note_found
from node.intake.receive import Receiver
from node.scaling.broker import CLASSIFY, DELIVER, Consumer
from node.scaling.classifying import Classifying
from node.scaling.delivering import Delivering
from node.scaling.parts import Parts
from node.scaling.turns import ClaimedTurns
from node.web.process import WebPage, first_login

log = structlog.get_logger()

RECEIVER: Final = "receiver"
WORKER: Final = "worker"
FORWARDER: Final = "forwarder"
WEB: Final = "web"


class Role:
    """What a process does, beside what all do; `ready` is set once it does."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.ready = threading.Event()

    @abstractmethod
    def start(self) -> None:
        """Begin; raises OSError where an address is taken."""

    @abstractmethod
    def stop(self) -> None:
        """Take no more work; the threads of the parts are ended after this."""


class ReceiverRole(Role):
    """Takes instances from anybody, and registers them; requests for commitment, too."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        config, tracker = parts.config, parts.tracker
        title = config.receive.ae_title
        self._commitments = Commitments(
            config.commitment, title, parts.spool, parts.database, tracker.gathered, ClaimedTurns(parts.lease)
        )
        self._receiver = Receiver(
            config.receive,
            parts.spool,
            tracker.arrived,
            tracker.released,
            parts.trail,
            self._commitments if config.commitment.enabled else None,
            Clerks.wanted(config, tracker.recover),
        )
        self._dicomweb = WebReceiver(config, self._arrived_by_web, tracker.released, tracker.recover)

    def start(self) -> None:
        """Take up what was left in the spool, then listen."""
        parts = self.parts
        found = parts.tracker.recover()
        if found:
            log.info("instances found in the spool", instances=found)
            note_found(parts.trail, parts.config.receive.ae_title, parts.tracker.counts())
        metrics.asked(metrics.GATHERING, parts.tracker.open_series)
        parts.run("tracker", parts.tracker.run)
        parts.run("commitment", self._commitments.run)
        self._receiver.start()
        if parts.config.dicomweb.enabled:
            self._dicomweb.listen()
            parts.run("dicomweb", self._dicomweb.run)
        self.ready.set()

    def stop(self) -> None:
        """Stop listening; what came is registered when the parts end."""
        self.ready.clear()
        self._receiver.stop()
        self.parts.tracker.wake()
        self._commitments.wake()

    def _arrived_by_web(self, arrival: Arrival) -> None:
        stored, title = arrival.stored, arrival.calling_ae_title
        metrics.received("dicomweb", title, stored.size_bytes, stored.duplicate)
        self.parts.tracker.arrived(arrival)


class _TaskRole(Role):
    """Takes tasks in a thread of its own."""

    _consumer: Consumer

    def _consume(self, _: threading.Event) -> None:
        self._consumer.run()

    def stop(self) -> None:
        """Take no more tasks, and have those under way end."""
        self.ready.clear()
        self.parts.stop.set()
        self._consumer.stop()


class WorkerRole(_TaskRole):
    """Classifies series."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        config, broker = parts.config, parts.broker
        self._classifying = Classifying(config, parts.database, parts.lease, parts.stop, parts.decided)
        self._consumer = Consumer(
            broker,
            parts.lease.name,
            broker.classifying(),
            config.classify.workers,
            CLASSIFY,
            self._classifying.classify_series,
        )

    def start(self) -> None:
        """Load the networks; then take tasks."""
        self.parts.run("worker", self._work)

    def _work(self, stop: threading.Event) -> None:
        self._classifying.warm_up()
        self.ready.set()
        try:
            self._consume(stop)
        finally:
            self._classifying.close()


class ForwarderRole(_TaskRole):
    """Delivers to the destinations."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        broker = parts.broker
        self._delivering = Delivering(
            parts.config,
            parts.database,
            parts.spool,
            parts.lease,
            parts.stop,
            parts.trail,
            lambda name: broker.deliver([name]),
        )
        # As many as there are connections, and one each for tasks that find none free: none waits for others.
        connections = sum(each.concurrency for each in parts.config.destinations)
        self._consumer = Consumer(
            broker,
            parts.lease.name,
            broker.delivering(),
            connections + len(broker.destinations),
            DELIVER,
            self._delivering.deliver_series,
        )

    def start(self) -> None:
        """Take tasks; without destinations there are none."""
        if self.parts.broker.destinations:
            self.parts.run("forwarder", self._forward)
        self.ready.set()

    def _forward(self, stop: threading.Event) -> None:
        try:
            self._consume(stop)
        finally:
            self._delivering.close()


class WebRole(Role):
    """Serves the page and its metrics."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self._page = WebPage(parts.config)

    def start(self) -> None:
        """Listen, and make sure that somebody can log in."""
        self._page.listen()
        self.parts.run("web", self._page.run)
        first_login(self.parts.config, self.parts.database, self.parts.trail)
        self.ready.set()

    def stop(self) -> None:
        """The page's own process ends with its thread."""
        self.ready.clear()


ROLES: Final[dict[str, type[Role]]] = {
    RECEIVER: ReceiverRole,
    WORKER: WorkerRole,
    FORWARDER: ForwarderRole,
    WEB: WebRole,
}
