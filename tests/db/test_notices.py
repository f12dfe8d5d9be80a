"""Notices in the database: kept by way, and dropped with it."""

from datetime import timedelta

from db.notices import Notice, forget, keep, notices
from db.session import Database
from tests.db.values import NOW

DOWN = Notice("destination_down", "archive", "it does not answer", 0, NOW)
FULL = Notice("disk_low", "spool", "few bytes are left", 0, NOW - timedelta(hours=1), None, NOW, 3)


def test_notices_are_kept_by_way(database: Database) -> None:
    """Each way has its own; keeping others replaces them, the longest lasting come first."""
    with database.session() as session:
        keep(session, "email", [DOWN, FULL])
        keep(session, "log", [DOWN])
    with database.session() as session:
        assert notices(session, "email") == (FULL, DOWN)
        assert notices(session, "log") == (DOWN,)
        keep(session, "email", [])
        assert notices(session, "email") == ()
        assert notices(session, "log") == (DOWN,)


def test_ways_that_are_gone_are_forgotten(database: Database) -> None:
    """A webhook that is no longer configured leaves nothing behind."""
    with database.session() as session:
        keep(session, "email", [DOWN])
        keep(session, "webhook old", [DOWN])
        forget(session, ["email"])
        assert notices(session, "webhook old") == ()
        assert notices(session, "email") == (DOWN,)
