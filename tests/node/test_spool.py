"""Tests of the spool."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from node.relabelling.part10 import Meta, meta_end
from node.status import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, Rejection
from node.storage.spool import SeriesKey, Spool, SpoolError, Stored, checked_uid

KEY = SeriesKey("1.2.3", "1.2.3.4")
META = Meta("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.5", "1.2.840.10008.1.2.1", "TEST").encode()


def put(spool: Spool, data: bytes, uid: str = "1.2.3.4.5", key: SeriesKey = KEY) -> Stored:
    """Store some bytes."""
    return spool.store(key, uid, META, memoryview(data))


def test_stores_meta_and_data_set_under_the_uid(tmp_path: Path) -> None:
    """The file is the meta information, then the data set as received; the answer names its digest."""
    spool = Spool(tmp_path, 0)
    stored = put(spool, b"data")
    assert stored.path == "1.2.3/1.2.3.4/1.2.3.4.5.dcm"
    assert spool.path(stored.path).read_bytes() == META + b"data"
    assert meta_end(spool.path(stored.path)) == len(META)
    assert stored.sha256 == hashlib.sha256(b"data").hexdigest()
    assert not stored.duplicate


def test_identical_duplicate_is_recognised(tmp_path: Path) -> None:
    """The same data set again changes nothing, whoever sends it."""
    spool = Spool(tmp_path, 0)
    first = put(spool, b"data")
    before = spool.path(first.path).stat()
    other = Meta("1.2.840.10008.5.1.4.1.1.2", "1.2.3.4.5", "1.2.840.10008.1.2.1", "OTHER").encode()
    again = spool.store(KEY, "1.2.3.4.5", other, memoryview(b"data"))
    assert again.duplicate
    assert again.path == first.path
    assert spool.path(first.path).stat() == before


def test_different_object_with_the_same_uid_is_kept_beside(tmp_path: Path) -> None:
    """The first is never overwritten, the second lies beside it, and a copy of the second is a duplicate."""
    spool = Spool(tmp_path, 0)
    first, second, third = put(spool, b"one"), put(spool, b"two"), put(spool, b"two")
    assert spool.path(first.path).read_bytes().endswith(b"one")
    assert spool.path(second.path).read_bytes().endswith(b"two")
    assert second.path == f"1.2.3/1.2.3.4/1.2.3.4.5.{hashlib.sha256(b'two').hexdigest()[:16]}.dcm"
    assert third.duplicate
    assert third.path == second.path


def test_racing_associations_store_each_object_once(tmp_path: Path) -> None:
    """Twenty threads with two versions of one UID leave two files, each stored newly by one thread."""
    spool = Spool(tmp_path, 0)
    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda number: put(spool, b"ab"[number % 2 :][:1] * 50_000), range(20)))
    assert sum(not stored.duplicate for stored in results) == 2
    [(key, paths)] = spool.series()
    assert key == KEY
    assert {spool.path(path).read_bytes()[-1:] for path in paths} == {b"a", b"b"}
    assert not list((tmp_path / "incoming").iterdir())


def test_under_the_floor_nothing_is_stored(tmp_path: Path) -> None:
    """A floor above the free space refuses with 0xA700 and leaves no file; without it the same is taken."""
    full = Spool(tmp_path, 1 << 62)
    with pytest.raises(Rejection) as refused:
        put(full, b"data")
    assert refused.value.status == OUT_OF_RESOURCES
    assert not list(full.series())
    assert not put(Spool(tmp_path, 0), b"data").duplicate


def test_write_errors_refuse_the_instance(tmp_path: Path) -> None:
    """A file where a folder must be is answered with 0xA700, not with a crash."""
    spool = Spool(tmp_path, 0)
    (spool.instances / "1.2.3").write_text("in the way")
    with pytest.raises(Rejection, match="the spool cannot write"):
        put(spool, b"data")
    assert not list((tmp_path / "incoming").iterdir())


@pytest.mark.parametrize("uid", ["../etc", "1.2/3", "", "1..2", ".1", "1.2.", "1" * 65, "a.b", "1.2\n"])
def test_what_is_no_uid_is_refused(uid: str) -> None:
    """Nothing but digits and single dots, at most 64 characters, becomes a file name."""
    with pytest.raises(Rejection) as refused:
        checked_uid(uid, "SOP Instance UID")
    assert refused.value.status == CANNOT_UNDERSTAND


def test_two_nodes_cannot_share_a_spool(tmp_path: Path) -> None:
    """The second node is told that the first has it; when the first is gone it may."""
    spool = Spool(tmp_path, 0)
    with spool.lock(), pytest.raises(SpoolError, match="another node is running"):
        spool.lock()
    spool.lock().close()


def test_unfinished_files_are_cleared(tmp_path: Path) -> None:
    """What a dead process left in incoming and outgoing goes, what was stored stays."""
    spool = Spool(tmp_path, 0)
    stored = put(spool, b"data")
    (tmp_path / "incoming" / "half").write_bytes(b"x")
    (spool.outgoing("archive") / "7.dcm").write_bytes(b"x")
    assert spool.clear_unfinished() == 2
    assert spool.path(stored.path).is_file()


def test_a_folder_that_another_process_removed_is_made_again(spool: Spool) -> None:
    """Two spools over one folder, as in two processes: what one empties, the other goes on storing into."""
    key, other = SeriesKey("1.2", "1.3"), Spool(spool.folder, 0)
    stored = other.store(key, "1.4", b"", memoryview(b"one"))
    spool.remove([stored.path])
    assert not spool.path(stored.path).parent.exists()
    assert other.path(other.store(key, "1.5", b"", memoryview(b"two")).path).read_bytes() == b"two"


def test_the_digest_is_that_of_what_was_written(tmp_path: Path) -> None:
    """Data that came in pieces of any size is digested as a whole, and none but what was added."""
    spool = Spool(tmp_path, 0)
    data = bytes(range(256)) * 4000
    with spool.draft(META) as draft:
        for start, end in pairwise((0, 10, 100_000, 131_072, 700_001, len(data))):
            draft.add(memoryview(data)[start:end])
        with pytest.raises(ValueError, match="not the one that was added"):
            spool.keep(draft, memoryview(data)[1:], KEY, "1.2.3.4.5")
        stored = spool.keep(draft, memoryview(data), KEY, "1.2.3.4.5")
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert spool.path(stored.path).read_bytes() == META + data
    assert stored.size_bytes == len(data)
