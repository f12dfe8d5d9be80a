"""Attribute values as plain Python, tolerant of what real files hold: damaged is missing."""

import math
import struct
import zlib
from collections.abc import Iterable
from functools import cache
from typing import Final

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.tag import BaseTag

BROKEN: Final = (
    ArithmeticError, AttributeError, BytesLengthException, EOFError, InvalidDicomError, LookupError,
    MemoryError, NotImplementedError, OSError, RecursionError, RuntimeError, StopIteration, TypeError,
    ValueError, struct.error, zlib.error,
)  # fmt: skip
"""What pydicom and its decoders raise on damaged input; they document no narrower set."""

_PLAIN: Final = frozenset({"CS", "DS", "LO", "SH", "UI"})
"""Value representations whose bytes, where they are ASCII without escapes, are the text (PS3.5 6.1, 6.2)."""
_ESCAPE: Final = b"\x1b"
_US_BYTES: Final = 2


def _value(ds: Dataset, keyword: str) -> object:
    """Return an element's value, None where it is missing, empty or cannot be converted."""
    try:
        value = ds.get(keyword)
    except BROKEN:
        return None
    return None if value == "" else value


def texts(ds: Dataset, keyword: str) -> tuple[str, ...]:
    """Return a text attribute's values; bytes of a wrong VR are read as Latin-1."""
    found = _plain(ds, keyword)
    if found is not None:
        return found
    value = _value(ds, keyword)
    if value is None:
        return ()
    if isinstance(value, bytes):
        value = value.decode("latin-1").split("\\")
    values = value if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    return tuple(str(item).strip(" \0") for item in values)


def _plain(ds: Dataset, keyword: str) -> tuple[str, ...] | None:
    """Return the values of an element that was read and not looked at yet, None where the library has to.

    Half of the time of reading a header would be the library's objects for values that are only text.
    """
    tag = _tag(keyword)
    raw: object = ds.get_item(tag) if tag in ds else None
    if not isinstance(raw, RawDataElement) or not raw.value:
        return None
    value = bytes(raw.value)
    if raw.VR == "US" and len(value) == _US_BYTES:
        return (str(int.from_bytes(value, "little" if raw.is_little_endian else "big")),)
    if raw.VR not in _PLAIN or not value.isascii() or _ESCAPE in value:
        return None
    return tuple(item.strip(" \0") for item in value.decode("ascii").split("\\"))


@cache
def _tag(keyword: str) -> BaseTag:
    found = tag_for_keyword(keyword)
    if found is None:
        raise LookupError(f"there is no attribute {keyword}")
    return BaseTag(found)


def text(ds: Dataset, keyword: str) -> str:
    """Return a text attribute as one string, several values joined by a backslash."""
    return "\\".join(texts(ds, keyword))


def numbers(ds: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return exactly `count` finite numbers, None for anything else."""
    try:
        values = tuple(float(item) for item in texts(ds, keyword))
    except ValueError:
        return None
    return values if len(values) == count and all(map(math.isfinite, values)) else None


def integer(ds: Dataset, keyword: str, default: int = 0) -> int:
    """Return one whole number, `default` for anything else."""
    found = numbers(ds, keyword, 1)
    return default if found is None else int(found[0])


def cause(error: BaseException) -> str:
    """Return an error's text as one line of at most 200 characters, for the end of a sentence."""
    line = " ".join(str(error).split()) or type(error).__name__
    line = line.removeprefix("Unable to decode as exceptions were raised by all available plugins: ")
    return line[:200].rstrip(". ")
