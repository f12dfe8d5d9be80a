"""Decisions: what was decided of a series, as a few plain values, for those who count."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.tables import Instance, Series


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided; `images` counts the instances that a network has seen.

    `term` is None for `unknown`, and with a `reason` for what was passed on.
    """

    modality: str
    calling_ae_title: str
    received_at: datetime
    decided_at: datetime
    term: str | None
    disagrees: bool | None
    reason: str | None
    images: int


def decision(session: Session, series_id: int) -> Decision | None:
    """Return the decision of a series; None if it has none."""
    seen = (Instance.series_id == series_id) & Instance.judged & Instance.reason.is_(None)
    images = select(func.count()).select_from(Instance).where(seen & Instance.conflict.is_(None))
    columns = (
        Series.modality,
        Series.calling_ae_title,
        Series.received_at,
        Series.decided_at,
        Series.term,
        Series.disagrees,
        Series.reason,
        images.scalar_subquery(),
    )
    row = session.execute(
        select(*columns).where(Series.id == series_id, Series.decided_at.is_not(None))
    ).first()
    return None if row is None else Decision(*row)
