"""A limit on what goes to a destination: instances and bytes a second, evenly spaced."""

import threading
import time
from collections.abc import Callable


class Rate:
    """Says how long each instance waits for its turn, over all threads; without limits, not at all."""

    def __init__(
        self,
        instances_per_s: float | None,
        bytes_per_s: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._instances_per_s = instances_per_s
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._free_at = clock()
        self._lock = threading.Lock()

    @property
    def free(self) -> bool:
        """Tell whether nobody ever waits."""
        return self._instances_per_s is None and self._bytes_per_s is None

    def take(self, size_bytes: int) -> float:
        """Take the next turn, for so many bytes; return how long to wait for it, in seconds."""
        took_s = max(
            1 / self._instances_per_s if self._instances_per_s else 0.0,
            size_bytes / self._bytes_per_s if self._bytes_per_s else 0.0,
        )
        with self._lock:
            now = self._clock()
            starts = max(now, self._free_at)
            self._free_at = starts + took_s
        return starts - now
