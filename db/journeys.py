"""Series on their way through several machines: gathered by any receiver, made stable once, found again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from sqlalchemy import ColumnElement, String, cast, delete, exists, func, select, update
from sqlalchemy.orm import Session

from db.claims import CLASSIFY, delivering
from db.instants import instant
from db.moves import PENDING, insert_unless_there
from db.records import InstanceFacts, Route, SeriesFacts
from db.scaling import ClaimRow, GatheringRow, JourneyRow
from db.series import Registered, register
from db.states import State
from db.tables import Delivery, Series


class Priority(IntEnum):
    """How urgent a series is: the lower the sooner."""

    URGENT = 0
    ROUTINE = 1
    PRIOR = 2


@dataclass(frozen=True, slots=True)
class Journey:
    """A series on its way, the name of its journey, and how urgent it is."""

    series_id: int
    correlation_id: str
    priority: Priority


def register_part(
    session: Session,
    facts: SeriesFacts,
    instances: Sequence[InstanceFacts],
    routes: Sequence[Route],
    correlation_id: str,
    priority: Priority,
) -> Registered:
    """Register what came so far of a series that may still grow, here or elsewhere.

    The first part, whichever receiver has it, makes the series and its journey; every part puts the moment
    off from which on it is stable. What comes after that moment is registered as db.series.register has it.
    """
    now = instant(session)
    result = register(session, facts, instances, routes, now)
    if result.first:
        row = {"series_id": result.series_id, "correlation_id": correlation_id, "priority": priority}
        insert_unless_there(session, JourneyRow, [row])
        insert_unless_there(session, GatheringRow, [{"series_id": result.series_id, "last_at": now}])
    elif result.added or result.conflicts:
        growing = update(GatheringRow).where(GatheringRow.series_id == result.series_id)
        session.execute(growing.values(last_at=now))
    return result


def make_stable(session: Session, age_s: float, uids: Collection[str] | None = None) -> list[Journey]:
    """Make those series stable to which nothing came for so long, and return them, each to one caller.

    `uids`: only series of these Series Instance UIDs.
    """
    which = GatheringRow.last_at <= instant(session) - timedelta(seconds=age_s)
    if uids is not None:
        named = select(Series.id).where(Series.series_instance_uid.in_(uids))
        which &= GatheringRow.series_id.in_(named)
    ended = delete(GatheringRow).where(which).returning(GatheringRow.series_id)
    return journeys(session, session.scalars(ended.execution_options(synchronize_session=False)).all())


def journeys(session: Session, series_ids: Collection[int]) -> list[Journey]:
    """Return the journeys of series, in the order of the series' numbers; one that has none is routine."""
    columns = (JourneyRow.series_id, JourneyRow.correlation_id, JourneyRow.priority)
    rows = session.execute(select(*columns).where(JourneyRow.series_id.in_(series_ids)))
    known = {
        row.series_id: Journey(row.series_id, row.correlation_id, Priority(row.priority)) for row in rows
    }
    return [known.get(each, Journey(each, "", Priority.ROUTINE)) for each in sorted(series_ids)]


def journey(session: Session, series_id: int) -> Journey:
    """Return the journey of one series."""
    return journeys(session, [series_id])[0]


def waiting(session: Session, limit: int) -> dict[Priority, list[int]]:
    """Return series that are stable and that nobody works on, the oldest first, `limit` of each at most."""
    growing = exists().where(GatheringRow.series_id == Series.id)
    priority = func.coalesce(JourneyRow.priority, int(Priority.ROUTINE))
    found = (
        select(Series.id)
        .outerjoin(JourneyRow, JourneyRow.series_id == Series.id)
        .where(Series.state == State.STABLE, ~growing, ~_claimed(CLASSIFY, Series.id, instant(session)))
        .order_by(Series.id)
        .limit(limit)
    )
    return {each: list(session.scalars(found.where(priority == int(each)))) for each in Priority}


def growing(session: Session) -> int:
    """Count the series of which instances may still come."""
    return session.scalar(select(func.count()).select_from(GatheringRow)) or 0


def is_growing(session: Session, series_id: int) -> bool:
    """Tell whether instances of a series may still come."""
    found = select(GatheringRow.series_id).where(GatheringRow.series_id == series_id)
    return session.scalar(found) is not None


def due_series(session: Session, destination: str, now: datetime, latest: datetime, limit: int) -> list[int]:
    """Return series with something due for a destination that nobody delivers, urgent ones first.

    Of the others those that have waited longest; at most `limit`, found among the instances due longest.
    """
    when = (Delivery.next_attempt_at <= now) | (Delivery.next_attempt_at > latest)
    free = ~_claimed(delivering(destination), Delivery.series_id, instant(session))
    mine = select(Delivery.series_id).where(Delivery.destination == destination, PENDING, when, free)
    urgent = mine.join(JourneyRow, JourneyRow.series_id == Delivery.series_id)
    urgent = urgent.where(JourneyRow.priority == int(Priority.URGENT)).distinct().limit(limit)
    found = list(session.scalars(urgent))
    if len(found) < limit:
        found += session.scalars(mine.order_by(Delivery.next_attempt_at, Delivery.series_id).limit(_WINDOW))
    return list(dict.fromkeys(found))[:limit]


_WINDOW = 5000
"""Instances looked at for the next series: one series of many images must not hide all others."""


def _claimed(kind: str, number: Any, now: datetime) -> ColumnElement[bool]:
    """Tell of the series of a row whether somebody alive has claimed it."""
    return exists().where(
        ClaimRow.kind == kind,
        ClaimRow.subject == cast(number, String),
        ClaimRow.until >= now,
    )
