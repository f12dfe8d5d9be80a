"""Series become stable here: instances are gathered until none came for a while, then registered."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from pydicom.errors import InvalidDicomError

from db.records import InstanceFacts, Route, SeriesFacts
from db.series import Registered, instance_counts, known_paths, register
from db.session import Database
from node import facts
from node.clock import utc_now
from node.early import GROWTH, Resting, rest_s
from node.intake.intake import Arrival
from node.relabelling.encoded import EncodedError
from node.settings.config import Series
from node.storage.spool import SeriesKey, Spool

log = structlog.get_logger()

_REQUEST_POLL_S: Final = 0.5
_RETRY_S: Final = 5.0
"""Pause before a series is offered again to a database that refused it."""

Routes = Callable[[SeriesFacts], Sequence[Route]]
"""Where late instances go whose series went nowhere before."""


@dataclass(slots=True)
class _Open:
    due_at: float
    came_at: float
    looked: int = 0
    instances: dict[str, InstanceFacts] = field(default_factory=dict)
    transfer: str = ""


class Tracker:
    """Gathers arrivals per series; safe for many receiver threads and one loop."""

    def __init__(
        self,
        settings: Series,
        spool: Spool,
        database: Database,
        routes: Routes,
        registered: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._database = database
        self._routes = routes
        self._registered = registered
        self._clock = clock
        self._rest_s = rest_s(settings.stable_age_s)
        self._open: dict[SeriesKey, _Open] = {}
        self._under_way: dict[SeriesKey, _Open] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def arrived(self, arrival: Arrival) -> None:
        """Note a stored instance: its series is complete `stable_age_s` from now, unless more comes."""
        self._note(arrival.stored.key, [facts.of_arrival(arrival)], transfer=arrival.transfer)

    def released(self, keys: Collection[SeriesKey]) -> None:
        """Note that an association which sent these series was released."""
        if self._settings.flush_on_release:
            self.flush(keys)

    def flush(self, keys: Collection[SeriesKey] | None = None) -> None:
        """Make the given series, or all, complete now."""
        with self._lock:
            for key, series in self._open.items():
                if keys is None or key in keys:
                    series.due_at = self._clock()
        self._wake.set()

    def open_series(self) -> int:
        """Count the series that are gathered or being registered."""
        with self._lock:
            return len(self._open) + len(self._under_way)

    def counts(self) -> dict[SeriesKey, int]:
        """Return how many instances of each series wait to be registered."""
        with self._lock:
            return {key: len(each.instances) for key, each in self._open.items()}

    def gathered(self) -> frozenset[str]:
        """Return the SOP Instance UIDs of what lies in the spool and is not in the database yet."""
        with self._lock:
            series = [*self._open.values(), *self._under_way.values()]
            return frozenset(one.sop_instance_uid for each in series for one in each.instances.values())

    def rested(self) -> Resting | None:
        """Return a series to which nothing came for a moment, once; again when it has grown enough since."""
        if self._rest_s is None:
            return None
        with self._lock:
            before = self._clock() - self._rest_s
            for key, series in self._open.items():
                files = len(series.instances)
                if series.came_at <= before and files >= GROWTH * series.looked:
                    series.looked = files
                    found = sorted(
                        series.instances.values(), key=lambda one: (one.sop_instance_uid, one.path)
                    )
                    return Resting(key, tuple(one.path for one in found))
        return None

    def recover(self) -> int:
        """Take up instances that lie in the spool but not in the database; return how many."""
        with self._database.reading() as session:
            counts = instance_counts(session)
        taken = 0
        for key, paths in self._spool.series():
            if counts.get((key.study_instance_uid, key.series_instance_uid), 0) == len(paths):
                continue
            with self._database.reading() as session:
                known = known_paths(session, key.study_instance_uid, key.series_instance_uid)
            missing = [found for path in paths if path not in known for found in self._read_again(path)]
            self._note(key, missing)
            taken += len(missing)
        return taken

    def run(self, stop: threading.Event) -> None:
        """Register what is due until `stop` is set."""
        while not stop.is_set():
            self._wake.wait(self._pause_s())
            self._wake.clear()
            try:
                self._read_requests()
                self.register_due()
            except Exception:
                log.exception("the series tracker failed; it goes on")

    def register_due(self) -> int:
        """Register every series that is complete; return how many were."""
        due = self._take_due()
        for key, series in due.items():
            try:
                self._register(key, tuple(series.instances.values()), series.transfer)
            except Exception:
                log.exception("a series could not be registered; it is tried again", series=key)
                self._note(key, series.instances.values(), _RETRY_S, series.transfer)
        with self._lock:
            self._under_way = {}
        if due:
            self._registered()
        return len(due)

    def wake(self) -> None:
        """End the pause of the loop."""
        self._wake.set()

    def _read_again(self, path: str) -> list[InstanceFacts]:
        """Read a stored file's facts; one that is damaged is left where it lies, and told."""
        try:
            return [facts.of_file(self._spool, path)]
        except (EncodedError, InvalidDicomError, AttributeError, OSError) as error:
            log.error("a file in the spool cannot be read", file=path, error=str(error))
            return []

    def _note(
        self,
        key: SeriesKey,
        instances: Collection[InstanceFacts],
        pause_s: float | None = None,
        transfer: str = "",
    ) -> None:
        if not instances:
            return
        pause_s = self._settings.stable_age_s if pause_s is None else pause_s
        with self._lock:
            series = self._open.setdefault(key, _Open(0.0, 0.0))
            series.came_at = self._clock()
            series.due_at = self._due_at(series.due_at, pause_s)
            series.transfer = series.transfer or transfer
            series.instances.update((instance.path, instance) for instance in instances)

    def _due_at(self, before: float, pause_s: float) -> float:
        """Say when a series is registered to which something came just now; `before` is 0 for a new one."""
        del before
        return self._clock() + pause_s

    def _take_due(self) -> dict[SeriesKey, _Open]:
        now = self._clock()
        with self._lock:
            keys = [key for key, series in self._open.items() if series.due_at <= now]
            self._under_way = {key: self._open.pop(key) for key in keys}
            return self._under_way

    def _register(self, key: SeriesKey, instances: tuple[InstanceFacts, ...], transfer: str) -> None:
        series = facts.of_series(self._spool, key, instances[0].path)
        with self._database.session() as session:
            result = register(session, series, instances, self._routes(series), utc_now())
        log.info(
            "late instances registered" if result.late else "series stable",
            series_instance_uid=key.series_instance_uid,
            instances=len(result.added),
            transfer=transfer or None,
        )
        tell_conflicts(result)

    def _pause_s(self) -> float:
        with self._lock:
            next_due = min((series.due_at for series in self._open.values()), default=float("inf"))
        return max(0.0, min(_REQUEST_POLL_S, next_due - self._clock()))

    def _read_requests(self) -> None:
        for path in sorted(self._spool.requests.glob("flush-*")):
            with suppress(FileNotFoundError):  # another process that shares the spool was faster
                self.flush_named(_requested(path))
            path.unlink(missing_ok=True)

    def flush_named(self, uids: Collection[str]) -> None:
        """Make the series of these Series Instance UIDs complete now; all, if there are none."""
        with self._lock:
            keys = [key for key in self._open if not uids or key.series_instance_uid in uids]
        self.flush(keys)


def tell_conflicts(result: Registered) -> None:
    """Warn of objects that share a UID with others."""
    for uid in result.conflicts:
        log.warning("a different object with a known UID is kept apart", sop_instance_uid=uid)


def _requested(path: Path) -> frozenset[str]:
    return frozenset(path.read_text(encoding="ascii", errors="replace").split())
