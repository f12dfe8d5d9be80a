"""Claims: one owner each, for as long as it gives signs of life."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

from sqlalchemy import update

from db import claims
from db.instants import instant
from db.scaling import ClaimRow, ProcessRow
from db.session import Database

LEASE_S = 60.0


def take(database: Database, owner: str, *subjects: str) -> list[str]:
    """Claim in a transaction of its own."""
    with database.session() as session:
        return sorted(claims.claim(session, "work", subjects, owner, LEASE_S))


def lapse(database: Database) -> None:
    """Let all claims and signs of life be an hour old."""
    with database.session() as session:
        old = instant(session) - timedelta(hours=1)
        session.execute(update(ClaimRow).values(until=old))
        session.execute(update(ProcessRow).values(seen_at=old))


def test_one_owner_at_a_time(database: Database) -> None:
    """What is claimed is nobody else's until it is given back; the rest may be claimed."""
    assert take(database, "a", "1", "2") == ["1", "2"]
    assert take(database, "b", "1", "2", "3") == ["3"]
    assert take(database, "a", "1") == []
    with database.session() as session:
        claims.release(session, "work", ["1", "3"], "a")
    assert take(database, "b", "1", "2") == ["1"]
    with database.reading() as session:
        assert claims.taken(session, "work") == {"1", "2", "3"}
        assert claims.taken(session, "other") == set()


def test_who_is_silent_loses_its_claims(database: Database) -> None:
    """A lapsed claim is anybody's, and the times are counted; a sign of life before that keeps it."""
    take(database, "a", "1")
    lapse(database)
    with database.session() as session:
        claims.sign_of_life(session, "a", "worker", "1.0", LEASE_S)  # too late: it has lapsed
    assert take(database, "b", "1") == ["1"]
    with database.session() as session:
        session.execute(update(ClaimRow).values(until=instant(session) + timedelta(seconds=5)))
        claims.sign_of_life(session, "b", "worker", "1.0", LEASE_S)
        claims.release(session, "work", ["1"], "a")
    with database.reading() as session:
        assert claims.times(session, "work", "1") == 2
        assert claims.taken(session, "work") == {"1"}


def test_first_free_one(database: Database) -> None:
    """Of several connections the first that nobody uses is taken; none when all are in use."""
    with database.session() as session:
        found = [claims.claim_one_of(session, "slot", ["0", "1"], owner, LEASE_S) for owner in "abc"]
    assert found == ["0", "1", None]


def test_the_silent_are_buried_once(database: Database) -> None:
    """A process without a sign of life is found by one caller; who says farewell is none of them."""
    with database.session() as session:
        for name in ("dead", "left"):
            claims.sign_of_life(session, name, "receiver", "1.0", LEASE_S)
        claims.farewell(session, "left")
    lapse(database)
    with database.session() as session:
        claims.sign_of_life(session, "alive", "worker", "1.0", LEASE_S)
        assert [each.name for each in claims.bury(session, 600)] == ["dead"]
        assert claims.bury(session, 600) == []
        assert [(each.name, each.role) for each in claims.processes(session)] == [("alive", "worker")]


def test_claiming_at_once(database: Database) -> None:
    """Of many that claim the same things in the same moment, each thing has one owner."""
    wanted = [str(number) for number in range(30)]
    barrier = Barrier(4, timeout=60)

    def run(owner: str) -> list[str]:
        barrier.wait()
        turn = wanted if owner in "ab" else wanted[::-1]
        return [found for each in turn for found in take(database, owner, each)] + take(
            database, owner, *wanted
        )

    with ThreadPoolExecutor(4) as pool:
        got = [each for found in pool.map(run, "abcd") for each in found]
    assert sorted(got) == sorted(wanted)
