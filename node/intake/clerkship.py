"""A clerkship: one process that receives, as the node sees it: started, heard, and followed by the next."""

import itertools
import multiprocessing
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Any, Final

import structlog

from db.commitments import CommitmentWork
from node.board import Board, Column
from node.delivery.transport import PeerError
from node.intake import clerk, words
from node.intake.channel import Channel
from node.intake.commitment import Commitments
from node.intake.lobby import Visit
from node.intake.office import HeadOffice
from node.settings.config import Config
from node.storage.spool import Spool

log = structlog.get_logger()

_END_S: Final = 5.0
_HANGS_S: Final = 15.0
_LATE_S: Final = 5.0
"""What a report's answer may take on its way through two processes, beside the peer's own time."""


class Clerkship:
    """Starts a process, hears it until it ends, and cleans up after it."""

    def __init__(
        self, config: Config, spool: Spool, board: Board, office: HeadOffice, commitments: Commitments | None
    ) -> None:
        self._spool = spool
        self._board = board
        self._office = office
        self._commitments = commitments
        self.name = spool.receiver(board.row)
        quota = config.spool.quota
        self._duty = clerk.Duty(
            self.name,
            config.receive,
            config.spool.folder,
            int(config.spool.minimum_free),
            None if quota is None else int(quota),
            config.audit.file,
            config.log,
            commitments is not None,
        )
        self.ready = False
        """Whether connections may be given to it."""
        self.served = False
        """Whether they could be before it ended."""
        self._stopping = False
        self._process: BaseProcess | None = None
        self._channel: Channel | None = None
        self._visits: dict[int, Visit] = {}
        self._lock = threading.Lock()
        self._tickets = itertools.count(1)
        self._reports: dict[int, queue.SimpleQueue[words.Reported]] = {}

    @property
    def pid(self) -> int | None:
        """The process' number, None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def busy(self) -> int:
        """How many connections it has."""
        return len(self._visits)

    def serve(self) -> None:
        """Start a process and hear it until it ends; then nothing is left of it."""
        self.served = False
        # "spawn": a forked child would share the locks of this process' threads.
        context = multiprocessing.get_context("spawn")
        channel, theirs = Channel.pair()
        process = context.Process(target=clerk.main, args=(theirs, self._duty, self._board), daemon=True)
        try:
            with theirs:
                process.start()
            self._process, self._channel = process, channel
            if self._stopping:
                process.kill()
            self._hear(channel)
        finally:
            self.ready = False
            channel.close()
            if process.pid is not None:
                process.join(_END_S)  # it ends, or is of no use without its channel
                process.kill()
                process.join()
            self._clean_up()

    @property
    def hangs(self) -> bool:
        """Tell whether somebody waits there for longer than anybody may."""
        latest_s = time.monotonic() - self._duty.receive.association_timeout_s - _HANGS_S
        return any(visit.waits and visit.came_s < latest_s for visit in [*self._visits.values()])

    def take(self, visit: Visit, secure: bool) -> bool:
        """Give it a connection; False where it cannot take it."""
        with self._lock:
            self._visits[visit.number] = visit
        try:
            self._send(words.Came(visit.number, visit.peer, secure), visit)
        except OSError:
            with self._lock:
                # Whoever cleaned up after it meanwhile has this one closed.
                return self._visits.pop(visit.number, None) is None
        return True

    def relieve(self) -> None:
        """Have it give up memory."""
        self._tell(words.Relieve())

    def stop(self) -> None:
        """Tell it to end; who has not begun yet needs no time for it."""
        self._stopping = True
        if self.ready:
            self._tell(words.Stop())
        else:
            self.kill()

    def kill(self) -> None:
        """End it now, if it is there."""
        if self._process is not None:
            self._process.kill()

    def report(self, asked: int, work: CommitmentWork, timeout_s: float) -> int:
        """Have a report sent on the association on which it was asked for; raises PeerError."""
        ticket = next(self._tickets)
        answers: queue.SimpleQueue[words.Reported] = queue.SimpleQueue()
        self._reports[ticket] = answers
        try:
            self._send(words.Report(ticket, asked, work, timeout_s))
            answer = answers.get(timeout=timeout_s + _LATE_S)
        except (OSError, queue.Empty):
            raise PeerError("the association gave no answer to the report") from None
        finally:
            del self._reports[ticket]
        if answer.status is None:
            raise PeerError(answer.why)
        return answer.status

    def _hear(self, channel: Channel) -> None:
        heard: dict[type, Callable[[Any], None]] = {
            words.Taken: lambda word: self._office.stored(word.arrival, word.seconds),
            words.Asks: self._on_asks,
            words.Left: self._on_left,
            words.Refused: lambda word: self._office.refused(word.status, word.seconds),
            words.Released: lambda word: self._office.released(word.keys),
            words.Alerted: self._on_alerted,
            words.Short: lambda _: self._office.short(),
            words.Acts: self._on_acts,
            words.Reported: self._on_reported,
            words.Ready: self._on_ready,
        }
        with suppress(EOFError):
            while True:
                word, _ = channel.receive()
                heard[type(word)](word)

    def _on_ready(self, _: words.Ready) -> None:
        log.info("a receiver process is ready", process=self.name, pid=self.pid)
        self.ready = self.served = True

    def _on_asks(self, word: words.Asks) -> None:
        visit = self._visits[word.visit]
        refusal = self._office.asks(visit, word.ae_title, word.shown)
        visit.connection.close()  # from here on the process alone has it
        self._tell(words.Decided(word.visit, refusal))

    def _on_left(self, word: words.Left) -> None:
        with self._lock:
            visit = self._visits.pop(word.visit)
        self._leave(visit)

    def _on_alerted(self, word: words.Alerted) -> None:
        self._office.alert(word.what, word.address, word.event, **word.facts)

    def _on_acts(self, word: words.Acts) -> None:
        """Have a request for commitment kept, which waits for the database; images do not wait for it."""
        way_back = _WayBack(self, word.ticket, self._visits[word.action.visit])

        def take() -> None:
            assert self._commitments is not None  # noqa: S101 - it has no such presentation context else
            self._tell(words.Acted(word.ticket, *self._commitments.take(word.action, way_back)))

        threading.Thread(target=take, name="action", daemon=True).start()

    def _on_reported(self, word: words.Reported) -> None:
        waiting = self._reports.get(word.ticket)
        if waiting is not None:
            waiting.put(word)

    def _leave(self, visit: Visit) -> None:
        self._office.left(visit)
        visit.connection.close()

    def _clean_up(self) -> None:
        """Free what a process held that is dead."""
        with self._lock:
            visits, self._visits = [*self._visits.values()], {}
        for visit in visits:
            self._leave(visit)
        for waiting in [*self._reports.values()]:
            waiting.put(words.Reported(0, None, "the association has ended"))
        for column in (Column.UNDER_WAY, Column.HELD, Column.LARGEST):
            self._board.put(column, 0)
        self._spool.clear_unfinished_of(self.name)

    def _tell(self, word: object) -> None:
        """Tell it something that is of no matter when it is gone; one that hears nothing is of no use."""
        try:
            self._send(word)
        except BlockingIOError:
            log.error("a receiver process hears nothing", process=self.name)
            self.kill()
        except OSError:
            pass  # it ends

    def _send(self, word: object, visit: Visit | None = None) -> None:
        if self._channel is None:
            raise OSError("there is no process")
        self._channel.send(word, None if visit is None else visit.connection)


class _WayBack:
    """A report's way to an association that another process serves."""

    def __init__(self, clerkship: Clerkship, asked: int, visit: Visit) -> None:
        self._clerkship, self._asked, self._visit = clerkship, asked, visit

    @property
    def open(self) -> bool:
        """Tell whether the association is still established."""
        return not self._visit.gone

    def report(self, work: CommitmentWork, timeout_s: float) -> int:
        """Send a report and return the status of the answer; raises PeerError when none comes."""
        return self._clerkship.report(self._asked, work, timeout_s)
