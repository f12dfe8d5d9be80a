"""Tests of peers whose PDUs are too long, too slow, out of place, or nonsense."""

import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import wait_until
from tests.node.hostile import (
    ABORT,
    CT_IMAGE,
    ECHO,
    EXPLICIT,
    MIB,
    P_DATA,
    Target,
    associated,
    association_threads,
    command,
    connected,
    crowded,
    data,
    dripped_s,
    ended_s,
    item,
    listening,
    measured,
    pdu,
    pushed,
    received_pdu,
    request,
    rss_bytes,
    served_s,
    store_command,
)

pytestmark = pytest.mark.alone

FOUR_GIB = 0xFFFFFFFF
ZEROS = b"\0" * MIB
SHORT = {"pdu_timeout_s": 1.0, "message_timeout_s": 2.0, "idle_timeout_s": 1.0, "whole_timeout_s": 20.0}


def test_an_association_request_of_four_gib_is_cut(tmp_path: Path) -> None:
    """A length of 4 GiB is refused with its header: nothing is read, nothing is kept."""
    with listening(tmp_path, association_timeout_s=30) as node:
        served_s(node.peer())
        before = rss_bytes()
        with connected(node.port) as connection:
            connection.sendall(pdu(1, b"", announced=FOUR_GIB))
            pushed(connection, ZEROS, 512 * MIB)
            ended_s(connection)
        grown = measured("RSS growth, association request of 4 GiB", (rss_bytes() - before) / MIB, "MiB")
        assert [alert["reason"] for alert in node.alerts()] == [
            f"connection cut: an association request of {FOUR_GIB} bytes"
        ]
        assert grown < 20
        assert served_s(node.peer()) < 10


def test_p_data_of_four_gib_is_cut(tmp_path: Path) -> None:
    """Within an association a PDU may be as long as was agreed, and no longer."""
    with listening(tmp_path) as node:
        served_s(node.peer())
        with associated(node.port) as connection:
            before = rss_bytes()
            connection.sendall(pdu(P_DATA, b"", announced=FOUR_GIB))
            pushed(connection, ZEROS, 512 * MIB)
            ended_s(connection)
        grown = measured("RSS growth, P-DATA of 4 GiB", (rss_bytes() - before) / MIB, "MiB")
        assert grown < 20
        assert node.alerts()[0]["reason"] == f"association cut: a PDU of type 0x04 with {FOUR_GIB} bytes"


def test_a_message_without_end_is_cut(tmp_path: Path) -> None:
    """An instance may have maximum_instance_bytes; a peer that goes on is cut off."""
    limit = 8 * MIB
    options = {"maximum_instance_bytes": limit, "maximum_memory_bytes": limit}
    with listening(tmp_path, **options) as node:
        with associated(node.port) as connection:
            before = rss_bytes()
            connection.sendall(data(store_command("1.2.3"), 3, 3))
            sent = pushed(connection, data(b"\0" * 100_000, 0, 3), 512 * MIB)
            ended_s(connection)
        assert sent < 100 * MIB
        wait_until(lambda: not association_threads(), "the association is gone")
        grown = measured("RSS growth, message without end, limit 8 MiB", (rss_bytes() - before) / MIB, "MiB")
        assert grown < 8 + 20
        assert not node.stored()


def test_where_memory_is_short_who_holds_most_is_cut(tmp_path: Path) -> None:
    """Of several messages under way the largest is given up, not the one that comes last."""
    options = {"maximum_instance_bytes": 8 * MIB, "maximum_memory_bytes": 8 * MIB}
    with listening(tmp_path, **options) as node:
        with associated(node.port) as greedy, associated(node.port) as modest:
            answer = crowded(greedy, modest, lambda: not _waits(node, 75 * 100_000))
        assert answer is not None
        assert answer[0] == P_DATA
        assert "most of the memory" in node.alerts()[0]["reason"]


def _waits(node: Target, size: int) -> bool:
    """Tell whether the node has not read so many bytes yet."""
    memory = node.receiver.memory
    return sum(memory._held.values()) < size


