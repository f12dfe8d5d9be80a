"""Tests of several processes that receive on one port: the same answers, and the same limits."""

import os
import signal
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from pydicom import dcmread, uid

from node.board import Board, Column
from node.delivery.outgoing import Outgoing
from node.delivery.scu import connect, echo
from node.intake import clerkship
from node.intake.bounds import Memory
from node.relabelling.part10 import Meta, meta_end
from node.status import Rejection
from node.storage.room import Room
from tests.builders import Recipe, series, write
from tests.harness import free_port, storescu, wait_until
from tests.node.hostile import (
    MIB,
    P_DATA,
    REJECTED,
    Target,
    associated,
    audited,
    connected,
    crowded,
    data,
    ended_s,
    listening,
    received_pdu,
    request,
    store_command,
)
from tests.node.test_tls import dcmtk
from tests.node.tls import Authority

TIMEOUT_S = 30
LOCAL_LIMIT = bytes((0, 2, 3, 2))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A receiver with two processes, which most tests share."""
    with listening(tmp_path_factory.mktemp("pair"), processes=2, association_timeout_s=TIMEOUT_S) as node:
        yield node


def shares(node: Target) -> list[int]:
    """Return how many connections each process has."""
    assert node.clerks is not None
    return node.clerks.shares


def test_associations_are_spread_and_nothing_is_lost(pair: Target, tmp_path: Path) -> None:
    """Four storescu processes at once: either process serves two, and every instance is told of once."""
    files = series(tmp_path / "in", n=120, rows=64, columns=64)
    before, released = len(pair.arrivals), len(pair.released)
    held = [associated(pair.port) for _ in range(4)]
    assert shares(pair) == [2, 2]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda part: storescu(pair.port, files[part::4]), range(4)))
    assert [result.returncode for result in results] == [0] * 4, results
    wait_until(lambda: len(pair.arrivals) >= before + len(files), "all are told of")
    told = [arrival.stored.path for arrival in pair.arrivals[before:]]
    assert len(told) == len(set(told)) == len(files)
    for path in files:
        [stored] = pair.spool.instances.rglob(path.name)
        assert stored.read_bytes()[meta_end(stored) :] == path.read_bytes()[meta_end(path) :]
    wait_until(lambda: len(pair.released) == released + 4, "four releases were told")
    for connection in held:
        connection.close()
    wait_until(lambda: shares(pair) == [0, 0], "all of them have left")


def _answers(node: Target, folder: Path) -> list[int]:
    """Send what is good, what is there already, and what is bad in several ways; return the statuses."""
    folder.mkdir()
    files = write(folder / "in", Recipe(n=2, seed=folder.name))
    content = files[0].read_bytes()[meta_end(files[0]) :]
    instance = str(dcmread(files[0]).SOPInstanceUID)
    other = instance[:-1] + ("1" if instance[-1] != "1" else "2")
    for name, said, data_set in (
        ("another-instance", other, content),
        ("no-data-set", instance, b"\xff" * 64),
        ("cut-off", instance, content[: len(content) // 2]),
        ("different", instance, content[:-1] + bytes((content[-1] ^ 1,))),
    ):
        meta = Meta(uid.CTImageStorage, said, uid.ExplicitVRLittleEndian, "TEST")
        files.append(folder / name)
        files[-1].write_bytes(meta.encode() + data_set)
    with connect(node.peer(), [(uid.CTImageStorage, uid.ExplicitVRLittleEndian)]) as sender:
        return [sender.store(Outgoing(path)).status for path in [*files, files[0]]]


def test_the_answers_are_those_of_one_process(pair: Target, tmp_path: Path) -> None:
    """Stored, stored already, another with the same UID, and what is refused: the statuses are the same."""
    with listening(tmp_path / "alone", association_timeout_s=30) as alone:
        expected = _answers(alone, tmp_path / "one")
    assert expected == [0x0000, 0x0000, 0xA900, 0xC000, 0xC000, 0x0000, 0x0000]
    assert _answers(pair, tmp_path / "two") == expected


def test_a_process_that_is_killed_costs_its_associations_alone(pair: Target, tmp_path: Path) -> None:
    """Killed amid an instance: what it acknowledged is there, others go on, and the next process comes."""
    assert pair.clerks is not None
    first, second = (write(tmp_path / name, Recipe(n=1, seed=name))[0] for name in ("kept", "cut"))
    dying, living = associated(pair.port), associated(pair.port)
    uids = [str(dcmread(path).SOPInstanceUID) for path in (first, second)]
    contents = [path.read_bytes()[meta_end(path) :] for path in (first, second)]
    dying.sendall(data(store_command(uids[0]), 3, 3) + data(contents[0], 2, 3))
    answer = received_pdu(dying)
    assert answer is not None
    assert answer[0] == P_DATA
    dying.sendall(data(store_command(uids[1]), 3, 3) + data(contents[1][:-100], 0, 3))
    wait_until(lambda: _begun(pair), "it writes the next")
    before = pair.clerks.pids
    serving = [pid for pid in before if _connections(pid, dying.getsockname()[1])]
    os.kill(serving[0], signal.SIGKILL)
    ended_s(dying)
    assert [path for path in pair.stored() if uids[0] in path]
    assert not [path for path in pair.stored() if uids[1] in path]
    living.sendall(data(store_command(uids[1]), 3, 3) + data(contents[1], 2, 3))
    assert received_pdu(living) is not None
    assert echo(pair.peer()) == 0
    clerks = pair.clerks
    wait_until(lambda: len(set(clerks.pids) - set(before)) == 1, "another process took its place")
    assert not _begun(pair)
    living.close()


def _begun(node: Target) -> list[Path]:
    return [path for path in (node.spool.folder / "incoming").rglob("*") if path.is_file()]


def _connections(pid: int, port: int) -> bool:
    """Tell whether a process has the connection from this port."""
    return any(each.raddr and each.raddr.port == port for each in psutil.Process(pid).net_connections())


def test_a_process_that_hangs_is_killed(pair: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a connection waits there for longer than any may, the next go elsewhere, and another comes."""
    assert pair.clerks is not None
    clerks = pair.clerks
    monkeypatch.setattr(clerkship, "_HANGS_S", 0.5 - TIMEOUT_S)
    hanging = clerks.pids[0]
    os.kill(hanging, signal.SIGSTOP)

    def killed() -> bool:
        with connected(pair.port) as connection:
            connection.sendall(request())
        return not psutil.pid_exists(hanging)

    wait_until(killed, "it is killed")
    wait_until(lambda: len(clerks.pids) == 2, "another process took its place")
    assert echo(pair.peer()) == 0


