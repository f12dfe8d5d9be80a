"""Notices: troubles that last, and what was told of them by each way; so a restart tells nothing twice."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from db.tables import NoticeRow


@dataclass(frozen=True, slots=True)
class Notice:
    """A trouble: `kind` of which part, `subject`, and a sentence on it; `measure` tells whether it grows.

    `told_at` is None until it was told, with `told_measure`; `ended_at` is set from its end until that was
    told, too.
    """

    kind: str
    subject: str
    sentence: str
    measure: int
    since: datetime
    ended_at: datetime | None = None
    told_at: datetime | None = None
    told_measure: int = 0


def notices(session: Session, way: str) -> tuple[Notice, ...]:
    """Return what one way has to tell or has told, the longest lasting first."""
    columns = [getattr(NoticeRow, name) for name in Notice.__dataclass_fields__]
    wanted = select(*columns).where(NoticeRow.way == way)
    rows = session.execute(wanted.order_by(NoticeRow.since, NoticeRow.kind, NoticeRow.subject))
    return tuple(Notice(*row) for row in rows)


def keep(session: Session, way: str, found: Iterable[Notice]) -> None:
    """Keep these notices of a way, and no others."""
    session.execute(delete(NoticeRow).where(NoticeRow.way == way))
    rows = [{"way": way, **asdict(notice)} for notice in found]
    if rows:
        session.execute(insert(NoticeRow), rows)


def forget(session: Session, ways: Iterable[str]) -> None:
    """Drop the notices of all ways but these, which are the configured ones."""
    session.execute(delete(NoticeRow).where(NoticeRow.way.not_in(list(ways))))
