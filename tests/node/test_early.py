"""Series that are looked at before they are complete: when, by which process, and what of it counts."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from db.queries import Filters, SeriesRow, series_rows
from db.series import paths
from db.session import Database, migrate
from node.delivery.dispatch import Dispatcher, InferenceProcess
from node.early import MOST, Early, rest_s
from node.settings.config import Config, DatabaseSection, SpoolSection
from node.storage.spool import Spool
from node.worker import Tools, classify_series, look_early
from tests.builders import Recipe, write
from tests.harness import Archive, free_port, make_node, running, storescu, wait_until
from tests.node.bench import Bench, opened
from tests.node.deciding import Sure, empty_database, registered, stored

FILES = Recipe(n=6)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A tracker with a stable age of five seconds: after half a second a series rests."""
    url = f"sqlite:///{tmp_path / 'test.sqlite'}"
    migrate(url)
    with opened(tmp_path, url, stable_age_s=5) as bench:
        yield bench


@pytest.fixture
def tools(spool: Spool, database: Database) -> Tools:
    """What a worker has, with networks that count what they are shown."""
    return Tools(Config.standalone(), database, spool, Sure(), lambda: None)  # type: ignore[arg-type]


def asked(tools: Tools) -> int:
    """Count the images that the networks were shown."""
    assert isinstance(tools.classifier, Sure)
    return tools.classifier.asked


def rows(database: Database) -> list[SeriesRow]:
    """Return all series."""
    with database.reading() as session:
        return series_rows(session, Filters())


def test_a_series_rests_when_nothing_comes_for_a_moment(bench: Bench) -> None:
    """It is told of once, with all its files as they are registered, and never when it is complete."""
    arrivals = bench.arrive(FILES)
    bench.clock.now += 0.4
    assert bench.tracker.rested() is None
    bench.clock.now += 0.1
    resting = bench.tracker.rested()
    assert resting is not None
    assert resting.key == arrivals[0].stored.key
    assert bench.tracker.rested() is None
    bench.clock.now += 5
    bench.tracker.register_due()
    assert bench.tracker.rested() is None
    with bench.database.reading() as session:
        assert paths(session, bench.rows()[0].series_id) == resting.paths


@pytest.mark.parametrize(("more", "again"), [(8, False), (9, True)])
def test_a_series_that_grows_by_half_is_told_of_again(bench: Bench, more: int, again: bool) -> None:
    """A few more images are not worth another look at all of them."""
    bench.arrive(FILES)
    bench.clock.now += 1
    assert bench.tracker.rested() is not None
    for arrival in bench.store(replace(FILES, n=more, patient_id="again"))[FILES.n :]:
        bench.tracker.arrived(arrival)
    bench.clock.now += 1
    resting = bench.tracker.rested()
    assert (resting is not None) == again
    if resting is not None:
        assert len(resting.paths) == more


@pytest.mark.parametrize(("stable_age_s", "rests"), [(0.4, None), (0.5, 0.1), (5, 0.5), (60, 1.0)])
def test_how_long_a_series_rests(stable_age_s: float, rests: float | None) -> None:
    """A tenth of the time after which it is complete, at most a second; where that is short, never."""
    assert rest_s(stable_age_s) == rests


def test_what_was_seen_counts_for_the_same_files(tools: Tools) -> None:
    """The outcome is the one that it would have been, and no image is looked at twice."""
    found = stored(tools.spool, FILES)
    look_early(found, tools)
    assert asked(tools) == FILES.n
    assert rows(tools.database) == []
    assert classify_series(registered(tools.spool, tools.database, found), tools)
    assert asked(tools) == FILES.n
    other = replace(FILES, seed="other")
    assert classify_series(registered(tools.spool, tools.database, stored(tools.spool, other)), tools)
    early, late = rows(tools.database)
    assert early.term == "HEAD"
    for name in ("term", "confidence", "rule", "spans", "flags", "classified", "state", "weights_digest"):
        assert getattr(early, name) == getattr(late, name), name


def test_what_was_seen_of_fewer_files_does_not_count(tools: Tools) -> None:
    """A series that grew is looked at from the beginning."""
    found = stored(tools.spool, FILES)
    look_early(replace(found, paths=found.paths[:-1]), tools)
    assert classify_series(registered(tools.spool, tools.database, found), tools)
    assert asked(tools) == 2 * FILES.n - 1
    assert rows(tools.database)[0].classified == FILES.n


