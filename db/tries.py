"""Tries to deliver: those of one series, instance by instance, and the last one at each destination."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from db.backlog import FAILED
from db.states import DeliveryState
from db.tables import Attempt, Crash, Delivery, Instance

RECENT: Final = 2000
"""Tries that are looked at for the last one at each destination; they are read by their numbers."""


@dataclass(frozen=True, slots=True)
class Try:
    """One try: `number` counts from 1, `status` is the peer's answer, None where none came."""

    number: int
    at: datetime
    status: int | None
    comment: str


@dataclass(frozen=True, slots=True)
class Sent:
    """One instance on its way to one destination, with its tries, the first first.

    `next_attempt_at` is None unless it waits.
    """

    sop_instance_uid: str
    destination: str
    policy: str
    state: str
    next_attempt_at: datetime | None
    tries: tuple[Try, ...]


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that died over a series."""

    at: datetime
    reason: str


def sent(session: Session, series_id: int, offset: int, limit: int) -> tuple[Sent, ...]:
    """Return deliveries of a series, failed ones first, then those that wait."""
    rank = case(
        (Delivery.state == DeliveryState.FAILED, 0), (Delivery.state == DeliveryState.PENDING, 1), else_=2
    )
    rows = session.execute(
        select(
            Delivery.id,
            Instance.sop_instance_uid,
            Delivery.destination,
            Delivery.policy,
            Delivery.state,
            case((Delivery.state == DeliveryState.PENDING, Delivery.next_attempt_at)),
        )
        .join(Instance, Instance.id == Delivery.instance_id)
        .where(Delivery.series_id == series_id)
        .order_by(rank, Delivery.destination, Delivery.id)
        .offset(offset)
        .limit(limit)
    ).all()
    tries = _tries(session, [row[0] for row in rows])
    return tuple(
        Sent(uid, destination, policy, state, next_at, tuple(tries[delivery_id]))
        for delivery_id, uid, destination, policy, state, next_at in rows
    )


def count_sent(session: Session, series_id: int) -> int:
    """Return how many deliveries a series has."""
    wanted = select(func.count()).select_from(Delivery).where(Delivery.series_id == series_id)
    return session.scalar(wanted) or 0


def deaths(session: Session, series_id: int) -> tuple[Death, ...]:
    """Return how often, and how, a worker died over a series."""
    rows = session.execute(
        select(Crash.at, Crash.reason).where(Crash.series_id == series_id).order_by(Crash.at, Crash.id)
    )
    return tuple(Death(*row) for row in rows)


def _tries(session: Session, delivery_ids: list[int]) -> defaultdict[int, list[Try]]:
    rows = session.execute(
        select(Attempt.delivery_id, Attempt.number, Attempt.at, Attempt.status, Attempt.comment)
        .where(Attempt.delivery_id.in_(delivery_ids))
        .order_by(Attempt.delivery_id, Attempt.number)
    )
    found: defaultdict[int, list[Try]] = defaultdict(list)
    for row in rows:
        found[row[0]].append(Try(*row[1:]))
    return found


def last_tries(session: Session) -> dict[str, Try]:
    """Return the last try at each destination, of the last RECENT tries at all of them."""
    newest = session.scalar(select(func.max(Attempt.id))) or 0
    rows = session.execute(
        select(Delivery.destination, Attempt.number, Attempt.at, Attempt.status, Attempt.comment)
        .join(Delivery, Delivery.id == Attempt.delivery_id)
        .where(Attempt.id > newest - RECENT)
        .order_by(Attempt.id)
    )
    return {name: Try(number, at, status, comment) for name, number, at, status, comment in rows}


def failed_series(session: Session, destination: str, limit: int) -> tuple[int, ...]:
    """Return series with deliveries to a destination that were put aside, at most `limit` of them."""
    wanted = (
        select(Delivery.series_id).where(FAILED, Delivery.destination == destination).distinct().limit(limit)
    )
    return tuple(session.scalars(wanted))
