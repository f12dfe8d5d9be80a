"""The time as the database has it: the one clock that all machines share."""

from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def instant(session: Session) -> datetime:
    """Return the time of this moment, not that of the transaction's beginning; in UTC."""
    if session.get_bind().dialect.name != "postgresql":
        return datetime.now(UTC)
    found: datetime = session.scalars(select(func.clock_timestamp())).one()
    return found.astimezone(UTC)
