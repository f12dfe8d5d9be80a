"""How often somebody may try to log in: a few times a user and address, some more an address or a user."""

import threading
from collections import OrderedDict
from typing import Final

WINDOW_S: Final = 900.0
_REMEMBERED: Final = 10_000
_LIMITS: Final = {"pair": 5, "address": 30, "user": 100}
"""Failures within the window. A user alone has a high limit: no stranger shall lock somebody out."""


class Attempts:
    """Counts failed logins; times are seconds of any clock that only goes forward."""

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, str], list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, address: str, user: str, now_s: float) -> float:
        """Return how long to wait until the next try; 0 where it may be made at once."""
        with self._lock:
            return max(self._wait_s(key, now_s) for key in _keys(address, user))

    def failed(self, address: str, user: str, now_s: float) -> None:
        """Count a failure."""
        with self._lock:
            for key in _keys(address, user):
                recent = self._recent(key, now_s)[-_LIMITS[key[0]] :]
                self._failures[key] = [*recent, now_s]
                self._failures.move_to_end(key)
            while len(self._failures) > _REMEMBERED:
                self._failures.popitem(last=False)

    def succeeded(self, address: str, user: str) -> None:
        """Forget the failures of a user from an address."""
        with self._lock:
            self._failures.pop(_keys(address, user)[0], None)

    def _wait_s(self, key: tuple[str, str], now_s: float) -> float:
        recent, limit = self._recent(key, now_s), _LIMITS[key[0]]
        return 0.0 if len(recent) < limit else recent[-limit] + WINDOW_S - now_s

    def _recent(self, key: tuple[str, str], now_s: float) -> list[float]:
        return [each for each in self._failures.get(key, []) if each > now_s - WINDOW_S]


def _keys(address: str, user: str) -> tuple[tuple[str, str], ...]:
    return ("pair", f"{address} {user}"), ("address", address), ("user", user)
