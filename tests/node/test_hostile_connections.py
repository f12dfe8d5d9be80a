"""Tests of peers that connect and say nothing, too little, too slowly, or who they are not."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from node.delivery.scu import echo
from tests.harness import free_port, wait_until
from tests.node.hostile import (
    REJECTED,
    associated,
    connected,
    dripped_s,
    ended_s,
    listening,
    measured,
    received_pdu,
    request,
    served_s,
)
from tests.node.tls import Authority

pytestmark = pytest.mark.alone

SILENT = 50
TITLE_UNKNOWN = bytes((0, 1, 1, 3))
LOCAL_LIMIT = bytes((0, 2, 3, 2))


@pytest.fixture
def silent() -> Iterator[ExitStack]:
    """Close what a test leaves open."""
    with ExitStack() as stack:
        yield stack


def test_others_are_served_while_fifty_tcp_clients_are_silent(tmp_path: Path, silent: ExitStack) -> None:
    """A caller is served in under a second, although fifty connections from its own address hang."""
    with listening(tmp_path, association_timeout_s=60, maximum_associations=10) as node:
        for _ in range(SILENT):
            silent.enter_context(connected(node.port))
        times = [served_s(node.peer()) for _ in range(3)]
        silent.close()
    assert measured("C-ECHO beside 50 silent TCP clients, slowest of 3", max(times), "s") < 1


def test_others_are_served_while_fifty_tls_clients_are_silent(tmp_path: Path, silent: ExitStack) -> None:
    """The same on the port that speaks TLS: half of them silent, half of them stopped in the handshake."""
    authority = Authority(tmp_path)
    options = {"association_timeout_s": 60, "maximum_associations": 10}
    with listening(tmp_path, tls=authority.section(free_port()), **options) as node:
        port = node.receiver.tls_port
        for number in range(SILENT):
            connection = silent.enter_context(connected(port))
            if number % 2:
                connection.sendall(authority.client_hello()[:-1])
        times = []
        for _ in range(3):
            started = time.monotonic()
            with authority.connected(port) as secured:
                secured.sendall(request())
                assert received_pdu(secured) is not None
            times.append(time.monotonic() - started)
        silent.close()
    assert measured("association beside 50 silent TLS clients, slowest of 3", max(times), "s") < 1


def test_who_asks_for_nothing_is_cut_at_the_deadline(tmp_path: Path) -> None:
    """A silent connection ends after association_timeout_s, on either port; the audit trail says so."""
    authority = Authority(tmp_path)
    with listening(tmp_path, tls=authority.section(free_port())) as node:
        for name, port in (("TCP", node.port), ("TLS", node.receiver.tls_port)):
            with connected(port) as connection:
                took = measured(f"silent {name} client cut, deadline 1 s", ended_s(connection), "s")
            assert 0.9 < took < 5
        assert [alert["reason"] for alert in node.alerts()] == ["no association request within 1 s"] * 2


def test_a_dripping_request_is_cut_at_the_deadline(tmp_path: Path) -> None:
    """A byte every 0.1 s beats any timeout for a read; the deadline is for the whole request."""
    with listening(tmp_path) as node, connected(node.port) as connection:
        took = dripped_s(connection, request() * 10, 0.1)
    assert 0.9 < measured("dripping association request cut, deadline 1 s", took, "s") < 5


def test_a_dripping_handshake_is_cut_at_the_deadline(tmp_path: Path) -> None:
    """The same deadline holds for TLS and request together."""
    authority = Authority(tmp_path)
    with (
        listening(tmp_path, tls=authority.section(free_port())) as node,
        connected(node.receiver.tls_port) as connection,
    ):
        took = dripped_s(connection, authority.client_hello(), 0.1)
    assert 0.9 < measured("dripping TLS handshake cut, deadline 1 s", took, "s") < 5


def test_where_too_many_wait_the_oldest_go(tmp_path: Path, silent: ExitStack) -> None:
    """Silent connections beyond the limit push out silent ones; a caller that speaks is served."""
    with listening(tmp_path, association_timeout_s=60, maximum_waiting=5) as node:
        connections = [silent.enter_context(connected(node.port)) for _ in range(20)]
        assert echo(node.peer()) == 0
        assert ended_s(connections[0]) < 5
        connections[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            connections[-1].recv(1)
        silent.close()


def test_a_peer_has_only_so_many_associations(tmp_path: Path) -> None:
    """Beyond the limit of its address, or of itself, a caller is rejected; when one ends it is let in."""
    callers = [{"ae_title": "FEW", "maximum_associations": 1}, {"ae_title": "MANY"}]
    options = {"maximum_associations_per_peer": 3, "association_timeout_s": 5}
    with listening(tmp_path, promiscuous=False, callers=callers, **options) as node:
        first = associated(node.port, request(calling=b"FEW"))
        assert _answer(node.port, request(calling=b"FEW")) == (REJECTED, LOCAL_LIMIT)
        others = [associated(node.port, request(calling=b"MANY")) for _ in range(2)]
        assert _answer(node.port, request(calling=b"MANY")) == (REJECTED, LOCAL_LIMIT)
        first.close()
        wait_until(lambda: _let_in(node.port, b"FEW"), "there is a place again")
        for each in others:
            each.close()
        assert {alert["reason"] for alert in node.alerts()} == {
            "association rejected: this caller has 1 associations already",
            "association rejected: this address has 3 associations already",
        }


def test_strangers_are_turned_away(tmp_path: Path) -> None:
    """An address that nobody has is closed before a byte is read; an unknown title is rejected."""
    callers = [{"ae_title": "CT1", "hosts": ["10.0.0.0/8"]}]
    with listening(tmp_path, promiscuous=False, callers=callers) as node, connected(node.port) as stranger:
        assert ended_s(stranger) < 0.9
        wait_until(node.alerts, "the stranger is in the audit trail")
    known = [{"ae_title": "CT1", "hosts": ["127.0.0.1"]}]
    with listening(tmp_path / "second", promiscuous=False, callers=known) as node:
        assert _answer(node.port, request(calling=b"CT2")) == (REJECTED, TITLE_UNKNOWN)
        [alert] = node.alerts()
        assert (alert["calling_ae_title"], alert["address"]) == ("CT2", "127.0.0.1")
        assert echo(node.peer("CT1")) == 0


def test_a_flood_of_strangers_does_not_fill_the_audit_trail(tmp_path: Path) -> None:
    """Of one address only a few alerts a minute are written; how many were left out is said later."""
    with listening(tmp_path, promiscuous=False, callers=[{"ae_title": "CT1"}]) as node:
        for _ in range(40):
            _answer(node.port, request(calling=b"CT2"))
        assert len(node.alerts()) == 20


def test_connections_in_a_burst_are_all_served(tmp_path: Path) -> None:
    """Forty callers at once, more than the library's backlog of five, are all answered."""
    with listening(tmp_path, association_timeout_s=30) as node:
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(echo(node.peer()))) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [0] * 40


def _answer(port: int, asked: bytes) -> tuple[int, bytes] | None:
    with connected(port) as connection:
        connection.sendall(asked)
        return received_pdu(connection)


def _let_in(port: int, calling: bytes) -> bool:
    answer = _answer(port, request(calling=calling))
    return answer is not None and answer[0] != REJECTED
