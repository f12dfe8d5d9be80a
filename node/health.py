"""Health: what the parts of a running node learn of destinations and of the node's processes."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from node import metrics

_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class Outage:
    """A destination does not answer: for how long by now, and what was said last."""

    for_s: float
    why: str


class Health:
    """Told by forwarders, dispatchers, listeners, asked by the notifier; safe for any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._missed: dict[str, tuple[float, str]] = {}
        self._deaths: deque[tuple[float, str]] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()

    def reached(self, destination: str) -> None:
        """Note that a destination answered."""
        metrics.UP.labels(destination).set(1)
        with self._lock:
            self._missed.pop(destination, None)

    def missed(self, destination: str, why: str) -> None:
        """Note that a destination as a whole did not answer, and why."""
        metrics.UP.labels(destination).set(0)
        with self._lock:
            since, _ = self._missed.get(destination, (self._clock(), ""))
            self._missed[destination] = since, why

    def died(self, process: str) -> None:
        """Note that a process of the node ended without being told to: `worker`, or a listener's name."""
        metrics.DEATHS.labels(process).inc()
        with self._lock:
            self._deaths.append((self._clock(), process))

    def outages(self) -> dict[str, Outage]:
        """Return the destinations that do not answer."""
        now = self._clock()
        with self._lock:
            return {name: Outage(now - since, why) for name, (since, why) in self._missed.items()}

    def deaths(self, within_s: float) -> dict[str, int]:
        """Count the deaths of each process within the last so many seconds."""
        from_s = self._clock() - within_s
        with self._lock:
            recent = [process for at, process in self._deaths if at >= from_s]
        return {process: recent.count(process) for process in sorted(set(recent))}