def test_a_dripping_pdu_is_cut_at_the_deadline(tmp_path: Path) -> None:
    """A byte every 0.1 s: the PDU has a second, however often something comes."""
    with listening(tmp_path, **SHORT) as node, associated(node.port) as connection:
        took = dripped_s(connection, data(ECHO, 3), 0.1)
        assert 0.9 < measured("dripping PDU cut, deadline 1 s", took, "s") < 5
        assert node.alerts()[0]["reason"] == "association cut: a PDU takes longer than allowed"


def test_a_dripping_message_is_cut_at_the_deadline(tmp_path: Path) -> None:
    """Whole PDUs of one byte each, quickly enough for every other deadline: the message has two seconds."""
    with listening(tmp_path, **SHORT) as node, associated(node.port) as connection:
        connection.sendall(data(store_command("1.2.3"), 3, 3))
        piece = data(b"\0", 0, 3)
        took = dripped_s(connection, piece * 100_000, 0.1, len(piece))
        assert 1.8 < measured("dripping message cut, deadline 2 s", took, "s") < 6
        assert node.alerts()[0]["reason"] == "association cut: a message takes longer than allowed"


def test_a_silent_association_is_cut(tmp_path: Path) -> None:
    """Between messages, and within one, the peer may be silent for idle_timeout_s; then it is aborted."""
    for begun in (b"", data(store_command("1.2.3"), 3, 3)):
        with listening(tmp_path / str(len(begun)), **SHORT) as node, associated(node.port) as connection:
            started = time.monotonic()
            connection.sendall(begun)
            answer = received_pdu(connection)
            took = ended_s(connection, started)
        assert answer is not None
        assert answer[0] == ABORT
        assert 0.9 < measured(f"silent after {len(begun)} bytes, cut, deadline 1 s", took, "s") < 5


def test_an_association_ends_at_last(tmp_path: Path) -> None:
    """A peer that keeps talking for ever keeps its place no longer than whole_timeout_s."""
    with listening(tmp_path, **SHORT | {"whole_timeout_s": 2.0}) as node, associated(node.port) as connection:
        piece = data(ECHO, 3)
        took = dripped_s(connection, piece * 100_000, 0.1, len(piece))
    assert 1.8 < measured("endless association cut, deadline 2 s", took, "s") < 6


