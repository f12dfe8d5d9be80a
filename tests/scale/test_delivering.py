"""Several forwarders at one destination: its connections, its rest, and its pause are everybody's."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from db.claims import claim, connecting, taken
from db.destinations import pause, resume
from db.outages import outages
from db.records import Outcome, Route
from db.scaling import OutageRow
from db.session import migrate
from node.auditing.audit import Trail
from node.clock import utc_now
from node.relabelling.coercion import KEEP
from node.scaling.delivering import Delivering
from node.scaling.lease import Lease
from node.settings.config import Config
from tests.builders import Recipe
from tests.chaos.archive import Archive
from tests.node.bench import Bench, opened
from tests.postgres import empty_postgres

PASSED_ON = Outcome(None, (), "test", None, "0")
ROUTES = (Route("archive", KEEP),)


@pytest.fixture
def bench(tmp_path: Path, postgres_url: str) -> Iterator[Bench]:
    """A spool and a database with three decided series of two images."""
    url = empty_postgres(postgres_url)
    migrate(url)
    with opened(tmp_path, url) as made:
        for seed in ("one", "two", "three"):
            made.decided(Recipe(n=2, seed=seed, study_seed=seed), PASSED_ON, ROUTES)
        yield made


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """A destination that is not there until it is started."""
    made = Archive(tmp_path / "archive")
    yield made
    made.stop()


def forwarder(
    bench: Bench, archive: Archive, name: str = "one", again: list[str] | None = None, **more: Any
) -> Delivering:
    """Make what a forwarder's process has."""
    told: dict[str, Any] = {
        "receive": {"promiscuous": True},
        "destinations": [archive.destination(**more)],
        "scaling": {"deliver_for_s": 60},
    }
    config = Config.model_validate(told)
    lease = Lease(bench.database, name, "forwarder", 30)
    note = [] if again is None else again
    return Delivering(config, bench.database, bench.spool, lease, threading.Event(), Trail(None), note.append)


def used(bench: Bench) -> frozenset[str]:
    """Return the connections that are in use."""
    with bench.database.reading() as session:
        return taken(session, connecting("archive"))


def test_one_task_delivers_all_that_is_due(bench: Bench, archive: Archive) -> None:
    """A task takes a connection, delivers what waits, and gives back what it has claimed."""
    archive.start()
    forwarder(bench, archive).deliver_series("archive")
    assert archive.distinct() == 6
    assert [row.state for row in bench.rows()] == ["delivered"] * 3
    assert used(bench) == frozenset()
    forwarder(bench, archive).deliver_series("elsewhere")


def test_no_more_connections_than_configured(bench: Bench, archive: Archive) -> None:
    """Where others use all connections a task does nothing; where one is free, it is used."""
    archive.start()
    with bench.database.session() as session:
        claim(session, connecting("archive"), ["0"], "other", 60)
    forwarder(bench, archive).deliver_series("archive")
    assert archive.distinct() == 0
    forwarder(bench, archive, concurrency=2).deliver_series("archive")
    assert archive.distinct() == 6
    assert used(bench) == {"0"}


def test_forwarders_share_what_is_due(bench: Bench, archive: Archive) -> None:
    """Two at once, each with a connection: every instance goes once."""
    archive.start()
    both = [forwarder(bench, archive, name, concurrency=2) for name in ("one", "two")]
    tasks = [threading.Thread(target=each.deliver_series, args=("archive",)) for each in both]
    for each in tasks:
        each.start()
    for each in tasks:
        each.join(60)
    assert len(archive.copies()) == 6
    assert [row.state for row in bench.rows()] == ["delivered"] * 3


def test_a_destination_that_is_down_is_left_alone_by_all(bench: Bench, archive: Archive) -> None:
    """One forwarder finds it down; the other does not even try, until the time is over."""
    retry = {"first_s": 60, "maximum_s": 600}
    forwarder(bench, archive, "one", retry=retry).deliver_series("archive")
    with bench.database.reading() as session:
        assert outages(session)["archive"].misses == 1
    archive.start()
    forwarder(bench, archive, "two", retry=retry).deliver_series("archive")
    assert archive.distinct() == 0
    with bench.database.session() as session:
        session.execute(update(OutageRow).values(not_before=utc_now().replace(year=2020)))
    forwarder(bench, archive, "two", retry=retry).deliver_series("archive")
    assert archive.distinct() == 5  # the one that was tried waits for itself
    with bench.database.reading() as session:
        assert outages(session) == {}


def test_an_admin_holds_it_back_for_all(bench: Bench, archive: Archive) -> None:
    """A paused destination gets nothing from any forwarder, and all of it afterwards."""
    archive.start()
    with bench.database.session() as session:
        pause(session, "archive", "maintenance", utc_now())
    forwarder(bench, archive).deliver_series("archive")
    assert archive.distinct() == 0
    with bench.database.session() as session:
        resume(session, "archive", utc_now())
    forwarder(bench, archive).deliver_series("archive")
    assert archive.distinct() == 6