def test_connections_in_a_burst_are_all_served(pair: Target) -> None:
    """More callers at once than a channel holds words are all answered."""
    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(lambda _: echo(pair.peer()), range(80))) == [0] * 80


def test_an_orderly_end(tmp_path: Path) -> None:
    """What is open is aborted and its line written; no process is left, and nothing half written."""
    with listening(tmp_path, processes=2, association_timeout_s=30) as node:
        assert node.clerks is not None
        pids = node.clerks.pids
        files = write(tmp_path / "in", Recipe(n=1))
        open_still = associated(node.port)
        instance, content = str(dcmread(files[0]).SOPInstanceUID), files[0].read_bytes()
        open_still.sendall(data(store_command(instance), 3, 3) + data(content[meta_end(files[0]) :], 2, 3))
        assert received_pdu(open_still) is not None
    assert ended_s(open_still) < 5
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert [line["event"] for line in audited(node.audit)][-1] == "DICOM Instances Transferred"
    assert node.receiver.associations == 0
    assert not _begun(node)


def test_limits_hold_for_all_processes_together(tmp_path: Path) -> None:
    """Of an address, of a caller and of those that wait, however they are spread; alerts are told once."""
    callers = [{"ae_title": "FEW", "maximum_associations": 1}, {"ae_title": "MANY"}]
    limits = {"maximum_associations_per_peer": 3, "maximum_waiting": 4, "association_timeout_s": 30}
    with listening(tmp_path, processes=2, promiscuous=False, callers=callers, **limits) as node:
        few = associated(node.port, request(calling=b"FEW"))
        assert _rejected(node, b"FEW") == LOCAL_LIMIT
        others = [associated(node.port, request(calling=b"MANY")) for _ in range(2)]
        assert max(shares(node)) == 2
        assert _rejected(node, b"MANY") == LOCAL_LIMIT
        few.close()
        wait_until(lambda: node.receiver.associations == 2, "its place is free")
        associated(node.port, request(calling=b"FEW")).close()
        silent = [connected(node.port) for _ in range(8)]
        assert ended_s(silent[0]) < 5
        for each in (*others, *silent):
            each.close()
        wait_until(lambda: len(node.alerts()) >= 3, "the alerts are written")
        assert {alert["reason"] for alert in node.alerts()} == {
            "association rejected: this caller has 1 associations already",
            "association rejected: this address has 3 associations already",
            "connection cut: too many wait",
        }


