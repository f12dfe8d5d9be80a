"""Retention at work: what was delivered leaves the spool by age and by quota, and nothing else does."""

import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.deliveries import due, succeeded
from db.records import Route
from db.results import record_outcome
from db.series import next_stable
from db.session import Database
from node.clock import utc_now
from node.relabelling.part10 import Meta
from node.series import Tracker
from node.settings.config import Series, SpoolSection
from node.status import OUT_OF_RESOURCES, Rejection
from node.storage import retention
from node.storage.retention import Keeper
from node.storage.spool import SeriesKey, Spool
from tests.db.values import no_verdict
from tests.harness import wait_until
from tests.node.deciding import empty_database

QUOTA_BYTES = 100_000
SERIES = Series()
RUNS_ON = threading.Event()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """A spool with a quota."""
    return Spool(tmp_path / "spool", 0, QUOTA_BYTES)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    opened = empty_database(tmp_path)
    yield opened
    opened.close()


def put(spool: Spool, number: int, size_bytes: int = 20_000) -> str:
    """Store one file, the only one of its series; return its path."""
    key = SeriesKey(f"1.2.{number}", f"1.2.{number}.1")
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, size_bytes) + bytes([number]) * size_bytes
    meta = Meta("1.2.840.10008.5.1.4.1.1.2", f"1.2.{number}.1.1", "1.2.840.10008.1.2.1", "CT1").encode()
    return spool.store(key, f"1.2.{number}.1.1", meta, memoryview(pixels)).path


def delivered(spool: Spool, database: Database, number: int, arrives: bool = True) -> Path:
    """Have a series stored, registered, decided and, unless told otherwise, delivered; return its file."""
    path = put(spool, number)
    tracker = Tracker(
        SERIES, spool, database, lambda _: [Route("archive", "keep")], lambda: None, lambda: 0.0
    )
    assert tracker.recover()
    tracker.flush()
    assert tracker.register_due()
    with database.session() as session:
        series_id = next_stable(session)
        assert series_id is not None
        record_outcome(session, series_id, no_verdict(), [Route("archive", "keep")], utc_now())
        [work] = [each for each in due(session, "archive", utc_now(), 99) if each.series_id == series_id]
        if arrives:
            succeeded(session, work.delivery_id, 0, utc_now())
    return spool.path(path)


def test_by_age_only_the_delivered_goes(spool: Spool, database: Database) -> None:
    """With keep_days 0 what was delivered goes at once, its folders too; what waits stays for ever."""
    gone = delivered(spool, database, 1)
    waiting = delivered(spool, database, 2, arrives=False)
    assert Keeper(SpoolSection(keep_days=1), spool, database).expire(RUNS_ON) == 0
    assert Keeper(SpoolSection(keep_days=0), spool, database).expire(RUNS_ON) == 1
    assert not gone.parent.parent.exists()
    assert waiting.is_file()
    assert not Keeper(SpoolSection(), spool, database).wanted


def test_near_the_quota_the_oldest_goes_first(spool: Spool, database: Database) -> None:
    """Beyond the quota 0xA700 is answered until a delivered series made room; only as many go as must."""
    oldest, waiting, newest = (
        delivered(spool, database, 1),
        delivered(spool, database, 2, arrives=False),
        delivered(spool, database, 3),
    )
    put(spool, 4, 35_000)
    with pytest.raises(Rejection, match="quota") as refused:
        put(spool, 5)
    assert refused.value.status == OUT_OF_RESOURCES
    keeper = Keeper(SpoolSection(quota=QUOTA_BYTES), spool, database)  # type: ignore[arg-type]
    assert keeper.make_room(RUNS_ON) == 1
    assert [oldest.exists(), waiting.exists(), newest.exists()] == [False, True, True]
    put(spool, 5)
    assert spool.room.measure() > QUOTA_BYTES * 0.9
    assert keeper.make_room(RUNS_ON) == 1
    put(spool, 6)
    assert keeper.make_room(RUNS_ON) == 0
    assert waiting.exists()


def test_a_file_that_outlives_its_removal_is_no_news(spool: Spool, database: Database) -> None:
    """Killed between the database and the disk, the file is taken up as a duplicate, and goes next time."""
    path = delivered(spool, database, 1)
    content = path.read_bytes()
    keeper = Keeper(SpoolSection(keep_days=0), spool, database)
    assert keeper.expire(RUNS_ON) == 1
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    tracker = Tracker(
        SERIES, spool, database, lambda _: [Route("archive", "keep")], lambda: None, lambda: 0.0
    )
    assert tracker.recover() == 1
    tracker.flush()
    tracker.register_due()
    with database.reading() as session:
        assert due(session, "archive", utc_now(), 9) == ()
    assert keeper.expire(RUNS_ON) == 1
    assert not path.exists()


def test_storing_while_folders_are_removed(tmp_path: Path) -> None:
    """An instance whose folder vanishes under it is stored all the same, again and again."""
    spool = Spool(tmp_path, 0)
    done = threading.Event()

    def clear() -> None:
        while not done.is_set():
            spool.remove(["1.2.1/1.2.1.1/none.dcm"])

    thread = threading.Thread(target=clear)
    thread.start()
    try:
        for _ in range(200):
            path = put(spool, 1, 10)
            assert spool.path(path).is_file()
            spool.remove([path])
    finally:
        done.set()
        thread.join()


def test_the_loop_removes_and_ends(spool: Spool, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop counts, removes what is due, and ends when it is told to."""
    monkeypatch.setattr(retention, "_POLL_S", 0.01)
    path = delivered(spool, database, 1)
    stop = threading.Event()
    keeper = Keeper(SpoolSection(keep_days=0), spool, database)
    thread = threading.Thread(target=keeper.run, args=(stop,))
    thread.start()
    wait_until(lambda: not path.exists(), "the file is removed")
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_reservations_hold_the_quota(tmp_path: Path) -> None:
    """Two files that would each fit, but not together, are not let in together."""
    spool = Spool(tmp_path, 0, 1000)
    with spool.room.reserved(600):
        with pytest.raises(Rejection, match="quota"), spool.room.reserved(600):
            pass
        with spool.room.reserved(300):
            pass
    with spool.room.reserved(600):
        pass
