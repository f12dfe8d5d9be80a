"""Retention: only what was delivered everywhere may go, and what went is known ever after."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.deliveries import due, failed, resend, succeeded
from db.results import record_outcome
from db.retention import removable, remove
from db.series import instance_counts, known_paths, register
from db.session import Database
from db.tables import Instance, Series
from tests.db.values import (
    MINUTE,
    NOW,
    ROUTES,
    add_classified,
    add_series,
    instance,
    instances,
    no_verdict,
    series_facts,
)

LATER = NOW + timedelta(days=30)


def deliver(session: Session, *, but: int = 0) -> None:
    """Have everything arrive but the last `but` deliveries."""
    work = [each for route in ROUTES for each in due(session, route.destination, NOW, 99)]
    for each in work[: len(work) - but]:
        assert succeeded(session, each.delivery_id, 0, NOW)


def test_a_delivered_series_goes_when_it_is_old_enough(database: Database) -> None:
    """Before the time nothing goes; then the files are named once, and no longer counted or known."""
    with database.session() as session:
        series_id = add_classified(session, count=3)
        deliver(session)
        assert removable(session, NOW - MINUTE, 9) == ()
        assert remove(session, series_id, NOW - MINUTE, LATER) == ()
        assert removable(session, NOW, 9) == (series_id,)
        gone = remove(session, series_id, NOW, LATER)
        assert [each.path for each in gone] == [one.path for one in instances(3)]
        assert remove(session, series_id, LATER, LATER) == ()
        assert removable(session, LATER, 9) == ()
        assert instance_counts(session) == {("1.2.1", "1.2.1.1"): 0}
        assert known_paths(session, "1.2.1", "1.2.1.1").isdisjoint(each.path for each in gone)


@pytest.mark.parametrize("how", ["stable", "classified", "one pending", "one failed"])
def test_the_undelivered_stays(database: Database, how: str) -> None:
    """A series that waits, or of which one delivery is pending or failed, is never removed."""
    with database.session() as session:
        series_id = add_series(session) if how == "stable" else add_classified(session)
        if how.startswith("one"):
            deliver(session, but=1)
        if how == "one failed":
            [last] = due(session, ROUTES[-1].destination, NOW, 9)
            assert failed(session, last.delivery_id, 0xA900, "no", NOW)
        assert removable(session, LATER, 9) == ()
        assert remove(session, series_id, LATER, LATER) == ()


def test_what_goes_nowhere_stays(database: Database) -> None:
    """A series without a destination is delivered at once, but this node has its only copy."""
    with database.session() as session:
        series_id = add_series(session)
        assert record_outcome(session, series_id, no_verdict(), (), NOW)
        assert removable(session, LATER, 9) == ()


def test_a_conflict_keeps_its_series(database: Database) -> None:
    """A different object under a known UID waits for somebody who decides; an equal one does not."""
    with database.session() as session:
        add_classified(session, 1, 2)
        other = [instance(1, 1, "other.dcm", "other content")]
        register(session, series_facts(1), other, ROUTES, NOW)
        second = add_classified(session, 2, 2)
        equal = [instance(1, 2, "equal.dcm")]
        register(session, series_facts(2), equal, ROUTES, NOW)
        deliver(session)
        assert removable(session, LATER, 9) == (second,)
        assert len(remove(session, second, LATER, LATER)) == 3


def test_what_was_removed_is_not_sent_again(database: Database) -> None:
    """Nothing is armed without its file; a late instance of the series is, and goes where the rest went."""
    with database.session() as session:
        series_id = add_classified(session, count=2)
        deliver(session)
        remove(session, series_id, LATER, LATER)
        assert resend(session, [series_id], None, False, ROUTES, LATER) == 0
        late = register(session, series_facts(), [instance(3)], ROUTES, LATER)
        assert (late.added, late.late) == (("1.2.1.1.3",), True)
        assert [len(due(session, route.destination, LATER, 9)) for route in ROUTES] == [1, 1]
        assert removable(session, LATER, 9) == ()


def test_the_same_object_after_its_removal(database: Database) -> None:
    """Sent once more it is a duplicate and goes with its series; a different one is a conflict and stays."""
    with database.session() as session:
        series_id = add_classified(session, count=2)
        deliver(session)
        for _ in range(2):
            assert remove(session, series_id, LATER, LATER)
            again = register(session, series_facts(), [instance(1)], ROUTES, LATER)
            assert (again.added, again.conflicts) == ((), ())
        assert removable(session, LATER, 9) == (series_id,)
        other = register(session, series_facts(), [instance(2, content="another")], ROUTES, LATER)
        assert other.conflicts == ("1.2.1.1.2",)
        assert removable(session, LATER, 9) == ()
        counted = session.scalar(select(func.count()).where(Instance.removed_at.is_(None)))
        assert session.scalar(select(Series.files)) == counted == 2
