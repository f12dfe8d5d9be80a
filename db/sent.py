"""What a destination took, noted for many instances of a series in one transaction."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from db.moves import PENDING, lock_series, settle
from db.states import DeliveryState
from db.tables import Attempt, Delivery


@dataclass(frozen=True, slots=True)
class Sent:
    """An instance that arrived: the answer to it, and the correction that its copy follows, if it does."""

    delivery_id: int
    status: int
    comment: str
    correction_id: int | None


def succeeded_together(session: Session, series_id: int, sent: Collection[Sent], now: datetime) -> int:
    """Record what was stored of one series, each as `db.deliveries.succeeded` has it; return how many."""
    lock_series(session, series_id)
    recorded = 0
    for said, which in groupby(sorted(sent, key=_said), key=_said):
        recorded += _sent_alike(session, series_id, *said, [each.delivery_id for each in which], now)
    if recorded:
        settle(session, series_id, now)
    return recorded


def _said(sent: Sent) -> tuple[int, str, int]:
    return sent.status, sent.comment, sent.correction_id or 0


def _sent_alike(
    session: Session,
    series_id: int,
    status: int,
    comment: str,
    correction_id: int,
    ids: list[int],
    now: datetime,
) -> int:
    follows = Delivery.correction_id == correction_id if correction_id else Delivery.correction_id.is_(None)
    changed = session.execute(
        update(Delivery)
        .where(Delivery.id.in_(ids), Delivery.series_id == series_id, PENDING, follows)
        .values(counted(status, comment, now) | {"state": DeliveryState.SENT})
        .returning(Delivery.id, Delivery.tries)
        .execution_options(synchronize_session=False)
    ).all()
    if changed:
        said = {"at": now, "status": status, "comment": comment}
        rows = [{"delivery_id": row.id, "number": row.tries} | said for row in changed]
        session.execute(insert(Attempt), rows)
    return len(changed)


def counted(status: int | None, comment: str, now: datetime) -> dict[str, Any]:
    """Return what every try changes of a delivery, whatever came of it."""
    return {
        "attempts": Delivery.attempts + 1,
        "tries": Delivery.tries + 1,
        "last_at": now,
        "last_status": status,
        "last_comment": comment,
    }
