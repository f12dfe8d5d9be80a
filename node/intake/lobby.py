"""The lobby: connections that have not asked for an association yet, and how many associations each peer has.

A connection that waits costs a thread and a socket. Where too many wait, the oldest of the address with most
of them goes: so silent connections, however many, take no place from a peer that says what it wants.
"""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from node.intake.guard import cut_off


class Full(Exception):  # noqa: N818 - an answer to the peer, not a fault of the program
    """A peer has as many associations as it may; the message is one sentence."""


@dataclass(eq=False)
class Visit:
    """A connection in the lobby; `connection` becomes that of TLS, `turned_away` tells that it had to go."""

    connection: socket.socket
    address: str
    turned_away: bool = False


class Lobby:
    """Counts who waits and who has associations; safe for any number of threads."""

    def __init__(self, maximum_waiting: int, maximum_per_peer: int) -> None:
        self._maximum_waiting = maximum_waiting
        self._maximum_per_peer = maximum_per_peer
        self._waiting: list[Visit] = []  # the oldest first
        self._present: Counter[tuple[str, str]] = Counter()  # by address, and by AE title
        self._lock = threading.Lock()

    @contextmanager
    def waits(self, visit: Visit) -> Iterator[None]:
        """Let a connection wait for the time of the block; another one may have to go."""
        with self._lock:
            self._waiting.append(visit)
            crowded = self._crowded() if len(self._waiting) > self._maximum_waiting else None
            if crowded is not None:
                self._waiting.remove(crowded)
                crowded.turned_away = True
                cut_off(crowded.connection)
        try:
            yield
        finally:
            with self._lock:
                if visit in self._waiting:
                    self._waiting.remove(visit)

    @contextmanager
    def present(self, address: str, ae_title: str, maximum: int | None) -> Iterator[None]:
        """Count an association for the time of the block.

        `maximum` is that of the caller, None without. Raises Full where the address or the caller has enough.
        """
        by_address, by_title = ("address", address), ("title", ae_title)
        with self._lock:
            if self._present[by_address] >= self._maximum_per_peer:
                raise Full(f"this address has {self._maximum_per_peer} associations already")
            if maximum is not None and self._present[by_title] >= maximum:
                raise Full(f"this caller has {maximum} associations already")
            self._present.update((by_address, by_title))
        try:
            yield
        finally:
            with self._lock:
                self._present.subtract((by_address, by_title))
                self._present = +self._present

    def _crowded(self) -> Visit:
        counts = Counter(visit.address for visit in self._waiting)
        most = counts.most_common(1)[0][0]
        return next(visit for visit in self._waiting if visit.address == most)
