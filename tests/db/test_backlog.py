"""The backlog: what waits, since when and what was put aside, by index and whatever the past holds."""

from datetime import timedelta

from sqlalchemy import func, select, text

from db.backlog import FAILED, Backlog, Waiting, backlog
from db.deliveries import due, failed, postponed, succeeded
from db.destinations import pause
from db.moves import PENDING
from db.session import Database
from db.tables import Delivery
from tests.db.values import MINUTE, NOW, add_classified, add_series

LATER = NOW + timedelta(hours=1)
NOTHING = {"stable": 0, "classified": 0, "failed": 0}


def test_an_empty_database_has_none(database: Database) -> None:
    """Nothing waits, and no destination has anything to tell."""
    with database.reading() as session:
        assert backlog(session) == Backlog(NOTHING, None, {}, 0)


def test_what_waits_and_what_was_put_aside(database: Database) -> None:
    """Each destination has its counts, its oldest and its pause; what was sent does not count."""
    with database.session() as session:
        add_series(session, 1)
        add_classified(session, 2, 3)
        first, second, third = due(session, "archive", NOW, 9)
        succeeded(session, first.delivery_id, 0, NOW)
        failed(session, second.delivery_id, 0xA700, "full", NOW)
        postponed(session, third.delivery_id, None, "busy", LATER, NOW)
        for work in due(session, "reader", NOW, 9):
            succeeded(session, work.delivery_id, 0, NOW)
        pause(session, "elsewhere", "moving", NOW + MINUTE)
    with database.reading() as session:
        found = backlog(session)
    assert found.series == NOTHING | {"stable": 1, "classified": 1}
    assert found.oldest_stable_at == NOW
    assert found.queues == {
        "archive": Waiting(1, 1, NOW, None),
        "elsewhere": Waiting(0, 0, None, NOW + MINUTE),
    }


def plan(database: Database, wanted: object) -> str:
    """Ask the database how it would answer."""
    with database.reading() as session:
        if database.engine.dialect.name == "postgresql":
            session.execute(text("SET LOCAL enable_seqscan = off"))
        asked = str(wanted.compile(database.engine, compile_kwargs={"literal_binds": True}))  # type: ignore[attr-defined]
        explain = "EXPLAIN QUERY PLAN" if database.engine.dialect.name == "sqlite" else "EXPLAIN"
        return "\n".join(str(row) for row in session.execute(text(f"{explain} {asked}")))


def test_it_is_asked_of_indexes(database: Database) -> None:
    """Neither the age of what waits nor the count of what failed reads the rows of what was sent."""
    oldest = select(Delivery.destination, func.count(), func.min(Delivery.armed_at)).where(PENDING)
    assert "ix_deliveries_due" in plan(database, oldest.group_by(Delivery.destination))
    aside = select(Delivery.destination, func.count()).where(FAILED).group_by(Delivery.destination)
    assert "ix_deliveries_failed" in plan(database, aside)
