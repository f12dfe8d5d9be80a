"""Series over several receivers: what comes is registered at once, and stable when nothing came anywhere."""

import time
import uuid
from collections.abc import Callable, Collection, Sequence

import structlog

from db.instants import instant
from db.journeys import Journey, growing, journey, make_stable, register_part
from db.records import InstanceFacts
from db.session import Database
from node import facts, site
from node.scaling.journey import stage, urgency
from node.series import Routes, Tracker, tell_conflicts
from node.settings.config import Config
from node.storage.spool import SeriesKey, Spool

log = structlog.get_logger()


class SharedTracker(Tracker):
    """Registers parts of series in the database, which all receivers share; one loop, as on one machine."""

    def __init__(
        self,
        config: Config,
        spool: Spool,
        database: Database,
        routes: Routes,
        stable: Callable[[Sequence[Journey]], None],
        late: Callable[[int], None],
    ) -> None:
        """`stable` gets series that became stable, each once among all processes.

        `late` gets decided series to which instances came.
        """
        super().__init__(config.series, spool, database, routes, self._after)
        self._config = config
        self._stable = stable
        self._late = late
        self._complete: set[str] = set()
        self._all_complete = False
        self._came_late: set[int] = set()

    def flush(self, keys: Collection[SeriesKey] | None = None) -> None:
        """Make the given series, or all, stable as soon as their parts here are registered."""
        super().flush(keys)
        with self._lock:
            self._all_complete |= keys is None
            self._complete |= {key.series_instance_uid for key in keys or ()}

    def flush_named(self, uids: Collection[str]) -> None:
        """Do so for series of which parts may have come elsewhere only."""
        super().flush_named(uids)
        with self._lock:
            self._all_complete |= not uids
            self._complete |= set(uids)

    def register_due(self) -> int:
        """Register what came, and make stable what no receiver got anything of for a while."""
        with self._lock:
            complete, everything = self._complete, self._all_complete
            self._complete, self._all_complete = set(), False
        count = super().register_due()
        self.settle(complete, everything)
        return count

    def hand_over(self) -> bool:
        """Register all that came so far, stable or not; tell whether all of it is in the database."""
        with self._lock:
            for each in self._open.values():
                each.due_at = self._clock()
        self.register_due()
        return not self.open_series()

    def settle(self, complete: Collection[str] = (), everything: bool = False) -> None:
        """Make stable what is, and in any case series of the UIDs `complete`, or all."""
        with self._database.session() as session:
            found = make_stable(session, self._config.series.stable_age_s)
            if complete or everything:
                found += make_stable(session, 0, None if everything else complete)
        for each in found:
            log.info("series stable", series_id=each.series_id, correlation_id=each.correlation_id or None)
        if found:
            self._stable(found)

    def growing(self) -> int:
        """Count the series of which instances may still come, by any receiver."""
        with self._database.reading() as session:
            return growing(session)

    def _due_at(self, before: float, pause_s: float) -> float:
        """Register a while after the first instance, however many follow."""
        return before or self._clock() + min(pause_s, self._config.scaling.register_s)

    def _register(self, key: SeriesKey, instances: tuple[InstanceFacts, ...], transfer: str) -> None:
        series = facts.of_series(self._spool, key, instances[0].path)
        name = transfer or uuid.uuid4().hex[:12]  # what is found in the spool has lost its transfer
        began = time.time_ns()
        with self._database.session() as session:
            priority = urgency(self._config, site.facts_of(series), series.study_date, instant(session))
            result = register_part(session, series, instances, self._routes(series), name, priority)
            found = journey(session, result.series_id)
        with stage("register", found.correlation_id, began, instances=len(result.added)):
            log.info(
                "late instances registered" if result.late else "instances registered",
                series_id=result.series_id,
                series_instance_uid=key.series_instance_uid,
                instances=len(result.added),
                transfer=transfer or None,
            )
        tell_conflicts(result)
        if result.late:
            self._came_late.add(result.series_id)

    def _after(self) -> None:
        came, self._came_late = self._came_late, set()
        for series_id in came:
            self._late(series_id)