def test_a_peer_that_reads_no_answers_is_no_burden(tmp_path: Path) -> None:
    """What it sends waits in the network: one message is served at a time, and memory does not grow."""
    with listening(tmp_path, **SHORT | {"whole_timeout_s": 5.0}) as node:
        before = rss_bytes()
        with associated(node.port) as connection:
            message = data(store_command("1.2.3"), 3, 3) + data(b"\0" * 100_000, 2, 3)
            pushed(connection, message, 2000 * len(message))
        wait_until(lambda: not association_threads(), "the association is gone", 30)
        grown = measured("RSS growth, 200 MB of unread answers", (rss_bytes() - before) / MIB, "MiB")
        assert grown < 20


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    """A peer that does not wait for answers still gets every one."""
    with listening(tmp_path, **SHORT) as node, associated(node.port) as connection:
        numbers = range(1, 21)
        echoes = [ECHO.replace(b"\1\0", struct.pack("<H", n), 0) for n in numbers]
        connection.sendall(b"".join(data(each, 3) for each in echoes))
        answers = [received_pdu(connection) for _ in numbers]
    assert all(answer is not None and answer[0] == P_DATA for answer in answers)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One receiver for all tests that change nothing about it."""
    with listening(tmp_path_factory.mktemp("node"), association_timeout_s=3) as listener:
        yield listener


NONSENSE = {
    "an unknown PDU type": pdu(0x55, b"abcd"),
    "a second association request": request(),
    "an association accepted": pdu(2, request()[6:]),
    "a release response": pdu(6, b"\0" * 4),
    "a release request that is too long": pdu(5, b"\0" * 5),
    "an empty P-DATA": pdu(P_DATA, b""),
    "a value of length 0": pdu(P_DATA, b"\0" * 8),
    "a value of length 1": pdu(P_DATA, struct.pack(">LBB", 1, 1, 3)),
    "a value beyond the PDU": pdu(P_DATA, struct.pack(">LBB", 1000, 1, 3) + ECHO),
    "a command that is no command": data(b"\xff" * 100, 3),
    "a command without a field": data(struct.pack("<HHLH", 0, 0x0800, 2, 0x0101), 3),
    "an unknown command": data(command(0x7ABC), 3),
    "a field of one byte": data(ECHO.replace(b"\2\0\0\0\x30\0", b"\1\0\0\0\x30"), 3),
    "a message id of four bytes": data(command(0x0030, e0110=b"\1\0\0\0"), 3),
    "a group length of two bytes": data(ECHO.replace(b"\4\0\0\0", b"\2\0\0\0", 1)[:8] + ECHO[10:], 3),
    "half an attribute tag": data(command(0x0030, e0901=b"\x10\0"), 3),
    "an element of ACR-NEMA": data(command(0x0030, e5170=b"many"), 3),
    "a command without end": data(b"\0" * 60000, 1) * 2,
    "a data set without a command": data(b"\0" * 10, 2),
    "a command where the data set belongs": data(store_command("1.2.3"), 3, 3) + data(ECHO, 3),
    "an unknown context": data(ECHO, 3, 99),
    "a command of undefined length": data(struct.pack("<HHL", 0, 0x0002, FOUR_GIB), 3),
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_ends_its_association_and_nothing_else(target: Target, nonsense: bytes) -> None:
    """The connection is closed at once, no thread is left, and the next caller is served."""
    with associated(target.port) as connection:
        connection.sendall(nonsense)
        assert ended_s(connection) < 10
    wait_until(lambda: not association_threads(), "the association is gone")
    assert served_s(target.peer()) < 10


REQUESTS = {
    "nothing": b"",
    "noise": b"\xde\xad\xbe\xef" * 30,
    "a web request": b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
    "P-DATA first": data(ECHO, 3),
    "an abort": pdu(ABORT, b"\0" * 4),
    "a request of ten bytes": pdu(1, b"\0" * 10),
    "an item beyond the end": request(more=struct.pack(">BxH", 0x20, 60000)),
    "129 contexts": request(syntaxes=((CT_IMAGE, EXPLICIT),) * 129),
    "an even context": request(more=item(0x20, b"\2\0\0\0" + item(0x30, CT_IMAGE.encode()))),
    "an empty context": request(more=item(0x20, b"")),
    "a hundred thousand items": request(more=item(0x20, b"\1\0\0\0" + item(0x40, b"") * 10_000) * 10),
    "a title that is no text": request(calling=b"\xff\xfe\x01"),
    "an empty title": request(calling=b""),
}


@pytest.mark.parametrize("asked", REQUESTS.values(), ids=REQUESTS.keys())
def test_nonsense_before_an_association_is_cut(target: Target, asked: bytes) -> None:
    """What is no association request gets no association, and costs nobody else anything."""
    wait_until(lambda: not association_threads(), "the caller before is gone")
    with connected(target.port) as connection:
        connection.sendall(asked)
        assert ended_s(connection) < 10
    assert not association_threads()
    assert served_s(target.peer()) < 10


def test_the_largest_request_that_is_allowed_is_decided_quickly(tmp_path: Path) -> None:
    """128 contexts with many transfer syntaxes each: others do not wait for it."""
    proposed = item(0x30, CT_IMAGE.encode()) + item(0x40, b"1.2.3") * 30
    contexts = b"".join(item(0x20, struct.pack(">Bxxx", 2 * n + 1) + proposed) for n in range(2, 128))
    with listening(tmp_path, association_timeout_s=30) as node:
        connections = []
        for _ in range(5):
            connections.append(connected(node.port))
            connections[-1].sendall(request(more=contexts))
        took = served_s(node.peer())
        for connection in connections:
            connection.close()
    assert measured("C-ECHO beside 5 association requests of 4000 items", took, "s") < 5


def test_aborts_and_hang_ups_leave_nothing_behind(tmp_path: Path) -> None:
    """Fifty associations that end in the middle of an instance: no thread, no series told, nothing stored."""
    with listening(tmp_path) as node:
        before = threading.active_count()
        for number in range(50):
            with associated(node.port) as connection:
                connection.sendall(data(store_command("1.2.3"), 3, 3))
                connection.sendall(data(b"\0" * 5000, 0, 3))
                if number % 2:
                    connection.sendall(pdu(ABORT, b"\0" * 4))
        wait_until(lambda: threading.active_count() <= before, "no thread is left")
        assert not node.stored()
        assert not node.released
