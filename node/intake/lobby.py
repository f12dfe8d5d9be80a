"""The lobby: connections that have not asked for an association yet, and how many associations each peer has.

A connection that waits costs a thread and a socket. Where too many wait, the oldest of the address with most
of them goes: so silent connections, however many, take no place from a peer that says what it wants.
"""

import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from node.intake.guard import cut_off


class Full(Exception):  # noqa: N818 - an answer to the peer, not a fault of the program
    """There are as many associations as there may be; the message is one sentence."""


@dataclass(eq=False)
class Visit:
    """A connection from its first byte to its end; `connection` becomes that of TLS, `peer` is its address.

    `number` tells it from others where two processes speak of it.
    """

    connection: socket.socket
    peer: Any
    number: int = 0
    came_s: float = field(default_factory=time.monotonic)
    waits: bool = True
    """Whether nothing was decided about it yet."""
    ae_title: str | None = None
    """Of the caller whose association it is."""
    gone: bool = False

    @property
    def address(self) -> str:
        """The address without the port."""
        return str(self.peer[0])


class Lobby:
    """Counts who waits and who has associations; safe for any number of threads."""

    def __init__(self, maximum_waiting: int, maximum_per_peer: int, maximum: int) -> None:
        """`maximum`: of all associations together."""
        self._maximum_waiting = maximum_waiting
        self._maximum_per_peer = maximum_per_peer
        self._maximum = maximum
        self._waiting: list[Visit] = []  # the oldest first
        self._present: Counter[tuple[str, str]] = Counter()  # by address, and by AE title
        self._lock = threading.Lock()

    def enter(self, visit: Visit) -> Visit | None:
        """Let a connection wait; return the one that had to go for it, which is cut off."""
        with self._lock:
            self._waiting.append(visit)
            if len(self._waiting) <= self._maximum_waiting:
                return None
            crowded = self._crowded()
            self._waiting.remove(crowded)
            cut_off(crowded.connection)
        return crowded

    def heard(self, visit: Visit) -> None:
        """Let a connection wait no more that said what it wants."""
        with self._lock:
            self._wait_no_more(visit)

    def admit(self, visit: Visit, ae_title: str, maximum: int | None) -> None:
        """Count an association.

        `maximum` is that of the caller, None without. Raises Full where the address, the caller or the node
        has enough.
        """
        with self._lock:
            if self._present["address", visit.address] >= self._maximum_per_peer:
                raise Full(f"this address has {self._maximum_per_peer} associations already")
            if maximum is not None and self._present["title", ae_title] >= maximum:
                raise Full(f"this caller has {maximum} associations already")
            if self._present["all", ""] >= self._maximum:
                raise Full(f"the node has {self._maximum} associations already")
            visit.ae_title = ae_title
            self._present.update(_counted(visit))

    def leave(self, visit: Visit) -> None:
        """Count a connection no more, whether it waited or was let in."""
        with self._lock:
            visit.gone = True
            self._wait_no_more(visit)
            if visit.ae_title is not None:
                self._present.subtract(_counted(visit))
                self._present = +self._present

    @property
    def present(self) -> int:
        """How many associations there are."""
        with self._lock:
            return self._present["all", ""]

    def _wait_no_more(self, visit: Visit) -> None:
        visit.waits = False
        if visit in self._waiting:
            self._waiting.remove(visit)

    def _crowded(self) -> Visit:
        counts = Counter(visit.address for visit in self._waiting)
        most = counts.most_common(1)[0][0]
        return next(visit for visit in self._waiting if visit.address == most)


def _counted(visit: Visit) -> tuple[tuple[str, str], ...]:
    return ("address", visit.address), ("title", visit.ae_title or ""), ("all", "")
