"""What a peer may do once it is in: lengths, times, and its share of the memory."""

import threading
from dataclasses import dataclass
from typing import Protocol


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
    """What the messages under way may hold in all; where it is not enough, who holds most is cut off."""

    def __init__(self, maximum_bytes: int) -> None:
        self._maximum_bytes = maximum_bytes
        self._held: dict[Holder, int] = {}
        self._lock = threading.Lock()

    def take(self, holder: Holder, size_bytes: int) -> bool:
        """Count bytes that a message grows by; False if the association must be cut off itself."""
        with self._lock:
            self._held[holder] = self._held.get(holder, 0) + size_bytes
            victim = None
            if sum(self._held.values()) > self._maximum_bytes:
                victim = max(self._held, key=lambda each: self._held[each])
                del self._held[victim]
        if victim is not None and victim is not holder:
            victim.evict("its messages take most of the memory")
        return victim is not holder

    def keep(self, holder: Holder, size_bytes: int = 0) -> None:
        """Count only so many of an association's bytes from here on."""
        with self._lock:
            if size_bytes:
                self._held[holder] = size_bytes
            else:
                self._held.pop(holder, None)
