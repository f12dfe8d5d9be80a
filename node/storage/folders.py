"""The folders of series, held open: each made once so that it survives a power cut, and named into by handle.

A name that is given by the handle is given in the very folder that was made durable: where another process
removed it and made one of the same path, which need not be durable yet, that fails and is tried anew.
"""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

_MOST: Final = 128
"""Handles that are kept; who receives more series at once opens some of them again."""
_TRIES: Final = 3
_GONE: Final = (errno.ENOENT, errno.ESTALE)
"""What a removed folder answers; the second one over NFS."""

T = TypeVar("T")


class _Open:
    """An open folder, closed when nobody has it any more."""

    def __init__(self, path: Path) -> None:
        self.users = 0
        self.handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be opened
            os.close(self.handle)


class SeriesFolders:
    """The folders `<study>/<series>` below a root; safe for any number of threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, _Open] = {}
        self._lock = threading.Lock()

    def naming(self, name: str, give: Callable[[int], T]) -> T:
        """Call `give` with the handle of a folder; again where retention removed something meanwhile.

        Retention of another process may also have removed the folder.
        """
        for last in (False,) * (_TRIES - 1) + (True,):
            try:
                with self._held(name) as handle:
                    return give(handle)
            except OSError as error:
                if last or error.errno not in _GONE:
                    raise
                with self._lock:
                    self._open.pop(name, None)
        raise AssertionError  # the last one returns or raises

    def remove_empty(self, name: str) -> None:
        """Remove the folder of a series, and that of its study, if nothing is in them or about to be."""
        folder = self._root / name
        with self._lock, suppress(OSError):
            held = self._open.get(name)
            if held is not None and held.users:
                return
            folder.rmdir()
            self._open.pop(name, None)
            folder.parent.rmdir()

    @contextmanager
    def _held(self, name: str) -> Iterator[int]:
        """Have a folder while it is used; others that need it wait until it is made."""
        with self._lock:
            held = self._open.get(name) or self._made(name)
            held.users += 1
        try:
            yield held.handle
        finally:
            with self._lock:
                held.users -= 1

    def _made(self, name: str) -> _Open:
        folder = self._root / name
        folder.mkdir(parents=True, exist_ok=True)
        made = _Open(folder)
        for parent in (folder.parent, self._root):
            fsync_folder(parent)
        if len(self._open) >= _MOST:
            del self._open[next(iter(self._open))]
        self._open[name] = made
        return made


def fsync_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
