"""A clerk: a process that receives for the node: handshake, association, the stored file, the answer.

What the node has to know is told before the sender is; when the node is gone, nothing is acknowledged more.
"""

import itertools
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydicom.dataset import Dataset
from pynetdicom import evt

from node import log as logs
from node.auditing.audit import SECURITY_ALERT, Event, Fact, Trail
from node.board import Board
from node.delivery.transport import PeerError
from node.intake import words
from node.intake.bounds import Memory
from node.intake.channel import Channel
from node.intake.commitment_wire import Action, Hatch, answered
from node.intake.intake import Arrival
from node.intake.lobby import Visit
from node.intake.office import Refusal
from node.intake.scp import StorageScp
from node.settings.log import Log
from node.settings.receive import Receive
from node.storage.spool import SeriesKey, Spool


@dataclass(frozen=True, slots=True)
class Duty:
    """What a clerk has to know of the configuration; the rest of it would load much that none needs.

    `name` is that of the process.
    """

    name: str
    receive: Receive
    spool: Path
    minimum_free_bytes: int
    quota_bytes: int | None
    audit: Path | None
    log: Log
    commitment: bool


def main(end: socket.socket, duty: Duty, board: Board) -> None:
    """Serve what comes by the channel until the node says stop or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the node decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    logs.configure(duty.log)
    spool = Spool(duty.spool, duty.minimum_free_bytes, duty.quota_bytes, duty.name, board)
    with end, spool.attend():
        _Clerk(Channel(end), duty, spool, board).serve()


class _Clerk:
    """The process' part of what the node and it say to each other."""

    def __init__(self, channel: Channel, duty: Duty, spool: Spool, board: Board) -> None:
        self._channel = channel
        self._office = BranchOffice(channel)
        self._memory = Memory(int(duty.receive.maximum_memory_bytes), board, self._office.short)
        self._commissions = _Commissions(self._office)
        on_action = self._commissions.on_action if duty.commitment else None
        self._scp = StorageScp(duty.receive, spool, self._office, self._memory, Trail(duty.audit), on_action)

    def serve(self) -> None:
        """Do what the node says until it says stop."""
        heard: dict[type, Callable[[Any], None]] = {
            words.Came: lambda word: self._office.tell(words.Left(word.visit)),  # no handle was left for it
            words.Decided: self._office.on_decided,
            words.Relieve: lambda _: self._memory.relieve(),
            words.Acted: self._commissions.on_acted,
            words.Report: self._commissions.on_report,
        }
        self._office.tell(words.Ready())
        try:
            while True:
                word, connection = self._heard()
                if isinstance(word, words.Stop):
                    break
                if connection is not None:
                    self._scp.take(Visit(connection, word.peer, word.visit), word.secure)
                else:
                    heard[type(word)](word)
        finally:
            self._scp.stop()

    def _heard(self) -> tuple[Any, socket.socket | None]:
        try:
            return self._channel.receive()
        except EOFError:
            _gone()


class BranchOffice:
    """The office as a clerk has it: all is told to the node, which decides."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._asked: dict[int, queue.SimpleQueue[Refusal | None]] = {}

    def tell(self, word: object) -> None:
        """Tell the node; there is no return when it is gone."""
        try:
            self._channel.send(word)
        except OSError:
            _gone()

    def asks(self, visit: Visit, ae_title: str, shown: frozenset[str]) -> Refusal | None:
        """Have the node decide on an association."""
        answer: queue.SimpleQueue[Refusal | None] = queue.SimpleQueue()
        self._asked[visit.number] = answer
        self.tell(words.Asks(visit.number, ae_title, shown))
        return answer.get()

    def on_decided(self, word: words.Decided) -> None:
        """Pass on what it decided."""
        self._asked.pop(word.visit).put(word.refusal)

    def left(self, visit: Visit) -> None:
        """Tell that a connection has ended."""
        self.tell(words.Left(visit.number))

    def stored(self, arrival: Arrival, seconds: float) -> None:
        """Tell of an instance that is durable."""
        self.tell(words.Taken.of(arrival, seconds))

    def refused(self, status: int, seconds: float | None = None) -> None:
        """Tell of an instance that was not taken."""
        self.tell(words.Refused(status, seconds))

    def released(self, keys: frozenset[SeriesKey]) -> None:
        """Tell of the release of an association."""
        self.tell(words.Released(keys))

    def alert(self, what: str, address: str, event: Event = SECURITY_ALERT, **facts: Fact) -> None:
        """Tell of something that a peer tried."""
        self.tell(words.Alerted(what, address, event, facts))

    def short(self) -> None:
        """Tell that memory is short."""
        self.tell(words.Short())


class _Commissions:
    """Requests for storage commitment, which the node keeps, and their reports, which it has sent here."""

    def __init__(self, office: BranchOffice) -> None:
        self._office = office
        self._tickets = itertools.count(1)
        self._hatches: dict[int, Hatch] = {}
        self._lock = threading.Lock()
        self._answers: dict[int, queue.SimpleQueue[words.Acted]] = {}

    def on_action(self, event: evt.Event) -> tuple[int | Dataset, None]:
        """Answer N-ACTION with what the node says."""
        return answered(event, self._take)

    def _take(self, action: Action, hatch: Hatch) -> tuple[int, str]:
        ticket, answer = next(self._tickets), queue.SimpleQueue[words.Acted]()
        self._answers[ticket] = answer
        with self._lock:
            self._hatches = {number: each for number, each in self._hatches.items() if each.open}
            self._hatches[ticket] = hatch
        self._office.tell(words.Acts(ticket, action))
        acted = answer.get()
        return acted.status, acted.comment

    def on_acted(self, word: words.Acted) -> None:
        """Pass on what the node says."""
        self._answers.pop(word.ticket).put(word)

    def on_report(self, word: words.Report) -> None:
        """Send a report, which waits for the peer."""
        threading.Thread(target=self._report, args=(word,), name="report", daemon=True).start()

    def _report(self, word: words.Report) -> None:
        hatch = self._hatches.get(word.asked)
        try:
            if hatch is None:
                raise PeerError("the association has ended")
            answer = words.Reported(word.ticket, hatch.report(word.work, word.timeout_s), "")
        except PeerError as error:
            answer = words.Reported(word.ticket, None, str(error))
        self._office.tell(answer)


def _gone() -> NoReturn:
    """End at once: nobody hears of what is stored, so nothing must be acknowledged."""
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(1)
