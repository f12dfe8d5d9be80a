"""Room on the disk: the floor that stays free, and the quota that the spool keeps to."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from node.board import Board, Column
from node.status import OUT_OF_RESOURCES, Rejection

HIGH_WATER: Final = 0.9
"""Share of the quota from which on room is made, so that a burst of images still finds some."""


class Room:
    """Tells whether another file may be written below a folder; safe for any number of threads.

    With a board that processes share, quota and reservations are those of all of them together.
    """

    def __init__(
        self,
        folder: Path,
        minimum_free_bytes: int,
        quota_bytes: int | None = None,
        board: Board | None = None,
    ) -> None:
        self._folder = folder
        self._minimum_free_bytes = minimum_free_bytes
        self._quota_bytes = quota_bytes
        self._board = board or Board()
        self._lock = threading.Lock()

    def share(self, board: Board) -> None:
        """Write to this board from here on, and take along what was written; before any file is."""
        with self._lock:
            for column in (Column.USED, Column.REFUSED_AT_MS):
                board.put(column, self._board.own(column))
            self._board = board

    @contextmanager
    def reserved(self, size_bytes: int) -> Iterator[None]:
        """Hold room for a file while it is written; raises Rejection 0xA700 where there is none.

        Without the reservation many associations could pass the floor together.
        """
        with self._lock:
            self._board.add(Column.UNDER_WAY, size_bytes)
            under_way_bytes = self._board.total(Column.UNDER_WAY)
        try:
            if self.free_bytes() - under_way_bytes < self._minimum_free_bytes:
                raise Rejection(OUT_OF_RESOURCES, "the spool's disk is under its floor")
            if self._quota_bytes is not None and self._used_bytes + under_way_bytes > self._quota_bytes:
                with self._lock:
                    self._board.put(Column.REFUSED_AT_MS, int(time.monotonic() * 1000))
                raise Rejection(OUT_OF_RESOURCES, "the spool has reached its quota")
            yield
        finally:
            with self._lock:
                self._board.add(Column.UNDER_WAY, -size_bytes)

    def quota_refused(self, within_s: float) -> bool:
        """Tell whether a file was refused for the quota's sake within the last so many seconds."""
        last_ms = max(self._board.column(Column.REFUSED_AT_MS))
        return last_ms > 0 and time.monotonic() - last_ms / 1000 < within_s

    @property
    def _used_bytes(self) -> int:
        return max(0, self._board.total(Column.USED))

    def free_bytes(self) -> int:
        """Return how many bytes the file system has left."""
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    def changed(self, bytes_more: int) -> None:
        """Note what was written, or with a negative number what was removed."""
        with self._lock:
            self._board.add(Column.USED, bytes_more)

    def measure(self) -> int:
        """Count what lies below the folder and return it, in bytes; writers need not stand still."""
        before = self._board.total(Column.USED)
        found = sum(_sizes(self._folder))
        self.changed(found - before)
        return self._used_bytes

    def short(self) -> bool:
        """Tell whether the spool comes near its quota, or the disk near its floor."""
        near = self._quota_bytes is not None and self._used_bytes > HIGH_WATER * self._quota_bytes
        return near or self.free_bytes() < self._minimum_free_bytes / HIGH_WATER


def _sizes(folder: Path) -> Iterator[int]:
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                yield (Path(path) / name).stat().st_size
            except FileNotFoundError:  # removed since it was listed
                continue
