"""Retention: which series' files may leave the spool, and noting that they did.

A file may go once it is delivered: its series is `delivered`, every instance was sent to every destination
that it was meant for, and to at least one. What is undecided stays: waiting, failed and pending deliveries,
different objects that share a UID, and whatever was never meant for any destination.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, exists, func, literal, select, text, update
from sqlalchemy.orm import Session

from db.moves import lock_series
from db.series import DUPLICATE
from db.states import DeliveryState
from db.tables import KEPT_SQL, Delivery, Instance, Series


@dataclass(frozen=True, slots=True)
class RemovedFile:
    """A file that may now be unlinked: `path` relative to the spool, `size_bytes` of its data set."""

    path: str
    size_bytes: int


def removable(session: Session, before: datetime, limit: int) -> tuple[int, ...]:
    """Return series that were settled before a time and whose files may go, the longest settled first."""
    wanted = select(Series.id).where(text(KEPT_SQL), Series.changed_at <= before, ~_holding_back())
    return tuple(session.scalars(wanted.order_by(Series.changed_at, Series.id).limit(limit)))


def remove(session: Session, series_id: int, before: datetime, now: datetime) -> tuple[RemovedFile, ...]:
    """Note the files of a series as removed and return them; none if they may not go any more.

    The caller unlinks them once this is committed: a file too many is found again, one too few is lost.
    """
    lock_series(session, series_id)
    wanted = select(Series.id).where(
        Series.id == series_id, text(KEPT_SQL), Series.changed_at <= before, ~_holding_back()
    )
    if session.scalar(wanted) is None:
        return ()
    rows = session.execute(
        select(Instance.id, Instance.path, Instance.size_bytes).where(
            Instance.series_id == series_id, Instance.removed_at.is_(None)
        )
    ).all()
    note_removed(session, series_id, [row.id for row in rows], now)
    return tuple(RemovedFile(row.path, row.size_bytes) for row in rows)


def note_removed(session: Session, series_id: int, instance_ids: Sequence[int], now: datetime) -> None:
    """Note that files of a series, which must be locked, are no longer in the spool."""
    if not instance_ids:
        return
    changed = (
        update(Instance)
        .where(Instance.id.in_(instance_ids), Instance.removed_at.is_(None))
        .values(
            path=literal("removed-") + func.cast(Instance.id, Instance.path.type) + "/" + Instance.path,
            removed_at=now,
        )
        .returning(Instance.id)
        .execution_options(synchronize_session=False)
    )
    count = len(session.scalars(changed).all())
    fewer = update(Series).where(Series.id == series_id).values(files=Series.files - count)
    session.execute(fewer.execution_options(synchronize_session=False))


def _holding_back() -> ColumnElement[bool]:
    """Ask for a file of the series that must stay: not sent everywhere, sent nowhere, or in conflict."""
    mine = Delivery.instance_id == Instance.id
    sent = exists().where(mine, Delivery.state == DeliveryState.SENT)
    unsent = exists().where(mine, Delivery.state != DeliveryState.SENT)
    settled = (Instance.conflict == DUPLICATE) | (Instance.conflict.is_(None) & sent & ~unsent)
    # A conflict that is NULL makes the first comparison NULL, and "not NULL" would find nothing.
    open_ = ~func.coalesce(settled, False)
    return exists().where(Instance.series_id == Series.id, Instance.removed_at.is_(None), open_)
