"""What the dashboard asks: what came by the hour, what it shows, and how often the incoming tags were wrong.

Everything counts series that came since a moment, so a piece of that column's index is read, not the table.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from db.tables import Series

HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Hour:
    """What came in the hour that begins at `at`."""

    at: datetime
    series: int
    images: int


@dataclass(frozen=True, slots=True)
class Named:
    """How many series got a term; None stands for those whose verdict has none."""

    term: str | None
    series: int


@dataclass(frozen=True, slots=True)
class SourceTags:
    """The incoming tags of one source and modality against the verdicts.

    `compared` series had a tag and a term, `wrong` of them did not fit; `missing` came without a tag.
    """

    source: str
    modality: str
    series: int
    compared: int
    wrong: int
    missing: int
    unknown: int


def arrivals(session: Session, now: datetime, hours: int) -> tuple[Hour, ...]:
    """Return the last hours, the oldest first, those without anything too; the last one is not over yet."""
    last = now.replace(minute=0, second=0, microsecond=0)
    first = last - HOUR * (hours - 1)
    series: Counter[int] = Counter()
    images: Counter[int] = Counter()
    rows = session.execute(select(Series.received_at, Series.registered).where(Series.received_at >= first))
    for received_at, registered in rows:
        hour = int((received_at - first) / HOUR)
        series[hour] += 1
        images[hour] += registered
    return tuple(Hour(first + HOUR * hour, series[hour], images[hour]) for hour in range(hours))


def named(session: Session, since: datetime) -> tuple[Named, ...]:
    """Return how many series with a decision each term has, the most frequent first."""
    count = func.count()
    rows = session.execute(
        select(Series.term, count)
        .where(Series.received_at >= since, Series.decided_at.is_not(None), Series.rule.is_not(None))
        .group_by(Series.term)
        .order_by(count.desc(), Series.term)
    )
    return tuple(Named(*row) for row in rows)


def source_tags(session: Session, since: datetime) -> tuple[SourceTags, ...]:
    """Return what each source's tags were worth, that of the most series first."""
    count = func.count()
    rows = session.execute(
        select(
            Series.calling_ae_title,
            Series.modality,
            count,
            _sum(Series.disagrees.is_not(None)),
            _sum(Series.disagrees.is_(True)),
            _sum(Series.incoming_body_part == ""),
            _sum(Series.term.is_(None)),
        )
        .where(Series.received_at >= since, Series.rule.is_not(None))
        .group_by(Series.calling_ae_title, Series.modality)
        .order_by(count.desc(), Series.calling_ae_title, Series.modality)
    )
    return tuple(SourceTags(*row) for row in rows)


def _sum(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
