"""The office: what all that receive have in common, in one process or several: who may in, and who is told.

Limits hold for the node as a whole, so only its own process decides on them; what is counted and gathered
is kept there, too.
"""

from collections.abc import Callable
from typing import Final, Protocol

from node import metrics
from node.auditing.audit import SECURITY_ALERT, Alerts, Event, Fact
from node.intake.intake import Arrival
from node.intake.lobby import Full, Lobby, Visit
from node.settings.receive import Caller, Receive
from node.storage.spool import SeriesKey

Refusal = tuple[int, int, int]
"""A-ASSOCIATE-RJ: result, source, reason (PS3.8 Table 9-21)."""

_NOT_RECOGNISED: Final = (1, 1, 3)
_LIMIT_EXCEEDED: Final = (2, 3, 2)


class Office(Protocol):
    """What those who serve associations ask and tell."""

    def asks(self, visit: Visit, ae_title: str, shown: frozenset[str]) -> Refusal | None:
        """Decide on an association; `shown` are the names in the peer's certificate."""

    def left(self, visit: Visit) -> None:
        """Note that a connection has ended."""

    def stored(self, arrival: Arrival, seconds: float) -> None:
        """Note an instance that is durable, before its sender is told; `seconds`: what it took."""

    def refused(self, status: int, seconds: float | None = None) -> None:
        """Note an instance that was not taken."""

    def released(self, keys: frozenset[SeriesKey]) -> None:
        """Note the release of an association by which these series came."""

    def alert(self, what: str, address: str, event: Event = SECURITY_ALERT, **facts: Fact) -> None:
        """Tell of something that a peer tried, as `Alerts.alert` does."""

    def short(self) -> None:
        """Tell that memory is short, and that somebody in another process holds most of it."""


class HeadOffice:
    """The office of the node's own process."""

    def __init__(
        self,
        config: Receive,
        alerts: Alerts,
        arrived: Callable[[Arrival], None],
        released: Callable[[frozenset[SeriesKey]], None],
    ) -> None:
        self._config = config
        self.lobby = Lobby(
            config.maximum_waiting, config.maximum_associations_per_peer, config.maximum_associations
        )
        self._listed = frozenset(caller.ae_title for caller in config.callers)
        self.alert = alerts.alert
        self.released = released
        self.short: Callable[[], None] = lambda: None
        """Has somebody give up memory who is in another process; for whoever starts these."""
        self._arrived = arrived

    def may_knock(self, address: str) -> bool:
        """Tell whether anybody may come from an address at all."""
        if self._config.promiscuous or any(each.may_come_from(address) for each in self._config.callers):
            return True
        self.alert("connection refused: unknown address", address)
        return False

    def came(self, visit: Visit) -> None:
        """Let a connection wait; another one may have to go."""
        crowded = self.lobby.enter(visit)
        if crowded is not None:
            self.alert("connection cut: too many wait", crowded.address)

    def asks(self, visit: Visit, ae_title: str, shown: frozenset[str]) -> Refusal | None:
        """Decide on an association."""
        self.lobby.heard(visit)
        caller = self._caller(ae_title, visit.address, shown)
        if caller is None:
            self.alert("association rejected: unknown caller", visit.address, calling_ae_title=ae_title)
            return _NOT_RECOGNISED
        try:
            self.lobby.admit(visit, ae_title, caller.maximum_associations)
        except Full as full:
            self.alert(f"association rejected: {full}", visit.address, calling_ae_title=ae_title)
            return _LIMIT_EXCEEDED
        metrics.ASSOCIATIONS.inc()
        return None

    def left(self, visit: Visit) -> None:
        """Note that a connection has ended."""
        self.lobby.leave(visit)
        if visit.ae_title is not None:
            metrics.ASSOCIATIONS.dec()

    def stored(self, arrival: Arrival, seconds: float) -> None:
        """Count an instance, and tell of it if it is new."""
        stored, title = arrival.stored, metrics.source(arrival.calling_ae_title, self._listed)
        metrics.STORE_SECONDS.observe(seconds)
        metrics.received("dicom", title, stored.size_bytes, stored.duplicate)
        if not stored.duplicate:
            self._arrived(arrival)

    def refused(self, status: int, seconds: float | None = None) -> None:
        """Count an instance that was not taken."""
        if seconds is not None:
            metrics.STORE_SECONDS.observe(seconds)
        metrics.refused("dicom", status)

    def _caller(self, ae_title: str, address: str, shown: frozenset[str]) -> Caller | None:
        """Return whose association it would be, None where it is nobody's."""
        for each in self._config.callers:
            if each.admits(ae_title, address, shown):
                return each
        return Caller(ae_title="*") if self._config.promiscuous else None
