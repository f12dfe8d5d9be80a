"""Deliveries: what is due, how tries end, what happens to the series, and sending again."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.deliveries import due, failed, next_due_at, postponed, resend, skip_destinations, succeeded
from db.queries import Filters, series_rows
from db.records import DeliveryWork, Route
from db.session import Database
from db.tables import Attempt, Delivery, Series
from tests.db.values import (
    ARCHIVE,
    MINUTE,
    NOW,
    READER,
    ROUTES,
    add_classified,
    add_series,
    deliveries_of,
    state_of,
)


def _all_due(session: Session) -> list[DeliveryWork]:
    return [work for route in ROUTES for work in due(session, route.destination, NOW, 99)]


def test_due_is_oldest_first_and_series_by_series(database: Database) -> None:
    """Work comes in the order of its time, without one series being torn apart by another."""
    with database.session() as session:
        first, second = add_classified(session, 1, 3), add_classified(session, 2, 3)
        before = due(session, "archive", NOW, 99)
        assert [work.series_id for work in before] == [first] * 3 + [second] * 3
        postponed(session, before[0].delivery_id, None, "busy", NOW + MINUTE, NOW)
        after = due(session, "archive", NOW + MINUTE, 99)
        assert [work.series_id for work in after] == [first] * 3 + [second] * 3
        assert [work.delivery_id for work in due(session, "archive", NOW, 1)] == [before[1].delivery_id]
        assert due(session, "archive", NOW - MINUTE, 99) == ()
        assert due(session, "elsewhere", NOW, 99) == ()


def test_next_due_at_is_the_earliest(database: Database) -> None:
    """The forwarder may rest until the earliest pending delivery, for ever if there is none."""
    with database.session() as session:
        assert next_due_at(session, "archive") is None
        add_classified(session, count=2)
        first, second = due(session, "archive", NOW, 2)
        postponed(session, first.delivery_id, None, "busy", NOW + 2 * MINUTE, NOW)
        postponed(session, second.delivery_id, None, "busy", NOW + MINUTE, NOW)
        assert next_due_at(session, "archive") == NOW + MINUTE


def test_a_series_is_delivered_with_its_last_success(database: Database) -> None:
    """Only the last pending delivery of all destinations moves the series."""
    with database.session() as session:
        series_id = add_classified(session, count=1)
        archive, reader = _all_due(session)
        assert succeeded(session, archive.delivery_id, 0, NOW)
        assert state_of(session, series_id) == "classified"
        assert succeeded(session, reader.delivery_id, 0xB000, NOW)
        assert state_of(session, series_id) == "delivered"
        assert session.scalars(select(Delivery.last_status).order_by(Delivery.id)).all() == [0, 0xB000]


def test_one_failure_fails_the_series_with_its_reason(database: Database) -> None:
    """A failed delivery waits for the others, then the series says what is missing where."""
    with database.session() as session:
        series_id = add_classified(session, count=2)
        first, second, *others = _all_due(session)
        assert failed(session, first.delivery_id, 0xA700, "out of resources", NOW)
        assert failed(session, second.delivery_id, 0xA700, "out of resources", NOW)
        for work in others:
            assert state_of(session, series_id) == "classified"
            succeeded(session, work.delivery_id, 0, NOW)
        assert state_of(session, series_id) == "failed"
        assert session.scalars(select(Series.failure)).one() == "archive: 2 not delivered (out of resources)"


def test_every_try_is_written_down(database: Database) -> None:
    """Attempts keep their number, time, status and comment."""
    with database.session() as session:
        add_classified(session, count=1)
        (work,) = due(session, "archive", NOW, 9)
        postponed(session, work.delivery_id, None, "no answer", NOW + MINUTE, NOW)
        postponed(session, work.delivery_id, 0xA700, "full", NOW + MINUTE, NOW + MINUTE)
        assert due(session, "archive", NOW + MINUTE, 9)[0].attempts == 2
        succeeded(session, work.delivery_id, 0, NOW + 2 * MINUTE)
        rows = session.execute(
            select(Attempt.number, Attempt.at, Attempt.status, Attempt.comment).order_by(Attempt.number)
        )
        assert [tuple(row) for row in rows] == [
            (1, NOW, None, "no answer"),
            (2, NOW + MINUTE, 0xA700, "full"),
            (3, NOW + 2 * MINUTE, 0, ""),
        ]


def test_a_settled_delivery_stays_settled(database: Database) -> None:
    """Reporting twice, or about nothing, changes nothing and is told."""
    with database.session() as session:
        series_id = add_classified(session, count=1)
        (work,) = due(session, "archive", NOW, 9)
        assert succeeded(session, work.delivery_id, 0, NOW)
        assert not succeeded(session, work.delivery_id, 0, NOW)
        assert not failed(session, work.delivery_id, None, "late", NOW)
        assert not postponed(session, work.delivery_id, None, "late", NOW, NOW)
        assert not succeeded(session, 10**6, 0, NOW)
        assert len(session.scalars(select(Attempt.id)).all()) == 1
        assert state_of(session, series_id) == "classified"


def test_destinations_that_are_gone_fail(database: Database) -> None:
    """What waits for a destination that is no longer configured fails with that reason, the rest waits."""
    with database.session() as session:
        done, waiting = add_classified(session, 1, 1), add_classified(session, 2, 1)
        succeeded(session, due(session, "archive", NOW, 1)[0].delivery_id, 0, NOW)
        assert skip_destinations(session, ["archive", "new"], NOW) == 2
        assert skip_destinations(session, ["archive", "new"], NOW) == 0
        assert (state_of(session, done), state_of(session, waiting)) == ("failed", "classified")
        reason = "reader: 1 not delivered (destination reader is no longer configured)"
        assert session.scalars(select(Series.failure).where(Series.id == done)).one() == reason


def test_no_destination_left_fails_all(database: Database) -> None:
    """An empty configuration is one in which no destination is configured."""
    with database.session() as session:
        series_id = add_classified(session, count=1)
        assert skip_destinations(session, [], NOW) == 2
        assert state_of(session, series_id) == "failed"


def _settle_all(session: Session) -> None:
    """Send everything to the reader, and let everything for the archive fail."""
    for work in due(session, "archive", NOW, 99):
        failed(session, work.delivery_id, None, "refused", NOW)
    for work in due(session, "reader", NOW, 99):
        succeeded(session, work.delivery_id, 0, NOW)


@pytest.mark.parametrize(
    ("destinations", "only_failed", "armed"),
    [
        (None, False, {"archive": 2, "reader": 2}),
        (None, True, {"archive": 2}),
        ({"reader"}, False, {"reader": 2}),
        ({"reader"}, True, {}),
        ({"elsewhere"}, False, {}),
    ],
)
def test_resend_arms_what_was_asked_for(
    database: Database, destinations: set[str] | None, only_failed: bool, armed: dict[str, int]
) -> None:
    """Deliveries become due again with a new age, and the series waits for them."""
    later = NOW + MINUTE
    with database.session() as session:
        series_id = add_classified(session, count=2)
        _settle_all(session)
        count = resend(session, [series_id], destinations, only_failed, ROUTES, later)
        work = {name: due(session, name, later, 99) for name in ("archive", "reader")}
        assert {name: len(found) for name, found in work.items() if found} == armed
        assert count == sum(armed.values())
        assert {(one.armed_at, one.attempts) for found in work.values() for one in found} <= {(later, 0)}
        assert state_of(session, series_id) == ("classified" if armed else "failed")
        assert session.scalars(select(Series.failure)).one() == (
            None if armed else "archive: 2 not delivered (refused)"
        )


def test_resend_creates_what_a_new_destination_never_got(database: Database) -> None:
    """A destination that is new in the configuration gets everything, unless only failures are asked for."""
    new = Route("new", "never")
    with database.session() as session:
        series_id = add_classified(session, count=2)
        _settle_all(session)
        assert resend(session, [series_id], {"new"}, True, (*ROUTES, new), NOW) == 0
        assert resend(session, [series_id], {"new"}, False, (*ROUTES, new), NOW) == 2
        assert [work.policy for work in due(session, "new", NOW, 9)] == ["never"] * 2
        assert resend(session, [series_id], {"new"}, False, (*ROUTES, new), NOW) == 2
        assert deliveries_of(session, series_id) == 6


def test_resend_sends_what_was_sent_and_to_no_destination_of_yesterday(database: Database) -> None:
    """A destination gets the same again whatever its route says now; one that is gone gets nothing."""
    with database.session() as session:
        series_id = add_classified(session, count=1)
        _settle_all(session)
        assert resend(session, [series_id], None, False, (Route("archive", "always"),), NOW) == 1
        assert [work.policy for work in due(session, "archive", NOW, 9)] == [ARCHIVE.policy]
        assert due(session, "reader", NOW, 9) == ()


def test_resend_continues_the_numbers_of_the_tries(database: Database) -> None:
    """The history of a delivery is kept when it is armed again."""
    with database.session() as session:
        series_id = add_classified(session, count=1)
        _settle_all(session)
        resend(session, [series_id], None, True, (ARCHIVE,), NOW)
        (work,) = due(session, "archive", NOW, 9)
        succeeded(session, work.delivery_id, 0, NOW)
        assert session.scalars(
            select(Attempt.number).where(Attempt.delivery_id == work.delivery_id).order_by(Attempt.id)
        ).all() == [1, 2]
        assert state_of(session, series_id) == "delivered"


def test_resend_leaves_what_has_no_decision(database: Database) -> None:
    """A series that waits for the worker, or does not exist, has nothing to send again."""
    with database.session() as session:
        series_id = add_series(session)
        assert resend(session, [series_id, 99], None, False, ROUTES, NOW) == 0
        assert state_of(session, series_id) == "stable"


def test_the_summary_shows_the_latest_try(database: Database) -> None:
    """The page sees for each destination how many were sent, and the latest answer."""
    with database.session() as session:
        add_classified(session, count=3)
        first, second, _ = due(session, READER.destination, NOW, 9)
        succeeded(session, first.delivery_id, 0, NOW)
        postponed(session, second.delivery_id, 0xA700, "full", NOW + MINUTE, NOW + MINUTE)
        archive, reader = series_rows(session, Filters())[0].deliveries
    assert (archive.sent, archive.failed, archive.pending, archive.last_at) == (0, 0, 3, None)
    assert (reader.destination, reader.policy) == ("reader", "always")
    assert (reader.sent, reader.failed, reader.pending) == (1, 0, 2)
    assert (reader.last_at, reader.last_status, reader.last_comment) == (NOW + MINUTE, 0xA700, "full")