def test_the_node_has_only_so_many_associations(tmp_path: Path) -> None:
    """`maximum_associations` counts those of all processes; and so does the memory that messages hold."""
    memory = {"maximum_instance_bytes": 8 * MIB, "maximum_memory_bytes": 8 * MIB}
    with listening(tmp_path, processes=2, maximum_associations=2, association_timeout_s=30, **memory) as node:
        greedy, modest = associated(node.port), associated(node.port)
        assert shares(node) == [1, 1]
        assert _rejected(node, b"TEST") == LOCAL_LIMIT
        assert node.clerks is not None
        board = node.clerks.board
        answer = crowded(greedy, modest, lambda: board.total(Column.HELD) > 7_000_000)
        assert answer is not None
        assert answer[0] == P_DATA
        wait_until(lambda: "most of the memory" in str(node.alerts()), "it is told")


def _rejected(node: Target, calling: bytes) -> bytes:
    """Ask for an association, and return why there is none."""
    with connected(node.port) as connection:
        connection.sendall(request(calling=calling))
        answer = received_pdu(connection)
    assert answer is not None
    assert answer[0] == REJECTED
    return answer[1]


def test_tls_is_spoken_by_each_process(tmp_path: Path) -> None:
    """dcmtk stores over TLS, callers are known by their certificates, and new files of the node are used."""
    authority = Authority(tmp_path / "tls")
    callers = [{"ae_title": "CT1", "certificate": "ct1.example.org"}]
    tls = authority.section(free_port())
    files = series(tmp_path / "in", n=3)
    with listening(
        tmp_path, processes=2, tls=tls, callers=callers, promiscuous=False, association_timeout_s=30
    ) as node:
        port = node.receiver.tls_port
        held = authority.connected(port)
        sent = dcmtk("storescu", port, authority, *map(str, files))
        assert sent.returncode == 0, sent.stderr
        assert len(node.stored()) == 3
        held.close()
        authority.issue("node", "localhost", "127.0.0.1", "renewed.example.org")
        for _ in range(4):
            with authority.connected(port) as connection:
                assert "renewed.example.org" in str(connection.getpeercert())
        plain = connected(node.port)
        plain.sendall(request(calling=b"CT1"))
        answer = received_pdu(plain)
        assert answer is not None
        assert answer[0] == REJECTED


def test_memory_of_several_processes() -> None:
    """Who holds most goes: at once where that is here, on request where it is elsewhere, and no one twice."""

    class Held:
        evicted = 0

        def evict(self, reason: str) -> None:
            self.evicted += len(reason) > 0

    board = Board.shared(2)
    asked: list[int] = []
    here, there = Memory(100, board.of(0), lambda: asked.append(0)), Memory(100, board.of(1))
    small, large = Held(), Held()
    assert there.take(large, 60)
    assert here.take(small, 30)
    there.relieve()
    assert large.evicted == 0
    assert here.take(small, 20)
    assert (asked, small.evicted) == ([0], 0)
    there.relieve()
    there.relieve()
    assert large.evicted == 1
    assert board.total(Column.HELD) == 50


def test_a_quota_of_several_processes(tmp_path: Path) -> None:
    """What one process wrote or is about to write counts for the other, and refusals are seen by all."""
    board = Board.shared(2)
    here, there = (Room(tmp_path, 0, 1000, board.of(row)) for row in range(2))
    there.changed(500)
    with there.reserved(300), pytest.raises(Rejection, match="quota"), here.reserved(300):
        pass
    assert there.quota_refused(60)
    here.changed(-200)
    with there.reserved(300), here.reserved(300):
        pass
    assert there.measure() == 0


def test_what_is_cut_is_told_to_the_node(pair: Target) -> None:
    """What is cut in one process is told to the node, which writes it down; the process serves the next."""
    before = len(pair.alerts())
    with connected(pair.port) as connection:
        connection.sendall(struct.pack(">BxL", 0x09, 4) + b"\0" * 4)
        assert ended_s(connection) < 5
    wait_until(lambda: len(pair.alerts()) == before + 1, "the alert is written")
    assert "before an association request" in pair.alerts()[-1]["reason"]
    assert echo(pair.peer()) == 0
