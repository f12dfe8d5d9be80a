"""Claims: who works on what, for as long as it gives signs of life; and the processes that there are.

A claim is a lease, no lock: a process that is cut off loses it while it still works. So a claim saves work
and keeps order, but it is the conditional moves (db/moves.py) that keep anything from happening twice.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.instants import instant
from db.moves import insert_unless_there
from db.scaling import ClaimRow, ProcessRow
from db.tables import Base

CLASSIFY: Final = "classify"
HOUSEKEEPING: Final = "housekeeping"
COMMITMENT: Final = "commitment"


def delivering(destination: str) -> str:
    """Return the kind of claim on what goes to a destination."""
    return f"deliver {destination}"


def connecting(destination: str) -> str:
    """Return the kind of claim on one of the connections that a destination may have."""
    return f"connect {destination}"


@dataclass(frozen=True, slots=True)
class Process:
    """A process and its last sign of life."""

    name: str
    role: str
    version: str
    started_at: datetime
    seen_at: datetime


def claim(session: Session, kind: str, subjects: Collection[str], owner: str, lease_s: float) -> list[str]:
    """Claim what nobody has, or whose owner gave no sign of life; return what is ours now.

    What this owner has already stays its own, and is not returned.
    """
    if not subjects:
        return []
    now = instant(session)
    until = now + timedelta(seconds=lease_s)
    table = Base.metadata.tables[ClaimRow.__tablename__]
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    rows = [
        {"kind": kind, "subject": subject, "owner": owner, "until": until, "times": 1}
        for subject in sorted(set(subjects))  # sorted, so that two cannot wait for each other
    ]
    wanted = insert(table).values(rows)
    taken = wanted.on_conflict_do_update(
        index_elements=["kind", "subject"],
        set_={"owner": owner, "until": until, "times": table.c.times + 1},
        where=table.c.until < now,
    )
    return list(session.scalars(taken.returning(table.c.subject)))


def claim_one_of(
    session: Session, kind: str, subjects: Sequence[str], owner: str, lease_s: float
) -> str | None:
    """Claim the first of several that is free; None where none is."""
    for subject in subjects:
        if claim(session, kind, [subject], owner, lease_s):
            return subject
    return None


def times(session: Session, kind: str, subject: str) -> int:
    """Return how often something was claimed without being finished."""
    found = session.scalar(select(ClaimRow.times).where(_is(kind, [subject])))
    return found or 0


def owner(session: Session, kind: str, subject: str) -> str | None:
    """Return who has something; None where its claim has lapsed, or there is none."""
    alive = _is(kind, [subject]) & (ClaimRow.until >= instant(session))
    return session.scalar(select(ClaimRow.owner).where(alive))


def release(session: Session, kind: str, subjects: Collection[str], owner: str) -> None:
    """Give back what was claimed; what somebody else has by now is left alone."""
    session.execute(delete(ClaimRow).where(_is(kind, subjects), ClaimRow.owner == owner))


def taken(session: Session, kind: str) -> frozenset[str]:
    """Return what of a kind somebody alive works on."""
    alive = (ClaimRow.kind == kind) & (ClaimRow.until >= instant(session))
    return frozenset(session.scalars(select(ClaimRow.subject).where(alive)))


def sign_of_life(session: Session, owner: str, role: str, version: str, lease_s: float) -> None:
    """Note that a process lives, and move all its claims on."""
    now = instant(session)
    row = {"name": owner, "role": role, "version": version, "started_at": now, "seen_at": now}
    insert_unless_there(session, ProcessRow, [row])
    session.execute(update(ProcessRow).where(ProcessRow.name == owner).values(seen_at=now))
    alive = update(ClaimRow).where(ClaimRow.owner == owner, ClaimRow.until >= now)
    moved = alive.values(until=now + timedelta(seconds=lease_s))
    session.execute(moved.execution_options(synchronize_session=False))


def farewell(session: Session, owner: str) -> None:
    """Forget a process that ended properly; what it has claimed is free."""
    session.execute(delete(ClaimRow).where(ClaimRow.owner == owner))
    session.execute(delete(ProcessRow).where(ProcessRow.name == owner))


def processes(session: Session) -> list[Process]:
    """Return all processes that did not say farewell, by name."""
    columns = [getattr(ProcessRow, name) for name in Process.__dataclass_fields__]
    return [Process(*row) for row in session.execute(select(*columns).order_by(ProcessRow.name))]


def bury(session: Session, silent_s: float) -> list[Process]:
    """Forget the processes that gave no sign of life for so long, and return them, each to one caller."""
    before = instant(session) - timedelta(seconds=silent_s)
    columns = [getattr(ProcessRow, name) for name in Process.__dataclass_fields__]
    dead = delete(ProcessRow).where(ProcessRow.seen_at < before).returning(*columns)
    return [Process(*row) for row in session.execute(dead.execution_options(synchronize_session=False))]


def tidy(session: Session, silent_s: float) -> None:
    """Forget claims that lapsed long ago."""
    before = instant(session) - timedelta(seconds=silent_s)
    session.execute(delete(ClaimRow).where(ClaimRow.until < before))


def _is(kind: str, subjects: Collection[str]) -> ColumnElement[bool]:
    return (ClaimRow.kind == kind) & ClaimRow.subject.in_(subjects)
