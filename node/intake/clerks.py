"""The clerks: processes that receive for the node, as many as there are cores to use, each on its own.

The node accepts, gives each connection to the clerk with the fewest, and stays the one that knows: who may
in, what is gathered, what is counted. A clerk is told to end, or ends when the node is gone; one that dies
costs its associations alone.
"""

import itertools
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from node.board import Board, Column
from node.health import Health
from node.intake.clerkship import Clerkship
from node.intake.commitment import Commitments
from node.intake.lobby import Visit
from node.intake.office import HeadOffice
from node.settings.config import Config
from node.storage.spool import Spool

log = structlog.get_logger()

_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
"""Between two that end before they are of any use, as with a certificate that cannot be read."""
_STOP_S: Final = 15.0
_KILLED_S: Final = 5.0


class Clerks:
    """Starts them, again where one dies, and gives them what comes."""

    def __init__(
        self, config: Config, number: int, recover: Callable[[], int], health: Health | None = None
    ) -> None:
        """`recover` looks for instances that are in the spool and that nobody was told of."""
        self._config = config
        self._recover = recover
        self._number = number
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._clerkships: list[Clerkship] = []
        self.board = Board.shared(number + 1)
        self._health = health or Health()

    @classmethod
    def wanted(
        cls, config: Config, recover: Callable[[], int], health: Health | None = None
    ) -> "Clerks | None":
        """Return those that the configuration asks for; None where the node's own process receives alone."""
        number = config.receive.clerks
        return cls(config, number, recover, health) if number else None

    def start(self, office: HeadOffice, spool: Spool, commitments: Commitments | None) -> None:
        """Start them, and return at once: who comes before they are there is for others to serve."""
        spool.room.share(self.board)
        for row in range(1, self._number + 1):
            self._clerkships.append(Clerkship(self._config, spool, self.board.of(row), office, commitments))
            thread = threading.Thread(target=self._run, args=(row,), name=f"clerk-{row}", daemon=True)
            thread.start()
            self._threads.append(thread)

    @property
    def pids(self) -> list[int]:
        """The process numbers of those that are there."""
        return [each.pid for each in self._clerkships if each.ready and each.pid is not None]

    @property
    def shares(self) -> list[int]:
        """How many connections each has."""
        return [each.busy for each in self._clerkships]

    def take(self, visit: Visit, secure: bool) -> bool:
        """Give a connection to who has the fewest; False where none of them takes it."""
        visit.number = next(self._numbers)
        ready = [each for each in self._clerkships if each.ready]
        for each in sorted(ready, key=lambda each: each.busy):
            if each.hangs:
                log.error("a receiver process hangs", process=each.name)
                each.kill()
            elif each.take(visit, secure):
                return True
        return False

    def relieve(self) -> bool:
        """Have the one whose associations hold most of the memory give up some; False where none does."""
        largest = self.board.column(Column.LARGEST)
        row = largest.index(max(largest))
        if row:
            self._clerkships[row - 1].relieve()
        return bool(row)

    def stop(self) -> None:
        """Tell them to end."""
        self._stop.set()
        for each in self._clerkships:
            each.stop()

    def join(self) -> None:
        """Wait for their ends, and kill who does not end in time."""
        deadline_s = time.monotonic() + _STOP_S
        for each, thread in zip(self._clerkships, self._threads, strict=True):
            thread.join(max(0.0, deadline_s - time.monotonic()))
            each.kill()
            thread.join(_KILLED_S)

    def _run(self, row: int) -> None:
        """Keep one of them running."""
        clerkship, pause_s = self._clerkships[row - 1], _PAUSE_S
        while not self._stop.is_set():
            try:
                clerkship.serve()
            except Exception:
                log.exception("a receiver process failed")
            pause_s = _PAUSE_S if clerkship.served else min(2 * pause_s, _LONGEST_PAUSE_S)
            if self._stop.wait(pause_s):
                return
            log.error("a receiver process ended and is started again", process=clerkship.name)
            self._health.died("receiver")
            if clerkship.served:
                self._make_good()

    def _make_good(self) -> None:
        """Take up what was stored and not told; a sender that comes again would be told that it is there."""
        while not self._stop.is_set():
            try:
                found = self._recover()
            except Exception:
                log.exception("the spool could not be looked through; it is tried again")
                self._stop.wait(_PAUSE_S)
            else:
                log.info("instances found in the spool", instances=found)
                return
