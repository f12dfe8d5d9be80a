"""Dispatch: stable series go to inference processes; one that crashes or hangs is replaced, once a series."""

import math
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from db.decisions import decision
from db.records import Outcome, Route
from db.results import record_outcome
from db.series import facts, next_stable, record_crash
from db.session import Database
from node import metrics, site, version, worker
from node.clock import utc_now
from node.early import ENOUGH, PATIENCE_S, Resting, rest_s
from node.health import Health
from node.settings.config import Config

log = structlog.get_logger()

_POLL_S: Final = 1.0
_START_TIMEOUT_S: Final = 300.0
"""Importing TensorFlow and reading the weights takes seconds, on a busy machine minutes."""

_TRIES: Final = 2
_REMEMBERED: Final = 64
"""Series of which it is known which process looked at them early."""


class WorkerDied(Exception):  # noqa: N818 - it tells what happened, and the dispatcher goes on
    """The process that worked on a series crashed, hung or failed; the message says how."""


class Stopped(Exception):  # noqa: N818 - the node is told to stop; nothing is wrong
    """The node stops while a worker is busy."""


class InferenceProcess:
    """One worker process, started when first needed and again after it died."""

    def __init__(self, config: Config, stop: threading.Event) -> None:
        self._config = config
        self._stop = stop
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def run(self, work: int | Resting, enough: Callable[[], bool] = lambda: False) -> None:
        """Have a series classified and recorded, or a resting one looked at until it is enough.

        Raises WorkerDied or Stopped.
        """
        connection = self.start()
        try:
            connection.send(work)
            classify = self._config.classify
            said = self._last_word(
                connection, classify.hang_timeout_s, classify.series_timeout_s, enough=enough
            )
        except (EOFError, OSError) as error:
            raise WorkerDied(self._obituary()) from error
        if said:
            self.close()
            raise WorkerDied(said)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._connection = None

    def start(self) -> Connection:
        """Return the connection to the process, started if there is none; raises WorkerDied or Stopped."""
        if self._process is not None and self._connection is not None and self._process.is_alive():
            return self._connection
        self.close()
        # "spawn": a forked child would share the sockets and the locks of the receiver's threads.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._connection = ours
        self._process = context.Process(target=worker.main, args=(theirs, self._config), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._last_word(ours, _START_TIMEOUT_S, expected="ready")
        except (EOFError, OSError) as error:
            raise WorkerDied(f"could not start: {self._obituary()}") from error
        return ours

    def _last_word(
        self,
        connection: Connection,
        silence_s: float,
        whole_s: float = math.inf,
        expected: str = "",
        enough: Callable[[], bool] = lambda: False,
    ) -> str:
        """Wait for the answer, allowing `silence_s` without a sign of life and `whole_s` in all.

        Where it is `enough` the process is told so; it may not hear it before it is ready.
        """
        end = time.monotonic() + whole_s
        deadline = min(end, time.monotonic() + silence_s)
        told = False
        while time.monotonic() < deadline:
            if self._stop.is_set():
                self.close()
                raise Stopped
            if not told and enough():
                connection.send(ENOUGH)
                told = True
            if not connection.poll(min(_POLL_S, max(0.0, deadline - time.monotonic()))):
                continue
            said = str(connection.recv())
            if said == expected:
                return ""
            if said != "alive":
                return said
            deadline = min(end, time.monotonic() + silence_s)
        self.close()
        if time.monotonic() >= end:
            raise WorkerDied(f"took longer than {whole_s:g} s and was killed")
        raise WorkerDied(f"showed no sign of life for {silence_s:g} s and was killed")

    def _obituary(self) -> str:
        """Reap a process that went away by itself and say how it ended."""
        process = self._process
        if process is None:
            return "was closed"
        process.join(_POLL_S)
        code = process.exitcode
        self.close()
        if code is not None and code < 0:
            return f"crashed (signal {signal.Signals(-code).name})"
        return f"ended with exit status {code}"


class Dispatcher:
    """Hands stable series to inference processes, one thread for each process."""

    def __init__(
        self,
        config: Config,
        database: Database,
        unlabelled: Sequence[Route],
        classified: Callable[[], None],
        health: Health | None = None,
        rested: Callable[[], Resting | None] = lambda: None,
    ) -> None:
        """`classified` is called after each series; `rested` tells of one that may be looked at already."""
        self._config = config
        self._database = database
        self._unlabelled = unlabelled
        self._classified = classified
        self._health = health or Health()
        clients = [each.ae_title for each in config.dicomweb.clients]
        self._listed = frozenset([*clients, *(each.ae_title for each in config.receive.callers)])
        # Whoever votes may be decided between an early look and the decision.
        early = config.classify.early and "votes" not in config.rules
        self._rested = rested if early else lambda: None
        self._pause_s = (rest_s(config.series.stable_age_s) if early else None) or _POLL_S
        self._busy: set[int] = set()
        # Processes without a stable series, and what each looks at; who looked at which series.
        self._free: dict[InferenceProcess, str] = {}
        self._seen: dict[str, InferenceProcess] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def wake(self) -> None:
        """Tell the loops that a series became stable."""
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Classify series until `stop` is set."""
        process = InferenceProcess(self._config, stop)
        try:
            self.warm_up(process)
            while not stop.is_set():
                try:
                    if not self._step(process):
                        self._wait(process)
                except Stopped:
                    raise
                except Exception:
                    log.exception("the dispatcher failed; it goes on")
                    stop.wait(_POLL_S)
        except Stopped:
            log.debug("a dispatcher stops")
        finally:
            process.close()

    def warm_up(self, process: InferenceProcess) -> None:
        """Load the networks before the first series comes; what fails here is tried again with it."""
        try:
            process.start()
        except WorkerDied as death:
            self._health.died("worker")
            log.error("the worker does not start", how=str(death))
        else:
            log.info("worker ready")

    def _step(self, process: InferenceProcess) -> bool:
        series_id = self._claim(process)
        if series_id is None:
            return False
        try:
            self.classify(process, series_id)
        finally:
            with self._lock:
                self._busy.discard(series_id)
        self._classified()
        return True

    def classify(self, process: InferenceProcess, series_id: int) -> None:
        """Have one series classified, and note it where the process dies over it; raises Stopped."""
        began = time.monotonic()
        try:
            with metrics.WORKERS_BUSY.track_inprogress():
                process.run(series_id)
        except WorkerDied as death:
            self._note_death(series_id, str(death))
        self._count(series_id, time.monotonic() - began)

    def _wait(self, process: InferenceProcess) -> None:
        """Wait for a stable series, or look at one that is not stable yet; raises Stopped."""
        self._free[process] = ""
        try:
            for _ in range(math.ceil(_POLL_S / self._pause_s)):
                resting = self._rested()
                if resting is not None:
                    self._look(process, resting)
                    return
                if self._wake.wait(self._pause_s):
                    break
            self._wake.clear()
        finally:
            del self._free[process]

    def _look(self, process: InferenceProcess, resting: Resting) -> None:
        """Have a series looked at early; what a worker dies of here it dies of again when that counts."""
        uid = resting.key.series_instance_uid
        with self._lock:
            self._free[process], self._seen[uid] = uid, process
            if len(self._seen) > _REMEMBERED:
                del self._seen[next(iter(self._seen))]
        may_end_at = time.monotonic() + PATIENCE_S
        try:
            process.run(resting, lambda: time.monotonic() > may_end_at and self._waits(uid))
        except WorkerDied as death:
            log.warning("a series could not be looked at early", series_instance_uid=uid, how=str(death))

    def _waits(self, uid: str) -> bool:
        """Tell whether a stable series waits that is another one than that of this UID."""
        with suppress(SQLAlchemyError), self._lock, self._database.reading() as session:
            series_id = next_stable(session, exclude=self._busy)
            return series_id is not None and facts(session, series_id).series_instance_uid != uid
        return False

    def _claim(self, process: InferenceProcess) -> int | None:
        """Take the oldest stable series, but for those that another process has seen and will take."""
        with self._lock, self._database.reading() as session:
            passed = set(self._busy)
            while (series_id := next_stable(session, exclude=passed)) is not None:
                uid = facts(session, series_id).series_instance_uid if self._seen else ""
                owner = self._seen.get(uid, process)
                if owner is process or self._free.get(owner) not in ("", uid):
                    self._busy.add(series_id)
                    self._seen.pop(uid, None)
                    return series_id
                passed.add(series_id)
        return None

    def _count(self, series_id: int, took_s: float) -> None:
        with self._database.reading() as session:
            decided = decision(session, series_id)
        if decided is not None:
            metrics.decided(decided, self._listed)
            metrics.WORK_SECONDS.labels(metrics.modality(decided.modality)).observe(took_s)

    def _note_death(self, series_id: int, how: str) -> None:
        self._health.died("worker")
        log.error("the worker failed on a series", series_id=series_id, how=how)
        with self._database.session() as session:
            deaths = record_crash(session, series_id, how, utc_now())
        if deaths >= _TRIES:
            self.pass_on(series_id, how)

    def pass_on(self, series_id: int, how: str) -> None:
        """Give up on a series that ends every worker: it goes on unlabelled."""
        with self._database.session() as session:
            outcome = Outcome(None, (), f"not classified: the worker {how}", None, version.VERSION)
            known = site.facts_of(facts(session, series_id))
            rule = site.unclassified(self._config, known)
            allowed = {each.name for each in site.destinations(self._config, rule, known, site.NOTHING)}
            routes = [route for route in self._unlabelled if route.destination in allowed]
            record_outcome(session, series_id, outcome, routes, utc_now())
