"""What the tests of hostile peers share: a receiver with short deadlines, raw PDUs, and measured figures."""

import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from node.auditing.audit import Trail
from node.delivery.scu import Peer, echo
from node.intake.clerks import Clerks
from node.intake.intake import Arrival
from node.intake.receive import Receiver
from node.settings.config import Config
from node.storage.spool import SeriesKey, Spool
from tests.harness import wait_until

VERIFICATION = "1.2.840.10008.1.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
ABORT = 0x07
ACCEPTED = 0x02
REJECTED = 0x03
P_DATA = 0x04
MIB = 1 << 20
_PATIENCE_S = 30.0


@dataclass
class Target:
    """A receiver in this process, and what it reported."""

    receiver: Receiver
    spool: Spool
    audit: Path
    arrivals: list[Arrival] = field(default_factory=list)
    released: list[frozenset[SeriesKey]] = field(default_factory=list)
    clerks: Clerks | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.receiver.port

    def peer(self, calling: str = "TEST") -> Peer:
        """Address it as a well-behaved caller."""
        return Peer("BODYTAG", "127.0.0.1", self.port, calling, 10)

    def alerts(self) -> list[dict[str, Any]]:
        """Read what the audit trail has of failures."""
        return [line for line in audited(self.audit) if line["outcome"] == "failure"]

    def stored(self) -> list[str]:
        """List the files in the spool."""
        return [path for _, paths in self.spool.series() for path in paths]


@contextmanager
def listening(folder: Path, **options: Any) -> Iterator[Target]:
    """Run a receiver with short deadlines; with `processes`, if they are asked for, once these are ready."""
    audit = folder / "audit.jsonl"
    settings = {"host": "127.0.0.1", "port": 0, "promiscuous": True, "association_timeout_s": 1.0}
    spool = Spool(folder / "spool", 0)
    arrivals: list[Arrival] = []
    released: list[frozenset[SeriesKey]] = []
    sections = {"receive": settings | options, "audit": {"file": audit}}
    sections |= {"spool": {"folder": spool.folder, "minimum_free": 1}}
    whole = Config.model_validate(sections, context={"folder": folder})
    config = whole.receive
    clerks = Clerks.wanted(whole, lambda: 0) if "processes" in options else None
    receiver = Receiver(config, spool, arrivals.append, released.append, Trail(audit), None, clerks)
    receiver.start()
    try:
        if clerks is not None:
            wait_until(lambda: len(clerks.pids) == config.clerks, "the processes are ready")
        yield Target(receiver, spool, audit, arrivals, released, clerks)
    finally:
        receiver.stop()


def audited(path: Path) -> list[dict[str, Any]]:
    """Read an audit trail."""
    return [json.loads(line) for line in path.read_text("ascii").splitlines()] if path.exists() else []


def association_threads() -> int:
    """Count the threads that serve associations in this process."""
    return sum("AcceptorThread" in thread.name for thread in threading.enumerate())


def served_s(peer: Peer) -> float:
    """Return how long a well-behaved caller waits for association, C-ECHO and release."""
    started = time.monotonic()
    assert echo(peer) == 0
    return time.monotonic() - started


def rss_bytes() -> int:
    """Return what this process holds in memory; the receiver is part of it."""
    return int(psutil.Process().memory_info().rss)


def measured(what: str, value: float, unit: str) -> float:
    """Print a figure, and keep it where the environment says so; `pytest -rP` shows it."""
    line = {"what": what, "value": round(value, 3), "unit": unit}
    print(f"measured: {what}: {line['value']} {unit}")
    path = os.environ.get("BODYTAG_FIGURES")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    return value


