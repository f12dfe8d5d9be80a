"""Storage commitment in the database: what was asked, what was found, and whether the asker was told."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from db.series import DUPLICATE
from db.states import CommitmentState
from db.tables import Commitment, Instance

_CHUNK: Final = 500
_OPEN: Final = (CommitmentState.ASKED, CommitmentState.DECIDED)

Reference = tuple[str, str]
"""SOP Class UID and SOP Instance UID."""

Failure = tuple[str, str, int]
"""The same, and the Failure Reason (0008,1197)."""


@dataclass(frozen=True, slots=True)
class CommitmentWork:
    """A request that is not dealt with yet; `failures` is None until it is decided."""

    commitment_id: int
    transaction_uid: str
    calling_ae_title: str
    requested_at: datetime
    asked: tuple[Reference, ...]
    failures: tuple[Failure, ...] | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Holding:
    """One registered file of a SOP Instance UID; `in_conflict`: another object has the UID, too."""

    sop_class_uid: str
    path: str
    sha256: str
    in_conflict: bool
    removed: bool


def ask(
    session: Session, calling_ae_title: str, transaction_uid: str, asked: Sequence[Reference], now: datetime
) -> bool:
    """Note a request; the same one again is answered again.

    False, and nothing noted, where the transaction is under way with other instances.
    """
    mine = (Commitment.calling_ae_title == calling_ae_title, Commitment.transaction_uid == transaction_uid)
    found = session.execute(
        select(Commitment.id, Commitment.state, Commitment.asked).where(*mine).with_for_update()
    ).first()
    fresh: dict[str, Any] = {
        "state": CommitmentState.ASKED,
        "requested_at": now,
        "next_attempt_at": now,
        "attempts": 0,
        "asked": [list(each) for each in asked],
        "failures": None,
        "last_comment": None,
    }
    if found is None:
        keys = {"calling_ae_title": calling_ae_title, "transaction_uid": transaction_uid}
        session.execute(insert(Commitment), [keys | fresh])
        return True
    if found.state in _OPEN and found.asked != fresh["asked"]:
        return False
    _change(session, found.id, **fresh)
    return True


def open_requests(session: Session, now: datetime, limit: int) -> tuple[CommitmentWork, ...]:
    """Return requests that are due to be decided or reported, the longest due first."""
    rows = session.scalars(
        select(Commitment)
        .where(Commitment.state.in_(_OPEN), Commitment.next_attempt_at <= now)
        .order_by(Commitment.next_attempt_at, Commitment.id)
        .limit(limit)
    )
    return tuple(
        CommitmentWork(
            row.id,
            row.transaction_uid,
            row.calling_ae_title,
            row.requested_at,
            tuple((sop_class, instance) for sop_class, instance in row.asked),
            None if row.failures is None else tuple((one, two, three) for one, two, three in row.failures),
            row.attempts,
        )
        for row in rows
    )


def holdings(session: Session, uids: Sequence[str]) -> dict[str, list[Holding]]:
    """Return what is registered under SOP Instance UIDs; a second copy of the same content is left out."""
    found: dict[str, list[Holding]] = defaultdict(list)
    columns = (Instance.sop_instance_uid, Instance.sop_class_uid, Instance.path, Instance.sha256)
    for start in range(0, len(uids), _CHUNK):
        rows = session.execute(
            select(*columns, Instance.conflict, Instance.removed_at).where(
                Instance.sop_instance_uid.in_(uids[start : start + _CHUNK])
            )
        )
        for uid, sop_class, path, sha256, conflict, removed_at in rows:
            if conflict != DUPLICATE:
                holding = Holding(sop_class, path, sha256, conflict is not None, removed_at is not None)
                found[uid].append(holding)
    return found


def decided(session: Session, commitment_id: int, failures: Sequence[Failure], now: datetime) -> None:
    """Keep what was found: from here on the asker is owed a report."""
    _change(
        session,
        commitment_id,
        state=CommitmentState.DECIDED,
        failures=[list(each) for each in failures],
        next_attempt_at=now,
    )


def postponed(session: Session, commitment_id: int, comment: str | None, next_at: datetime) -> None:
    """Look at a request again later; with a comment, a report that did not arrive counts as an attempt."""
    changes: dict[str, Any] = {"next_attempt_at": next_at}
    if comment is not None:
        changes |= {"attempts": Commitment.attempts + 1, "last_comment": comment}
    _change(session, commitment_id, **changes)


def closed(session: Session, commitment_id: int, state: CommitmentState, comment: str | None) -> None:
    """Note that the asker knows, or that it is told no more; the list of instances is no longer needed."""
    _change(session, commitment_id, state=state, last_comment=comment, asked=[])


def _change(session: Session, commitment_id: int, **values: Any) -> None:
    session.execute(
        update(Commitment)
        .where(Commitment.id == commitment_id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
