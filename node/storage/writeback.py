"""Begins to write a file's pages to the disk, without waiting for them.

Python has no call for it. Where the C library has none either, as on other systems than Linux, nothing is
begun, and a later fsync takes as long as ever. Source: sync_file_range(2), which makes nothing durable.
"""

import ctypes
from collections.abc import Callable
from typing import Final

_WRITE: Final = 2
"""SYNC_FILE_RANGE_WRITE."""


def _found() -> Callable[[int, int, int, int], int] | None:
    try:
        found = ctypes.CDLL(None).sync_file_range
    except (AttributeError, OSError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    call: Callable[[int, int, int, int], int] = found
    return call


_CALL: Final = _found()


def begin(handle: int, offset: int, size_bytes: int) -> None:
    """Have so many bytes written from `offset` on; an error is met again by fsync."""
    if _CALL is not None and size_bytes:
        _CALL(handle, offset, size_bytes, _WRITE)
