"""The backlog: what waits, since when, and what was put aside; asked of partial indexes alone."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, literal_column, select
from sqlalchemy.orm import Session

from db.moves import PENDING
from db.states import CommitmentState, State
from db.tables import FAILED_SQL, Commitment, Delivery, DestinationRow, Series

FAILED = Delivery.state == literal_column(FAILED_SQL)
"""The condition of the partial index on deliveries that were put aside."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a destination has not got: `oldest_at` is since when the oldest waits, None if none does.

    `paused_at`: since when an admin holds it back.
    """

    pending: int = 0
    failed: int = 0
    oldest_at: datetime | None = None
    paused_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """Series by state, but for `delivered`; queues by destination; commitments that are not reported yet.

    `oldest_stable_at` is since when the oldest series waits for the worker.
    """

    series: dict[str, int]
    oldest_stable_at: datetime | None
    queues: dict[str, Waiting]
    commitments: int


def backlog(session: Session) -> Backlog:
    """Ask for all of it, at one moment; destinations with nothing to tell are left out."""
    return Backlog(_series(session), _oldest_stable_at(session), _queues(session), _commitments(session))


def _series(session: Session) -> dict[str, int]:
    states = (State.STABLE, State.CLASSIFIED, State.FAILED)
    counted = session.execute(
        select(Series.state, func.count()).where(Series.state.in_(states)).group_by(Series.state)
    )
    return {str(state): 0 for state in states} | {row[0]: row[1] for row in counted}


def _oldest_stable_at(session: Session) -> datetime | None:
    return session.scalar(select(func.min(Series.changed_at)).where(Series.state == State.STABLE))


def _queues(session: Session) -> dict[str, Waiting]:
    waiting = session.execute(
        select(Delivery.destination, func.count(), func.min(Delivery.armed_at))
        .where(PENDING)
        .group_by(Delivery.destination)
    )
    pending = {name: (count, oldest_at) for name, count, oldest_at in waiting}
    aside = session.execute(
        select(Delivery.destination, func.count()).where(FAILED).group_by(Delivery.destination)
    )
    failed = {row[0]: row[1] for row in aside}
    held = session.execute(
        select(DestinationRow.name, DestinationRow.paused_at).where(DestinationRow.paused_at.is_not(None))
    )
    paused = {row[0]: row[1] for row in held}
    return {
        name: Waiting(
            pending.get(name, (0, None))[0],
            failed.get(name, 0),
            pending.get(name, (0, None))[1],
            paused.get(name),
        )
        for name in sorted({*pending, *failed, *paused})
    }


def _commitments(session: Session) -> int:
    open_ = (CommitmentState.ASKED, CommitmentState.DECIDED)
    wanted = select(func.count()).select_from(Commitment).where(Commitment.state.in_(open_))
    return session.scalar(wanted) or 0
