"""A campaign: hostile peers against a node that really runs, while a good one looks whether it lives."""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from node.delivery.scu import Peer, echo
from node.delivery.transport import PeerError
from tests.fuzz import sequences
from tests.harness import RunningNode, free_port, make_node
from tests.node.hostile import MIB

HANG_S: Final = 30.0
"""A C-ECHO that is not answered for so long counts as a hang; the machine may be busy."""

MEMORY_MIB: Final = 250
"""How much the node and its web server may grow; each hostile association may hold a message meanwhile."""

_CAUGHT: Final = ("in _decode_pdu", "in decode_bytes", "in message_to_primitive")
_PEERS: Final = 6
_PAUSE = threading.Event()


@dataclass
class Findings:
    """What a campaign saw; `faults` is empty where all is well."""

    seed: int
    sequences: int = 0
    probes: int = 0
    slowest_s: float = 0.0
    grown_mib: float = 0.0
    faults: list[str] = field(default_factory=list)


def campaign(folder: Path, seconds: float, seed: int) -> Findings:
    """Attack a node for so long; every sequence follows from the seed and its number."""
    findings = Findings(seed)
    node = fuzzed_node(folder).start()
    end = time.monotonic() + seconds
    attackers = [
        threading.Thread(target=_attack, args=(node, findings, number, end)) for number in range(_PEERS)
    ]
    try:
        before = _rss_mib(node)
        for attacker in attackers:
            attacker.start()
        while time.monotonic() < end and not findings.faults:
            _probe(node, findings)
            findings.grown_mib = max(findings.grown_mib, _rss_mib(node) - before)
            _PAUSE.wait(0.5)
        for attacker in attackers:
            attacker.join(HANG_S)
        _probe(node, findings)
    finally:
        status = node.stop()
    _judge(node, findings, status)
    return findings


def fuzzed_node(folder: Path) -> RunningNode:
    """Describe a node with short deadlines, both ports open."""
    times = {"association_timeout_s": 5, "pdu_timeout_s": 3, "message_timeout_s": 5, "idle_timeout_s": 5}
    web = {
        "enabled": True,
        "port": free_port(),
        "clients": [{"ae_title": "APP", "token": sequences.TOKEN}],
        "header_timeout_s": 3,
        "idle_timeout_s": 3,
    }
    return make_node(folder, receive=times, dicomweb=web, commitment={"wait_s": 1})


def _attack(node: RunningNode, findings: Findings, number: int, end: float) -> None:
    chance = random.Random(f"{findings.seed}/{number}")
    web = int(node.settings["dicomweb"]["port"])
    while time.monotonic() < end and not findings.faults:
        to_web = chance.random() < 0.3
        make: Callable[[random.Random], Sequence[bytes]] = sequences.http if to_web else sequences.dicom
        with suppress(OSError):
            _send(web if to_web else node.port, make(chance), chance)
        findings.sequences += 1


def _send(port: int, parts: Sequence[bytes], chance: random.Random) -> None:
    """Send the pieces, listen for a moment between them, and leave politely or not."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        for part in parts:
            connection.settimeout(5)
            connection.sendall(part)
            connection.settimeout(chance.choice((0.001, 0.01, 0.1)))
            with suppress(TimeoutError):
                if not connection.recv(65536):
                    return
        if chance.random() < 0.5:
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.5)
            with suppress(TimeoutError):
                connection.recv(65536)


def _probe(node: RunningNode, findings: Findings) -> None:
    """Ask as a well-behaved caller; note how long it takes."""
    assert node.process is not None
    if node.process.poll() is not None:
        findings.faults.append(f"the node ended with {node.process.returncode}")
        return
    started = time.monotonic()
    try:
        answered = echo(Peer("BODYTAG", "127.0.0.1", node.port, "TEST", HANG_S)) == 0
    except PeerError as error:
        findings.faults.append(f"C-ECHO failed: {error}")
        return
    findings.probes += 1
    findings.slowest_s = max(findings.slowest_s, time.monotonic() - started)
    if not answered:
        findings.faults.append("C-ECHO was not answered with Success")


def _judge(node: RunningNode, findings: Findings, status: int) -> None:
    log = node.log.read_text(errors="replace")
    if status != 0:
        findings.faults.append(f"the node ended with {status}")
    findings.faults += sorted(set(_tracebacks(log)))
    if findings.grown_mib > MEMORY_MIB:
        findings.faults.append(f"memory grew by {findings.grown_mib:.0f} MiB")


def _tracebacks(log: str) -> Iterator[str]:
    """Return where each traceback comes from, and its last line.

    One that pynetdicom logs when a PDU, a text in it or a message cannot be decoded is no finding: it is
    caught, and the association is aborted as it should be.
    """
    before, *found = log.split("Traceback (most recent call last):\n")
    for each in found:
        frames = [line for line in each.splitlines() if line.startswith("  ")]
        if not any(name in frame for name in _CAUGHT for frame in frames):
            rest = each.splitlines()[len(frames) :]
            yield f"traceback after {before[-200:]!r}: {frames[-2:]} {rest[:1]}"
        before = each


def _rss_mib(node: RunningNode) -> float:
    """Return what node and web server hold; the worker, with its networks, is not counted."""
    assert node.process is not None
    workers = node.workers()
    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(node.process.pid)
        total = process.memory_info().rss
        for child in process.children():
            if child.pid not in workers or _serves(child, int(node.settings["dicomweb"]["port"])):
                total += child.memory_info().rss
    return float(total) / MIB


def _serves(process: psutil.Process, port: int) -> bool:
    return any(each.laddr and each.laddr.port == port for each in process.net_connections("tcp"))