def test_a_series_that_was_complete_before_is_left_alone(tools: Tools) -> None:
    """Late images get the verdict that there is."""
    found = stored(tools.spool, FILES)
    registered(tools.spool, tools.database, found)
    look_early(found, tools)
    assert asked(tools) == 0


def test_the_last_few_are_kept(tools: Tools) -> None:
    """Memory is bounded; what was seen of a series replaces what was seen of it before, and is taken once."""
    found = [stored(tools.spool, replace(FILES, seed=str(number))) for number in range(MOST + 1)]
    for each in found:
        look_early(each, tools)
    kept = list(tools.early._kept.values())
    assert [looked.paths for looked in kept] == [each.paths for each in found[1:]]
    early = Early()
    early.keep(replace(kept[0], paths=kept[0].paths[:2]))
    early.keep(kept[0])
    assert early.take(kept[0].paths, kept[0].known) is kept[0]
    assert early.take(kept[0].paths, kept[0].known) is None


def test_who_looked_at_a_series_takes_it(spool: Spool, database: Database) -> None:
    """Another process leaves it to that one while that one is free, and takes it when it is busy."""
    dispatcher = Dispatcher(Config.standalone(), database, (), lambda: None)
    stop = dispatcher._wake
    mine, other = InferenceProcess(Config.standalone(), stop), InferenceProcess(Config.standalone(), stop)
    found = stored(spool, FILES)
    series_id = registered(spool, database, found)
    dispatcher._seen[found.key.series_instance_uid] = mine
    for doing in ("", found.key.series_instance_uid):
        dispatcher._free[mine] = doing
        assert dispatcher._claim(other) is None
    dispatcher._free[mine] = "another series"
    assert dispatcher._claim(other) == series_id
    assert dispatcher._claim(mine) is None


def test_another_series_that_waits_ends_a_long_look(tmp_path: Path) -> None:
    """The worker says so at once, has seen nothing, and does what it is told next, as if nothing had been."""
    config = Config.standalone().model_copy(
        update={
            "spool": SpoolSection(folder=tmp_path / "spool"),
            "database": DatabaseSection(url=f"sqlite:///{tmp_path / 'test.sqlite'}"),
        }
    )
    spool, database = Spool(config.spool.folder, 0), empty_database(tmp_path)
    long, short = stored(spool, replace(FILES, n=400)), stored(spool, replace(FILES, seed="short"))
    process = InferenceProcess(config, threading.Event())
    asked: list[bool] = []

    def enough() -> bool:
        asked.append(True)
        return True

    process.run(long, enough)
    process.run(short, lambda: False)
    process.run(registered(spool, database, short))
    process.close()
    assert asked == [True]
    [row] = rows(database)
    assert (row.state, row.classified) == ("delivered", FILES.n)  # to nobody
    database.close()


@pytest.mark.parametrize(("waiting", "waits"), [("series", False), ("other", True)])
def test_who_waits(spool: Spool, database: Database, waiting: str, waits: bool) -> None:
    """The series that is looked at may become stable meanwhile: it does not wait for another one."""
    dispatcher = Dispatcher(Config.standalone(), database, (), lambda: None)
    assert not dispatcher._waits(FILES.series_uid)
    series_id = registered(spool, database, stored(spool, replace(FILES, seed=waiting)))
    assert dispatcher._waits(FILES.series_uid) == waits
    dispatcher._busy.add(series_id)
    assert not dispatcher._waits(FILES.series_uid)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """A destination."""
    archive = Archive(tmp_path / "archive", free_port()).start()
    yield archive
    archive.stop()


@pytest.mark.parametrize("classify", [{}, {"early": False}])
def test_a_node_looks_early(tmp_path: Path, archive: Archive, classify: dict[str, bool]) -> None:
    """A series is decided by what was seen before it was complete, unless the site does not want that."""
    settings: dict[str, Any] = {"series": {"stable_age_s": 3600}, "classify": {"preload": ["CT"], **classify}}
    files = write(tmp_path / "sent", replace(FILES, n=12))
    with running(make_node(tmp_path / "node", archive.destination(), **settings)) as node:
        wait_until(lambda: "worker ready" in node.log.read_text(), "the worker is there")
        assert storescu(node.port, files).returncode == 0
        if not classify:
            wait_until(lambda: "looked at early" in node.log.read_text(), "the series is looked at")
        assert node.rows() == []
        assert node.bodytag("flush").returncode == 0
        [row] = node.wait_for_state("delivered")
        assert ("early=True" in node.log.read_text()) == (not classify)
    assert row.classified == len(files)
    assert len(archive.files()) == len(files)
