"""What a peer may do once it is in: lengths, times, and its share of the memory."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from node.board import Board, Column

_MOST: Final = "its messages take most of the memory"


class Holder(Protocol):
    """An association that holds memory for a message under way."""

    def evict(self, reason: str) -> None:
        """End it from another thread."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a peer may do: lengths in bytes, and how long each phase may take."""

    maximum_pdu_bytes: int
    maximum_message_bytes: int
    pdu_timeout_s: float
    message_timeout_s: float
    idle_timeout_s: float
    whole_timeout_s: float


class Memory:
    """What the messages under way may hold in all; where it is not enough, who holds most is cut off.

    With a board that processes share it is what all of them hold. Where the largest holder is in another
    process, `short` is called, and that process is to `relieve`.
    """

    def __init__(
        self, maximum_bytes: int, board: Board | None = None, short: Callable[[], None] = lambda: None
    ) -> None:
        self._maximum_bytes = maximum_bytes
        self._board = board or Board()
        self._short = short
        self._held: dict[Holder, int] = {}
        self._lock = threading.Lock()

    def take(self, holder: Holder, size_bytes: int) -> bool:
        """Count bytes that a message grows by; False if the association must be cut off itself."""
        with self._lock:
            self._held[holder] = self._held.get(holder, 0) + size_bytes
            self._write()
            victim = self._victim()
        if victim is not None and victim is not holder:
            victim.evict(_MOST)
        elif victim is None and self._over():
            self._short()
        return victim is not holder

    def keep(self, holder: Holder, size_bytes: int = 0) -> None:
        """Count only so many of an association's bytes from here on."""
        with self._lock:
            if size_bytes:
                self._held[holder] = size_bytes
            else:
                self._held.pop(holder, None)
            self._write()

    def relieve(self) -> None:
        """Cut off who holds most, unless there is enough again, or somebody elsewhere holds more."""
        with self._lock:
            victim = self._victim()
        if victim is not None:
            victim.evict(_MOST)

    def _write(self) -> None:
        self._board.put(Column.HELD, sum(self._held.values()))
        self._board.put(Column.LARGEST, max(self._held.values(), default=0))

    def _over(self) -> bool:
        return self._board.total(Column.HELD) > self._maximum_bytes

    def _victim(self) -> Holder | None:
        """Return who must go, and count him no more; None where there is enough, or he is elsewhere."""
        if not self._held or not self._over():
            return None
        victim = max(self._held, key=lambda each: self._held[each])
        if self._held[victim] < max(self._board.column(Column.LARGEST)):
            return None
        del self._held[victim]
        self._write()
        return victim
