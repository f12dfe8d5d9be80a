"""Classifying as a task: one series, claimed, in an inference process as on one machine."""

import queue
import threading
from collections.abc import Callable
from typing import Final

import structlog
from celery.exceptions import Reject

from db.claims import CLASSIFY
from db.journeys import Journey, is_growing, journey
from db.records import Route
from db.series import state_of
from db.session import Database
from db.states import State
from node import metrics
from node.delivery.dispatch import Dispatcher, InferenceProcess, Stopped
from node.health import Health
from node.relabelling.coercion import KEEP
from node.scaling.journey import stage
from node.scaling.lease import Lease
from node.settings.config import Config

log = structlog.get_logger()

GONE: Final = "was gone, with its machine or its connection, while it worked on the series"


class Classifying:
    """Has series classified, as many at a time as there are inference processes."""

    def __init__(
        self,
        config: Config,
        database: Database,
        lease: Lease,
        stop: threading.Event,
        decided: Callable[[Journey], None],
    ) -> None:
        """`decided` is told of each series that has its outcome."""
        self._config = config
        self._database = database
        self._lease = lease
        self._decided = decided
        routes = [Route(each.name, KEEP) for each in config.forwarded]
        self._dispatcher = Dispatcher(config, database, routes, lambda: None, Health())
        self._idle: queue.SimpleQueue[InferenceProcess] = queue.SimpleQueue()
        self._all = [InferenceProcess(config, stop) for _ in range(config.classify.workers)]

    def warm_up(self) -> None:
        """Start the inference processes, and let them take work."""
        metrics.WORKERS.set(len(self._all))
        for process in self._all:
            self._dispatcher.warm_up(process)
            self._idle.put(process)

    def close(self) -> None:
        """End the inference processes."""
        for process in self._all:
            process.close()

    def classify_series(self, series_id: int) -> None:
        """Classify a series unless that is done, somebody does it, or instances may still come.

        Raises Reject, so that the broker gives the task to another worker, when this one is to stop.
        """
        found = self._wanted(series_id)
        if found is None or not self._lease.claim(CLASSIFY, [str(series_id)]):
            return
        try:
            with stage("classify", found.correlation_id, series_id=series_id):
                self._classify(series_id)
                log.info("series done", series_id=series_id)
        except Stopped as stopped:
            raise Reject("the worker stops", requeue=True) from stopped
        finally:
            self._lease.release(CLASSIFY, [str(series_id)])
        self._decided(found)

    def _classify(self, series_id: int) -> None:
        before = self._lease.times(CLASSIFY, str(series_id))
        if before > self._config.scaling.give_up_after:
            log.error(
                "workers vanish over a series; it is passed on", series_id=series_id, workers=before - 1
            )
            self._dispatcher.pass_on(series_id, GONE)
            return
        process = self._idle.get()
        try:
            self._dispatcher.classify(process, series_id)
        finally:
            self._idle.put(process)

    def _wanted(self, series_id: int) -> Journey | None:
        """Return the journey of a series that is to be classified now; None if there is nothing to do."""
        with self._database.reading() as session:
            if state_of(session, series_id) is not State.STABLE or is_growing(session, series_id):
                return None
            return journey(session, series_id)
