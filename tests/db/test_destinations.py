"""Destinations in the database: held back and let go, what waits for each, results of single instances."""

from datetime import timedelta

import pytest

from db.deliveries import due, failed, postponed, succeeded
from db.destinations import Hold, Queue, hold, pause, queues, results, resume
from db.queries import Filters
from db.session import Database
from db.states import DeliveryState
from tests.db.values import MINUTE, NOW, add_classified


def test_held_back_and_let_go(database: Database) -> None:
    """What was said of a destination is kept, with its reason; saying it twice changes nothing else."""
    with database.session() as session:
        assert hold(session, "archive") == Hold()
        assert not resume(session, "archive", NOW)
        assert pause(session, "archive", "moving", NOW)
        assert not pause(session, "archive", "still moving", NOW + MINUTE)
        assert hold(session, "archive") == Hold(NOW, "still moving", NOW + MINUTE)
        assert hold(session, "reader") == Hold()
        assert resume(session, "archive", NOW + 2 * MINUTE)
        assert hold(session, "archive") == Hold(None, "", NOW + 2 * MINUTE)


def test_going_on_starts_the_age_anew(database: Database) -> None:
    """What waits for the destination, and for it alone, is due at once and as young as can be."""
    later = NOW + timedelta(days=9)
    with database.session() as session:
        add_classified(session, 1, 2)
        first, second = due(session, "archive", NOW, 9)
        postponed(session, first.delivery_id, None, "busy", later + MINUTE, NOW)
        succeeded(session, second.delivery_id, 0, NOW)
        pause(session, "archive", "", NOW)
        resume(session, "archive", later)
        [again] = due(session, "archive", later, 9)
        assert (again.delivery_id, again.attempts, again.armed_at) == (first.delivery_id, 0, later)
        assert {work.armed_at for work in due(session, "reader", later, 9)} == {NOW}


def test_queues_count_what_waits_was_sent_and_failed(database: Database) -> None:
    """Each destination has its counts, and the time of the oldest that waits."""
    with database.session() as session:
        assert queues(session) == {}
        add_classified(session, 1, 3)
        first, second, _ = due(session, "archive", NOW, 9)
        succeeded(session, first.delivery_id, 0, NOW)
        failed(session, second.delivery_id, 0xA700, "full", NOW)
        for work in due(session, "reader", NOW, 9):
            succeeded(session, work.delivery_id, 0, NOW)
        assert queues(session) == {"archive": Queue(1, 1, 1, NOW), "reader": Queue(0, 3, 0, None)}


def test_a_clock_that_was_set_back_holds_nothing_up(database: Database) -> None:
    """What is put off further than anything ever is, is due; what is put off as usual is not."""
    with database.session() as session:
        add_classified(session, 1, 2)
        first, second = due(session, "archive", NOW, 9)
        postponed(session, first.delivery_id, None, "busy", NOW + 5 * MINUTE, NOW)
        postponed(session, second.delivery_id, None, "busy", NOW + 60 * MINUTE, NOW)
        found = due(session, "archive", NOW, 9, latest=NOW + 10 * MINUTE)
        assert [work.delivery_id for work in found] == [second.delivery_id]


@pytest.mark.parametrize(
    ("filters", "destinations", "states", "count"),
    [
        (Filters(), (), (), 8),
        (Filters(), ("archive",), (), 4),
        (Filters(), ("archive",), (DeliveryState.FAILED,), 1),
        (Filters(series="1.2.1.1"), (), (), 4),
        (Filters(series="1.2.1.1"), ("archive",), (DeliveryState.PENDING,), 0),
        (Filters(study="nowhere"), (), (), 0),
    ],
)
def test_results_of_single_instances(
    database: Database,
    filters: Filters,
    destinations: tuple[str, ...],
    states: tuple[DeliveryState, ...],
    count: int,
) -> None:
    """Instance by instance the last answer is there, for those that are asked for."""
    with database.session() as session:
        add_classified(session, 1, 2)
        add_classified(session, 2, 2)
        first, second, *_ = due(session, "archive", NOW, 9)
        postponed(session, first.delivery_id, 0xA700, "full", NOW, NOW)
        succeeded(session, first.delivery_id, 0, NOW + MINUTE, "read back")
        failed(session, second.delivery_id, 0xC000, "cannot", NOW + 2 * MINUTE)
        found = results(session, filters, destinations, states, 99)
        assert len(found) == count
        if filters == Filters() and not states:
            assert [(each.state, each.tries, each.last_status, each.last_comment) for each in found[:2]] == [
                ("failed", 1, 0xC000, "cannot"),
                ("sent", 2, 0, "read back"),
            ]
            assert found[1].sop_instance_uid == first.sop_instance_uid
            assert len(results(session, filters, destinations, states, 3)) == 3
