"""Tests of when a series is complete, with a clock that the test turns."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.records import Outcome
from db.session import migrate
from tests.builders import Recipe
from tests.node.bench import Bench, opened


@pytest.fixture
def bench(tmp_path: Path, database_url: str) -> Iterator[Bench]:
    """A tracker with a stable age of ten seconds, on SQLite and on PostgreSQL."""
    with opened(tmp_path, database_url, stable_age_s=10) as bench:
        yield bench


def test_a_series_is_complete_when_nothing_came_for_a_while(bench: Bench) -> None:
    """Each instance starts the wait anew; then the series is registered once, with what its header says."""
    bench.arrive(Recipe(n=2))
    bench.clock.now += 9
    assert bench.tracker.register_due() == 0
    bench.arrive(Recipe(n=3))
    bench.clock.now += 9
    assert bench.tracker.register_due() == 0
    bench.clock.now += 1
    assert bench.tracker.register_due() == 1
    assert bench.registered.is_set()
    [row] = bench.rows()
    assert (row.state, row.instances, row.incoming_body_part) == ("stable", 3, "CHEST")
    assert (row.patient_id, row.modality, row.calling_ae_title) == ("SYN0001", "CT", "CT1")


def test_series_do_not_wait_for_each_other(bench: Bench) -> None:
    """One that still grows does not hold back one that is complete."""
    bench.arrive(Recipe(seed="first"))
    bench.clock.now += 6
    bench.arrive(Recipe(seed="second"))
    bench.clock.now += 5
    assert bench.tracker.register_due() == 1
    assert len(bench.rows()) == 1


def test_flush_makes_complete_at_once(bench: Bench) -> None:
    """A request for one series leaves the others waiting; one for all does not."""
    [first, *_] = bench.arrive(Recipe(seed="first"))
    bench.arrive(Recipe(seed="second"))
    bench.tracker.flush([first.stored.key])
    assert bench.tracker.register_due() == 1
    bench.tracker.flush()
    assert bench.tracker.register_due() == 1


@pytest.mark.parametrize(("configured", "registered"), [(True, 1), (False, 0)])
def test_release_flushes_where_configured(
    tmp_path: Path, database_url: str, configured: bool, registered: int
) -> None:
    """The end of the association completes its series only if the configuration says so."""
    with opened(tmp_path, database_url, flush_on_release=configured) as bench:
        [first, *_] = bench.arrive(Recipe())
        bench.tracker.released({first.stored.key})
        assert bench.tracker.register_due() == registered


def test_restart_finds_what_the_database_does_not_know(bench: Bench) -> None:
    """Instances stored before a kill are taken up again, in known and in new series, and only those."""
    bench.arrive(Recipe(seed="known", n=2))
    bench.clock.now += 10
    bench.tracker.register_due()
    bench.store(Recipe(seed="known", n=4))
    bench.store(Recipe(seed="new", n=3))
    after = bench.new_tracker()
    assert after.recover() == 5
    bench.clock.now += 10
    assert after.register_due() == 2
    assert sorted(row.instances for row in bench.rows()) == [3, 4]
    assert bench.new_tracker().recover() == 0


def test_a_damaged_file_does_not_keep_the_node_from_starting(bench: Bench) -> None:
    """A file that lost its content is told and left; the others are taken up."""
    [first, *_] = bench.store(Recipe(n=3))
    bench.spool.path(first.stored.path).write_bytes(b"")
    assert bench.new_tracker().recover() == 2


def test_late_instances_are_due_for_delivery(bench: Bench) -> None:
    """What comes after the decision is registered, gets deliveries, and reopens the series."""
    bench.decided(Recipe(n=2), Outcome(None, (), "test", None, "0"))
    bench.arrive(Recipe(n=3))
    bench.clock.now += 10
    bench.tracker.register_due()
    [row] = bench.rows()
    assert row.state == "classified"
    assert row.deliveries[0].pending == 3


def test_conflicts_are_kept_and_reported(bench: Bench) -> None:
    """Another object with a known UID, in the same or in another series, is registered as a conflict."""
    bench.arrive(Recipe(n=1))
    bench.arrive(Recipe(n=1, patient_id="OTHER"))
    stolen = Recipe().instance_uid(0)
    bench.clock.now += 10
    bench.tracker.register_due()
    bench.arrive(Recipe(n=1, seed="thief", overrides={"SOPInstanceUID": stolen}))
    bench.clock.now += 10
    bench.tracker.register_due()
    assert sorted((row.instances, row.conflicts) for row in bench.rows()) == [(0, 1), (1, 1)]


def test_a_database_that_fails_loses_nothing(tmp_path: Path) -> None:
    """While the tables are missing the series waits; when they are there it is registered."""
    url = f"sqlite:///{tmp_path}/late.sqlite"
    with opened(tmp_path, url, stable_age_s=10) as bench:
        bench.arrive(Recipe(n=2))
        bench.clock.now += 10
        bench.tracker.register_due()
        migrate(url)
        bench.clock.now += 10
        bench.tracker.register_due()
        assert [row.instances for row in bench.rows()] == [2]


def test_the_loop_reads_requests_and_stops(bench: Bench) -> None:
    """A request file flushes the running loop and goes away; the loop ends when told."""
    bench.arrive(Recipe(n=2))
    stop = threading.Event()
    loop = threading.Thread(target=bench.tracker.run, args=(stop,))
    loop.start()
    (bench.spool.requests / "flush-1").write_text("")
    assert bench.registered.wait(30)
    stop.set()
    bench.tracker.wake()
    loop.join(30)
    assert not loop.is_alive()
    assert not list(bench.spool.requests.iterdir())
    assert [row.state for row in bench.rows()] == ["stable"]
