"""Outages: destinations that did not answer, left alone by all forwarders for a growing while."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from db.instants import instant
from db.moves import insert_unless_there
from db.scaling import OutageRow


@dataclass(frozen=True, slots=True)
class DestinationOutage:
    """How often, and since when, a destination did not answer, and until when it is left alone."""

    destination: str
    misses: int
    since: datetime
    not_before: datetime
    why: str


def missed(session: Session, destination: str, pause_s: float, why: str, misses: int) -> None:
    """Note that a destination did not answer for the so manieth time, and leave it alone for a while."""
    now = instant(session)
    not_before = now + timedelta(seconds=pause_s)
    row = {"destination": destination, "misses": misses, "not_before": not_before, "why": why}
    insert_unless_there(session, OutageRow, [row | {"since": now}])
    mine = update(OutageRow).where(OutageRow.destination == destination)
    session.execute(mine.values(misses=misses, not_before=not_before, why=why))


def reached(session: Session, destination: str) -> None:
    """Note that a destination answered."""
    session.execute(delete(OutageRow).where(OutageRow.destination == destination))


def outages(session: Session) -> dict[str, DestinationOutage]:
    """Return the destinations that do not answer, by name."""
    rows = session.scalars(select(OutageRow))
    return {
        row.destination: DestinationOutage(row.destination, row.misses, row.since, row.not_before, row.why)
        for row in rows
    }


def left_alone(session: Session, destination: str) -> bool:
    """Tell whether it is too early to ask a destination again."""
    found = session.scalar(select(OutageRow.not_before).where(OutageRow.destination == destination))
    return found is not None and found > instant(session)
