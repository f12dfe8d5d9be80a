"""Checkup: what the database says of the files in the spool and of itself, and mending what does not hold."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import exists, func, select, text, update
from sqlalchemy.orm import Session

from db.deliveries import failed
from db.moves import PENDING, lock_series, move, settle
from db.retention import note_removed
from db.states import DeliveryState, State
from db.tables import Delivery, Instance, Series

GONE: Final = "the file is gone from the spool"


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file that should lie in the spool; `delivered`: it is safe elsewhere, or nobody was to get it."""

    instance_id: int
    series_id: int
    series_instance_uid: str
    path: str
    size_bytes: int
    sha256: str
    delivered: bool


def file_rows(session: Session) -> Iterator[FileRow]:
    """Yield every file that should lie in the spool."""
    mine = Delivery.instance_id == Instance.id
    sent = exists().where(mine, Delivery.state == DeliveryState.SENT)
    unsent = exists().where(mine, Delivery.state != DeliveryState.SENT)
    columns = (
        Instance.id,
        Instance.series_id,
        Series.series_instance_uid,
        Instance.path,
        Instance.size_bytes,
        Instance.sha256,
        (sent & ~unsent).label("delivered"),
    )
    rows = session.execute(
        select(*columns)
        .join(Series, Series.id == Instance.series_id)
        .where(Instance.removed_at.is_(None))
        .order_by(Instance.id)
        .execution_options(yield_per=1000)
    )
    for row in rows:
        yield FileRow(*row[:6], delivered=bool(row[6]))


def expected(session: Session, instance_id: int) -> str | None:
    """Return under which path a file should lie now; None if it was removed or never was."""
    wanted = select(Instance.path).where(Instance.id == instance_id, Instance.removed_at.is_(None))
    return session.scalar(wanted)


def miscounted(session: Session) -> tuple[int, ...]:
    """Return the series whose number of files is not that of their rows."""
    counted = (
        select(func.count())
        .where(Instance.series_id == Series.id, Instance.removed_at.is_(None))
        .scalar_subquery()
    )
    return tuple(session.scalars(select(Series.id).where(Series.files != counted).order_by(Series.id)))


def stuck(session: Session) -> tuple[int, ...]:
    """Return the series whose state and deliveries contradict each other, so that nothing would go on."""
    pending = exists().where(Delivery.series_id == Series.id, PENDING)
    settled = Series.state.in_((State.DELIVERED, State.FAILED))
    wrong = ((Series.state == State.CLASSIFIED) & ~pending) | (settled & pending)
    return tuple(session.scalars(select(Series.id).where(wrong).order_by(Series.id)))


def integrity(session: Session) -> str | None:
    """Return what SQLite finds wrong with its own file; None if nothing, or for another database."""
    if session.get_bind().dialect.name != "sqlite":
        return None
    said = str(session.execute(text("PRAGMA quick_check(1)")).scalar())
    return None if said == "ok" else " ".join(said.split())


def give_up(session: Session, row: FileRow, now: datetime) -> None:
    """Note that a file is gone: it is neither classified nor sent any more, and shown where it was not."""
    state = lock_series(session, row.series_id)
    if not row.delivered:
        _set_apart(session, row.instance_id)
    note_removed(session, row.series_id, [row.instance_id], now)
    pending = session.scalars(
        select(Delivery.id).where(Delivery.instance_id == row.instance_id, PENDING)
    ).all()
    for delivery_id in pending:
        failed(session, delivery_id, None, GONE, now)
    if state is State.CLASSIFIED:
        settle(session, row.series_id, now)


def _set_apart(session: Session, instance_id: int) -> None:
    """Count an undelivered file that is gone among the conflicts of its series, which `query` shows."""
    apart = update(Instance).where(Instance.id == instance_id, Instance.conflict.is_(None))
    session.execute(apart.values(conflict=GONE).execution_options(synchronize_session=False))


def recount(session: Session, series_id: int) -> None:
    """Count the files of a series anew."""
    lock_series(session, series_id)
    counted = (
        select(func.count())
        .where(Instance.series_id == series_id, Instance.removed_at.is_(None))
        .scalar_subquery()
    )
    changed = update(Series).where(Series.id == series_id).values(files=counted)
    session.execute(changed.execution_options(synchronize_session=False))


def unstick(session: Session, series_id: int, now: datetime) -> None:
    """Move a series to the state that its deliveries ask for."""
    state = lock_series(session, series_id)
    if state in (State.DELIVERED, State.FAILED):
        move(session, series_id, state, State.CLASSIFIED, now)
    settle(session, series_id, now)
