"""The parts of a line of the page that come from many rows: spans, images and deliveries of many series.

Every function takes the question for the ids of the series and asks the database once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement, Select, case, func, select
from sqlalchemy.orm import Session

from db.series import DUPLICATE
from db.states import DeliveryState
from db.tables import Delivery, Instance, SpanRow
from rules.verdict import Span

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class DeliverySummary:
    """The deliveries of a series to one destination; `last_...` is the latest try of any of them."""

    destination: str
    policy: str
    sent: int
    failed: int
    pending: int
    last_at: datetime | None
    last_status: int | None
    last_comment: str | None


@dataclass(frozen=True, slots=True)
class InstanceSummary:
    """The instances of a series: `instances` of them without conflict, and what became of these.

    `passed_on` gives (reason, number of images); `unjudged` are late ones, or all before the outcome.
    """

    instances: int = 0
    classified: int = 0
    passed_on: tuple[tuple[str, int], ...] = ()
    unjudged: int = 0
    conflicts: int = 0


def spans(session: Session, wanted: Select[int]) -> dict[int, tuple[Span, ...]]:
    """Return the spans of each series, in the verdict's order."""
    rows = session.execute(
        select(
            SpanRow.series_id,
            SpanRow.region,
            SpanRow.first_mm,
            SpanRow.last_mm,
            SpanRow.images,
            SpanRow.confidence,
        )
        .where(SpanRow.series_id.in_(wanted))
        .order_by(SpanRow.series_id, SpanRow.ordinal)
    )
    return _grouped((row[0], Span(*row[1:])) for row in rows)


def delivery_summaries(session: Session, wanted: Select[int]) -> dict[int, tuple[DeliverySummary, ...]]:
    """Return one summary a destination for each series, by the destinations' names."""
    group = (Delivery.series_id, Delivery.destination)
    counts = [
        _count(Delivery.state == state).over(partition_by=group).label(state)
        for state in (DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.PENDING)
    ]
    latest = func.row_number().over(
        partition_by=group, order_by=(Delivery.last_at.desc().nulls_last(), Delivery.id.desc())
    )
    inner = (
        select(
            Delivery.series_id,
            Delivery.destination,
            Delivery.policy,
            *counts,
            Delivery.last_at,
            Delivery.last_status,
            Delivery.last_comment,
            latest.label("rank"),
        )
        .where(Delivery.series_id.in_(wanted))
        .subquery()
    )
    columns = [column for column in inner.c if column.name != "rank"]
    rows = session.execute(
        select(*columns).where(inner.c.rank == 1).order_by(inner.c.series_id, inner.c.destination)
    )
    return _grouped((row[0], DeliverySummary(*row[1:])) for row in rows)


def instance_summaries(session: Session, wanted: Select[int]) -> dict[int, InstanceSummary]:
    """Return what became of the instances of each series."""
    live = Instance.conflict.is_(None)
    conflict = Instance.conflict != DUPLICATE
    rows = session.execute(
        select(
            Instance.series_id,
            Instance.reason,
            _count(live),
            _count(live & Instance.judged),
            _count(conflict),
        )
        .where(Instance.series_id.in_(wanted))
        .group_by(Instance.series_id, Instance.reason)
        .order_by(Instance.series_id, func.count().desc(), Instance.reason)
    )
    summaries: dict[int, InstanceSummary] = {}
    for series_id, reason, instances, judged, conflicts in rows:
        before = summaries.get(series_id, InstanceSummary())
        summaries[series_id] = InstanceSummary(
            instances=before.instances + instances,
            classified=before.classified + (judged if reason is None else 0),
            passed_on=before.passed_on if reason is None else (*before.passed_on, (reason, judged)),
            unjudged=before.unjudged + instances - judged,
            conflicts=before.conflicts + conflicts,
        )
    return summaries


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


def _grouped(pairs: Iterable[tuple[int, _Value]]) -> dict[int, tuple[_Value, ...]]:
    grouped: dict[int, list[_Value]] = {}
    for key, value in pairs:
        grouped.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in grouped.items()}
