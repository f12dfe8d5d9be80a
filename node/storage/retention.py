"""Retention: files that were delivered leave the spool, by age and where room is short; nothing else does."""

import threading
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

import structlog

from db.retention import RemovedFile, removable, remove
from db.session import Database
from node import metrics
from node.auditing.audit import STUDY_DELETED, Trail
from node.clock import utc_now
from node.settings.config import SpoolSection
from node.storage.spool import UID_PATTERN, SeriesKey, Spool

log = structlog.get_logger()

_POLL_S: Final = 5.0
_MEASURE_EVERY: Final = 720
"""Rounds between two counts of the files: an hour, for what was removed or written by others."""

_BATCH: Final = 100


class Keeper:
    """Removes what may go; one loop. Without `keep_days` and `quota` it never removes anything."""

    def __init__(
        self, settings: SpoolSection, spool: Spool, database: Database, trail: Trail | None = None
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._database = database
        self._trail = trail or Trail(None)
        self._warned = False

    @property
    def wanted(self) -> bool:
        """Tell whether the configuration lets anything be removed."""
        return self._settings.keep_days is not None or self._settings.quota is not None

    def run(self, stop: threading.Event) -> None:
        """Remove what is due until `stop` is set."""
        rounds = 0
        while self.wanted and not stop.is_set():
            try:
                if rounds % _MEASURE_EVERY == 0:
                    self._spool.room.measure()
                self.expire(stop)
                self.make_room(stop)
            except Exception:
                log.exception("retention failed; it goes on")
            rounds += 1
            stop.wait(_POLL_S)

    def expire(self, stop: threading.Event) -> int:
        """Remove all series that were delivered `keep_days` ago; return how many."""
        if self._settings.keep_days is None:
            return 0
        return self._remove_before(utc_now() - timedelta(days=self._settings.keep_days), stop)

    def make_room(self, stop: threading.Event) -> int:
        """Remove delivered series, the oldest first, until there is room again; return how many."""
        removed = 0
        while self._spool.room.short() and not stop.is_set():
            if not self._remove_before(utc_now(), stop, most=1):
                self._warn()
                return removed
            removed += 1
        self._warned = False
        return removed

    def _remove_before(self, before: datetime, stop: threading.Event, most: int | None = None) -> int:
        removed = 0
        while not stop.is_set():
            with self._database.reading() as session:
                due = removable(session, before, most or _BATCH)
            count = sum(self._remove(series_id, before) for series_id in due)
            removed += count
            if not count or most is not None:
                break
        return removed

    def _remove(self, series_id: int, before: datetime) -> bool:
        with self._database.session() as session:
            files = remove(session, series_id, before, utc_now())
        self._spool.remove(each.path for each in files)
        self._spool.remove_pictures(_keys(each.path for each in files))
        if files:
            metrics.REMOVED.inc(len(files))
            self._note(files)
            log.info("delivered files removed", series_id=series_id, files=len(files))
        return bool(files)

    def _note(self, files: Collection[RemovedFile]) -> None:
        """Write down what was removed; of reports, which lie apart, the number alone."""
        for key in _keys(each.path for each in files):
            self._trail.note(
                STUDY_DELETED,
                succeeded=True,
                study=key.study_instance_uid,
                series=[key.series_instance_uid],
                instances=len(files),
                reason="retention: it is delivered",
            )

    def _warn(self) -> None:
        if not self._warned:
            log.warning("room in the spool is short, and nothing that was delivered is left to remove")
        self._warned = True


def _keys(paths: Iterable[str]) -> set[SeriesKey]:
    """Return the series that files in the spool belong to; a report has none there."""
    parts = (path.split("/") for path in paths)
    return {SeriesKey(found[0], found[1]) for found in parts if UID_PATTERN.fullmatch(found[0])}