def connected(port: int) -> socket.socket:
    """Open a plain connection."""
    connection = socket.create_connection(("127.0.0.1", port), _PATIENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def item(kind: int, value: bytes) -> bytes:
    """Encode an item of an A-ASSOCIATE PDU."""
    return struct.pack(">BxH", kind, len(value)) + value


def request(
    syntaxes: tuple[tuple[str, str], ...] = ((VERIFICATION, IMPLICIT), (CT_IMAGE, EXPLICIT)),
    calling: bytes = b"TEST",
    called: bytes = b"BODYTAG",
    more: bytes = b"",
) -> bytes:
    """Encode an A-ASSOCIATE-RQ that proposes these contexts, numbered 1, 3, 5 and so on."""
    contexts = b"".join(
        item(0x20, struct.pack(">Bxxx", (2 * n + 1) % 256) + item(0x30, a.encode()) + item(0x40, t.encode()))
        for n, (a, t) in enumerate(syntaxes)
    )
    information = item(0x51, struct.pack(">L", 131072)) + item(0x52, b"1.2.3")
    body = struct.pack(">H2x16s16s32x", 1, called.ljust(16), calling.ljust(16))
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + more + item(0x50, information)
    return pdu(0x01, body)


def pdu(kind: int, body: bytes, announced: int | None = None) -> bytes:
    """Encode a PDU, with another length than its own if told so."""
    return struct.pack(">BxL", kind, len(body) if announced is None else announced) + body


def data(value: bytes, control: int, context: int = 1) -> bytes:
    """Encode a P-DATA-TF of one presentation data value; control: 1 command, 2 last."""
    return pdu(P_DATA, struct.pack(">LBB", len(value) + 2, context, control) + value)


def command(field_: int, has_data_set: bool = False, **more: bytes) -> bytes:
    """Encode a command set; `more` are elements as `e0110=b"..."`."""
    number = struct.pack("<H", 0 if has_data_set else 0x0101)
    elements = {0x0100: struct.pack("<H", field_), 0x0110: b"\1\0", 0x0800: number}
    elements |= {int(name[1:], 16): value for name, value in more.items()}
    body = b"".join(struct.pack("<HHL", 0, each, len(v)) + v for each, v in sorted(elements.items()))
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


ECHO = command(0x0030, e0002=VERIFICATION.encode() + b"\0")


def store_command(sop_instance_uid: str, sop_class_uid: str = CT_IMAGE) -> bytes:
    """Encode a C-STORE-RQ."""
    affected = {"e0002": even(sop_class_uid), "e1000": even(sop_instance_uid), "e0700": b"\0\0"}
    return command(0x0001, has_data_set=True, **affected)


def even(uid: str) -> bytes:
    """Encode a UID value."""
    return uid.encode() + b"\0" * (len(uid) % 2)


def received_pdu(connection: socket.socket) -> tuple[int, bytes] | None:
    """Read one PDU; None where the peer closed the connection."""
    with suppress(ConnectionError):
        header = _exactly(connection, 6)
        if len(header) == 6:
            kind, length = struct.unpack(">BxL", header)
            return kind, _exactly(connection, length)
    return None


def associated(port: int, asked: bytes | None = None) -> socket.socket:
    """Open an association by raw PDUs."""
    connection = connected(port)
    connection.sendall(asked or request())
    answer = received_pdu(connection)
    assert answer is not None
    assert answer[0] == ACCEPTED
    return connection


def ended_s(connection: socket.socket, started: float | None = None) -> float:
    """Wait until the peer closed the connection, and return after how many seconds it did."""
    started = time.monotonic() if started is None else started
    connection.settimeout(_PATIENCE_S)
    with suppress(ConnectionError):
        while connection.recv(65536):
            pass
    return time.monotonic() - started


def pushed(connection: socket.socket, piece: bytes, maximum_bytes: int) -> int:
    """Send as much as the peer takes, up to a maximum; return how many bytes that were."""
    sent = 0
    connection.settimeout(_PATIENCE_S)
    with suppress(OSError):
        while sent < maximum_bytes:
            connection.sendall(piece)
            sent += len(piece)
    return sent


def dripped_s(connection: socket.socket, content: bytes, pause_s: float, pieces: int = 1) -> float:
    """Send a few bytes at a time until the peer ends the connection; return after how many seconds it did.

    The pause is a wait for the peer's answer, and so ends with the connection.
    """
    started = time.monotonic()
    connection.settimeout(pause_s)
    for offset in range(0, len(content), pieces):
        try:
            connection.sendall(content[offset : offset + pieces])
            if not connection.recv(65536):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    else:
        raise AssertionError("the peer took it all")
    return time.monotonic() - started


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            break
        found += piece
    return bytes(found)


Listen = Callable[..., Target]


def crowded(
    greedy: socket.socket, modest: socket.socket, held: Callable[[], bool]
) -> tuple[int, bytes] | None:
    """Send 7.5 MB of a message, then, when they are `held`, a whole one of 2 MB by another association.

    Returns what the modest one is answered, after the greedy one has come to its end.
    """
    for connection in (greedy, modest):
        connection.sendall(data(store_command("1.2.3"), 3, 3))
    greedy.sendall(data(b"\0" * 100_000, 0, 3) * 75)
    wait_until(held, "what the greedy one sent is held")
    for _ in range(20):
        modest.sendall(data(b"\0" * 100_000, 0, 3))
    ended_s(greedy)
    modest.sendall(data(b"\0", 2, 3))
    return received_pdu(modest)
