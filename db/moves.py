"""What keeps concurrent runners from doubling anything: row locks, conditional moves, inserts that yield.

SQLite lets one writer in at a time (every writing transaction begins IMMEDIATE); on PostgreSQL the row of
the series is the lock for all that belongs to the series. A transaction that touches several series
locks them in ascending order of id, so that two of them cannot wait for each other.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Table, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.states import DeliveryState, State, require_legal
from db.tables import PENDING_SQL, Base, Delivery, Series

PENDING = Delivery.state == literal_column(PENDING_SQL)
"""The condition of the partial index on deliveries that are due."""


def insert_unless_there(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert many rows at once; a row that breaks a unique constraint is left out without an error."""
    if not rows:
        return
    target = Base.metadata.tables[table.__tablename__]
    session.execute(_yielding_insert(session, target), list(rows))


def _yielding_insert(session: Session, target: Table) -> sqlite.Insert | postgresql.Insert:
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(target).on_conflict_do_nothing()
    return postgresql.insert(target).on_conflict_do_nothing()


def lock_series(session: Session, series_id: int) -> State | None:
    """Lock a series until the transaction ends and return its state; None if there is no such series."""
    found = session.scalar(select(Series.state).where(Series.id == series_id).with_for_update(key_share=True))
    return None if found is None else State(found)


def move(
    session: Session, series_id: int, before: State, after: State, now: datetime, failure: str | None = None
) -> bool:
    """Move a series from one state to another; False, and nothing changed, if it is not in `before`.

    Raises IllegalMoveError if the table of states does not hold the move.
    """
    require_legal(before, after)
    moved = session.execute(
        update(Series)
        .where(Series.id == series_id, Series.state == before)
        .values(state=after, changed_at=now, failure=failure)
        .returning(Series.id)
        .execution_options(synchronize_session=False)
    )
    return moved.first() is not None


def settle(session: Session, series_id: int, now: datetime) -> State | None:
    """Move a classified series on once none of its deliveries is pending; the series must be locked.

    Returns the new state, None if the series stays where it is.
    """
    pending = select(Delivery.id).where(
        Delivery.series_id == series_id, Delivery.state == DeliveryState.PENDING
    )
    if session.execute(pending.limit(1)).first() is not None:
        return None
    failure = _failure(session, series_id)
    after = State.DELIVERED if failure is None else State.FAILED
    return after if move(session, series_id, State.CLASSIFIED, after, now, failure) else None


def _failure(session: Session, series_id: int) -> str | None:
    """Say for each destination what failed: how many instances, and one of their comments."""
    failed = session.execute(
        select(Delivery.destination, func.count(), func.max(Delivery.last_comment))
        .where(Delivery.series_id == series_id, Delivery.state == DeliveryState.FAILED)
        .group_by(Delivery.destination)
        .order_by(Delivery.destination)
    )
    sentences = [
        f"{destination}: {count} not delivered ({comment})" for destination, count, comment in failed
    ]
    return "; ".join(sentences) or None
