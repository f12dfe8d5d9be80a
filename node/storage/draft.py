"""A draft: an instance on its way into the spool, written while it comes."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from node.status import OUT_OF_RESOURCES, Rejection
from node.storage import writeback
from node.storage.room import Room

_PIECE_BYTES: Final = 32768
"""What is written at a time, whole pages of memory: of a page that is written in part the kernel clears the
rest. Runs of eight pages it has at hand; for longer ones it may look for free memory, which costs several
times the copying."""
_BEGUN_BYTES: Final = 8 * _PIECE_BYTES
"""After how much the disk begins to write: it is done with most of it once the rest is there."""


class Draft:
    """An instance while it is written, its data set piece by piece; without a name it is gone at the end.

    What went wrong is raised by `finished`, so that a sender may be heard to the end before it is refused.
    """

    def __init__(self, path: str, room: Room, meta: bytes) -> None:
        self.path = path
        self.data_bytes = 0
        self._room = room
        self._tail = bytearray(meta)  # what does not fill a piece yet
        self._file_bytes = 0
        self._begun_bytes = 0
        self._handle: int | None = None
        self._failure: Rejection | None = None
        self._kept = False
        self._attempt(self._begin)

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, piece: memoryview) -> None:
        """Write a piece of the data set as it was received."""
        self.data_bytes += len(piece)
        self._attempt(self._write, piece)

    def finished(self, data: memoryview) -> str:
        """Sync the file and return the SHA-256 of the data set; raises Rejection 0xA700 where it failed.

        `data` is what was added; it is digested while the disk writes.
        """
        if len(data) != self.data_bytes:
            raise ValueError("the data set is not the one that was added")
        self._attempt(self._end)
        digest = hashlib.sha256(data).hexdigest()
        self._attempt(self._sync)
        if self._failure is not None:
            raise self._failure
        return digest

    def kept(self) -> None:
        """Note that the file has a name by which it stays."""
        self._kept = True

    def close(self) -> None:
        """Give up what has no other name."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
            Path(self.path).unlink(missing_ok=True)
            if not self._kept:
                self._room.changed(-self._file_bytes)

    @property
    def _open(self) -> int:
        if self._handle is None:
            raise ValueError("the draft is closed")
        return self._handle

    def _begin(self) -> None:
        self._handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def _attempt(self, step: Callable[..., None], *arguments: memoryview) -> None:
        """Take a step unless one before it failed."""
        if self._failure is not None:
            return
        try:
            step(*arguments)
        except Rejection as rejection:
            self._failure = rejection
        except OSError as error:
            self._failure = cannot_write(error)

    def _write(self, piece: memoryview) -> None:
        start = min(len(piece), max(0, _PIECE_BYTES - len(self._tail)))
        self._tail += piece[:start]
        if len(self._tail) < _PIECE_BYTES:
            return
        whole = start + (len(piece) - start) // _PIECE_BYTES * _PIECE_BYTES
        with self._counted(len(self._tail) + whole - start):
            self._put(self._tail)
            for offset in range(start, whole, _PIECE_BYTES):
                self._put(piece[offset : offset + _PIECE_BYTES])
        self._tail[:] = piece[whole:]
        if self._file_bytes - self._begun_bytes >= _BEGUN_BYTES:
            self._have_written()

    def _end(self) -> None:
        with self._counted(len(self._tail)):
            self._put(self._tail)
        self._have_written()

    def _have_written(self) -> None:
        """Have the disk begin with what it has not begun with."""
        writeback.begin(self._open, self._begun_bytes, self._file_bytes - self._begun_bytes)
        self._begun_bytes = self._file_bytes

    def _sync(self) -> None:
        _sync(self._open)

    @contextmanager
    def _counted(self, size_bytes: int) -> Iterator[None]:
        """Hold room for what is about to be written, and count what was."""
        before = self._file_bytes
        with self._room.reserved(size_bytes):
            try:
                yield
            finally:
                self._room.changed(self._file_bytes - before)

    def _put(self, piece: bytearray | memoryview) -> None:
        """Write all of a piece; a disk that fills up takes a part at first."""
        done = os.write(self._open, piece)
        self._file_bytes += done
        if done < len(piece):
            with memoryview(piece) as view:
                self._put(view[done:])


def cannot_write(error: OSError) -> Rejection:
    """Return the answer to a sender whose instance met this error."""
    return Rejection(OUT_OF_RESOURCES, f"the spool cannot write: {error.strerror}")


def _sync(handle: int) -> None:
    os.fsync(handle)
