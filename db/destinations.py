"""Destinations: holding one back, letting it go on, what waits for each, and each instance's result."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from db.moves import PENDING, insert_unless_there
from db.queries import Filters, matching
from db.states import DeliveryState
from db.tables import Delivery, DestinationRow, Instance, Series


@dataclass(frozen=True, slots=True)
class Hold:
    """What an admin last said about a destination; `paused_at` is None where it goes on."""

    paused_at: datetime | None = None
    reason: str = ""
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue of a destination: counts of instances, and since when the oldest that waits is armed."""

    pending: int = 0
    sent: int = 0
    failed: int = 0
    oldest_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class InstanceDelivery:
    """What became of one instance at one destination; `tries` counts all, the rest is of the last."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    destination: str
    state: str
    tries: int
    next_attempt_at: datetime | None
    last_at: datetime | None
    last_status: int | None
    last_comment: str | None


def hold(session: Session, name: str) -> Hold:
    """Return what was last said about a destination."""
    columns = (DestinationRow.paused_at, DestinationRow.reason, DestinationRow.changed_at)
    row = session.execute(select(*columns).where(DestinationRow.name == name)).first()
    return Hold() if row is None else Hold(*row)


def pause(session: Session, name: str, reason: str, now: datetime) -> bool:
    """Hold a destination back; False if it was already, and then nothing but the reason changes."""
    row = {"name": name, "paused_at": None, "reason": "", "changed_at": now}
    insert_unless_there(session, DestinationRow, [row])
    mine = update(DestinationRow).where(DestinationRow.name == name)
    session.execute(mine.values(reason=reason, changed_at=now))
    paused = mine.where(DestinationRow.paused_at.is_(None)).values(paused_at=now)
    return session.execute(paused.returning(DestinationRow.name)).first() is not None


def resume(session: Session, name: str, now: datetime) -> bool:
    """Let a destination go on; what waits is due at once, its age counted from now. False if it went on.

    So nothing becomes too old by an admin's pause.
    """
    resumed = (
        update(DestinationRow)
        .where(DestinationRow.name == name, DestinationRow.paused_at.is_not(None))
        .values(paused_at=None, reason="", changed_at=now)
        .returning(DestinationRow.name)
    )
    if session.execute(resumed).first() is None:
        return False
    waiting = update(Delivery).where(Delivery.destination == name, PENDING)
    session.execute(
        waiting.values(armed_at=now, next_attempt_at=now, attempts=0).execution_options(
            synchronize_session=False
        )
    )
    return True


def queues(session: Session) -> dict[str, Queue]:
    """Return the queue of every destination that was ever sent something."""
    counts = [
        func.sum(case((Delivery.state == state, 1), else_=0))
        for state in (DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.FAILED)
    ]
    oldest = func.min(case((Delivery.state == DeliveryState.PENDING, Delivery.armed_at)))
    rows = session.execute(select(Delivery.destination, *counts, oldest).group_by(Delivery.destination))
    return {row[0]: Queue(*row[1:]) for row in rows}


def results(
    session: Session,
    filters: Filters,
    destinations: Collection[str],
    states: Collection[DeliveryState],
    limit: int,
) -> list[InstanceDelivery]:
    """Return what became of single instances, the latest tried first; an empty collection asks for all."""
    wanted = select(
        Series.study_instance_uid,
        Series.series_instance_uid,
        Instance.sop_instance_uid,
        Delivery.destination,
        Delivery.state,
        Delivery.tries,
        case((Delivery.state == DeliveryState.PENDING, Delivery.next_attempt_at)),
        Delivery.last_at,
        Delivery.last_status,
        Delivery.last_comment,
    )
    wanted = wanted.join(Instance, Instance.id == Delivery.instance_id)
    wanted = wanted.join(Series, Series.id == Delivery.series_id)
    if filters != Filters():
        wanted = wanted.where(Delivery.series_id.in_(matching(filters)))
    if destinations:
        wanted = wanted.where(Delivery.destination.in_(destinations))
    if states:
        wanted = wanted.where(Delivery.state.in_(states))
    rows = session.execute(wanted.order_by(Delivery.last_at.desc().nulls_last(), Delivery.id).limit(limit))
    return [InstanceDelivery(*row) for row in rows]
