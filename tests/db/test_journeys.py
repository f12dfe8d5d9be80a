"""Series that several receivers gather: one series, stable once, found again."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import func, select, update

from db import claims
from db.instants import instant
from db.journeys import (
    Journey,
    Priority,
    due_series,
    growing,
    is_growing,
    journey,
    make_stable,
    register_part,
    waiting,
)
from db.outages import left_alone, missed, outages, reached
from db.results import record_outcome
from db.scaling import GatheringRow
from db.series import Registered
from db.session import Database
from db.tables import Delivery, Instance, Series
from tests.db.values import MINUTE, NOW, ROUTES, add_classified, instance, outcome, series_facts, state_of

AGE_S = 10.0


def part(
    database: Database, *numbers: int, series: int = 1, name: str = "j", how: Priority = Priority.ROUTINE
) -> Registered:
    """Register instances of a series as one receiver does."""
    with database.session() as session:
        found = [instance(number, series) for number in numbers]
        return register_part(session, series_facts(series), found, ROUTES, name, how)


def wait(database: Database, seconds: float) -> None:
    """Let everything that was gathered have come so much earlier."""
    with database.session() as session:
        earlier = GatheringRow.last_at
        for row in session.execute(select(GatheringRow.series_id, earlier)).all():
            session.execute(
                update(GatheringRow)
                .where(GatheringRow.series_id == row[0])
                .values(last_at=row[1] - timedelta(seconds=seconds))
            )


def stable(database: Database, age_s: float = AGE_S) -> list[Journey]:
    """Make stable what is."""
    with database.session() as session:
        return make_stable(session, age_s)


def test_parts_of_several_receivers_are_one_series(database: Database) -> None:
    """Every part puts the moment off; the series keeps the name and the urgency of its first part."""
    first = part(database, 1, 2, name="first", how=Priority.URGENT)
    wait(database, 9)
    assert part(database, 3, name="second").series_id == first.series_id
    wait(database, 9)
    assert stable(database) == []
    with database.reading() as session:
        assert (growing(session), is_growing(session, first.series_id)) == (1, True)
        assert waiting(session, 10) == {each: [] for each in Priority}
    wait(database, 2)
    assert stable(database) == [Journey(first.series_id, "first", Priority.URGENT)]
    assert stable(database) == []
    with database.reading() as session:
        assert waiting(session, 10)[Priority.URGENT] == [first.series_id]
        assert journey(session, first.series_id).correlation_id == "first"


def test_what_comes_after_the_moment_does_not_put_it_off(database: Database) -> None:
    """A stable series that waits for its worker takes more instances without becoming unstable."""
    found = part(database, 1)
    wait(database, 11)
    assert len(stable(database)) == 1
    assert part(database, 2).late is False
    assert stable(database, 0) == []
    with database.session() as session:
        record_outcome(session, found.series_id, outcome(2), ROUTES, NOW)
    late = part(database, 3)
    assert late.late
    with database.reading() as session:
        assert session.scalar(select(func.count(Delivery.id))) == 6
        assert state_of(session, found.series_id) == "classified"


def test_only_the_named_are_flushed(database: Database) -> None:
    """A flush of one series leaves the others growing."""
    part(database, 1, series=1)
    part(database, 1, series=2)
    with database.session() as session:
        [flushed] = make_stable(session, 0, [series_facts(2).series_instance_uid])
        assert is_growing(session, 1)
        assert not is_growing(session, flushed.series_id)


def test_claimed_series_do_not_wait(database: Database) -> None:
    """The sweeper sees what nobody alive works on, by urgency."""
    for number, how in ((1, Priority.PRIOR), (2, Priority.ROUTINE), (3, Priority.PRIOR)):
        part(database, 1, series=number, how=how)
    made = stable(database, 0)
    with database.session() as session:
        claims.claim(session, claims.CLASSIFY, [str(made[0].series_id)], "me", 60)
    with database.reading() as session:
        found = waiting(session, 10)
    assert found[Priority.PRIOR] == [made[2].series_id]
    assert found[Priority.ROUTINE] == [made[1].series_id]


@pytest.mark.parametrize("receivers", [2, 4])
def test_receivers_at_once(database: Database, receivers: int) -> None:
    """Receivers that register parts of the same series at once while it is made stable: once, and whole."""
    barrier = Barrier(receivers + 2, timeout=60)

    def receive(number: int) -> int:
        barrier.wait()
        return sum(
            len(part(database, 100 * number + index, series=series).added)
            for index in range(5)
            for series in (1, 2, 3)
        )

    def settle(_: int) -> list[int]:
        barrier.wait()
        return [each.series_id for _ in range(20) for each in stable(database, 0.001)]

    with ThreadPoolExecutor(receivers + 2) as pool:
        received = pool.map(receive, range(1, receivers + 1))
        made = [pool.submit(settle, 0), pool.submit(settle, 1)]
        assert sum(received) == 15 * receivers
        once = [each for found in made for each in found.result()]
    once += [each.series_id for each in stable(database, -1)]
    with database.reading() as session:
        ids = list(session.scalars(select(Series.id).order_by(Series.id)))
        assert len(ids) == 3
        assert sorted(once) == ids
        assert session.scalar(select(func.count(Instance.id))) == 15 * receivers


def test_what_is_due_for_a_destination(database: Database) -> None:
    """Urgent series come first, then those that wait longest; claimed and postponed ones do not."""
    with database.session() as session:
        for number in (1, 2, 3):
            add_classified(session, number, 2)
    with database.session() as session:
        for number in (4, 5):
            made = register_part(
                session, series_facts(number), [instance(1, number)], ROUTES, "u", Priority.URGENT
            )
            record_outcome(session, made.series_id, outcome(1, number), ROUTES, NOW)
        claims.claim(session, claims.delivering("archive"), ["2", "5"], "me", 60)
        later = Delivery.series_id == 3
        session.execute(update(Delivery).where(later).values(next_attempt_at=NOW + MINUTE))
    with database.reading() as session:
        assert due_series(session, "archive", NOW, NOW + 2 * MINUTE, 10) == [4, 1]
        assert due_series(session, "reader", NOW, NOW + 2 * MINUTE, 2) == [4, 5]
        assert due_series(session, "archive", NOW, NOW, 10) == [4, 1, 3]


def test_an_outage_is_everybodys(database: Database) -> None:
    """A destination that did not answer is left alone until its time, and forgotten when it answers."""
    with database.session() as session:
        missed(session, "archive", 60, "refused", 1)
        missed(session, "archive", 120, "refused again", 2)
        missed(session, "reader", -1, "gone", 1)
    with database.session() as session:
        assert (outages(session)["archive"].misses, outages(session)["archive"].why) == (2, "refused again")
        assert (left_alone(session, "archive"), left_alone(session, "reader")) == (True, False)
        reached(session, "archive")
        assert not left_alone(session, "archive")
        assert instant(session).tzinfo is not None
