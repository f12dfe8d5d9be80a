"""Health of all machines together: what their processes wrote down of destinations and of workers."""

from sqlalchemy.exc import SQLAlchemyError

from db.instants import instant
from db.outages import outages
from db.series import crashes_since
from db.session import Database
from node.health import Health, Outage


class SharedHealth(Health):
    """Asks the database what the processes of all machines learned."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    def outages(self) -> dict[str, Outage]:
        """Return the destinations that do not answer."""
        try:
            with self._database.reading() as session:
                now, found = instant(session), outages(session)
        except SQLAlchemyError:  # whoever asks looks at the database, too, and tells
            return {}
        return {name: Outage((now - each.since).total_seconds(), each.why) for name, each in found.items()}

    def deaths(self, within_s: float) -> dict[str, int]:
        """Count the workers that died over a series within the last so many seconds."""
        try:
            with self._database.reading() as session:
                count = crashes_since(session, instant(session), within_s)
        except SQLAlchemyError:
            return {}
        return {"worker": count} if count else {}
