"""Column types: times in UTC, and text that takes whatever a hostile data set holds, on both databases."""

import hashlib
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, Text
from sqlalchemy.types import TypeDecorator

TEXT_CHARACTERS: Final = 512
"""Longest text that is kept; four times that many bytes still fit an index row of PostgreSQL (2704)."""

KEY_CHARACTERS: Final = 255
"""Longest UID kept as it is; two of them in one index row stay under the same limit."""

RowId: Final = BigInteger().with_variant(Integer(), "sqlite")
"""64-bit row numbers; SQLite counts by itself only in a column called INTEGER, which has 64 bits there."""


def clean(text: str) -> str:
    """Drop NUL, which PostgreSQL refuses, and replace lone surrogates, which UTF-8 cannot say."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def clean_text(text: str) -> str:
    """Clean and cut to TEXT_CHARACTERS; the whole value is still in the received file."""
    cleaned = clean(text)
    return cleaned if len(cleaned) <= TEXT_CHARACTERS else cleaned[: TEXT_CHARACTERS - 1] + "…"


def clean_key(text: str) -> str:
    """Clean; a text too long for an index ends in its digest instead, so that two never become one."""
    cleaned = clean(text)
    if len(cleaned) <= KEY_CHARACTERS:
        return cleaned
    digest = hashlib.sha256(cleaned.encode()).hexdigest()
    return f"{cleaned[: KEY_CHARACTERS - len(digest) - 1]}#{digest}"


class CleanText(TypeDecorator[str]):
    """Text from a data set or a peer, cleaned on its way in and when it is compared."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Clean a value that goes to the database."""
        del dialect
        return None if value is None else clean_text(value)


class KeyText(TypeDecorator[str]):
    """A UID: text that identifies, cleaned on its way in and when it is compared."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Clean a value that goes to the database."""
        del dialect
        return None if value is None else clean_key(value)


class UtcDateTime(TypeDecorator[datetime]):
    """A time that comes back in UTC with its zone, also from SQLite, which keeps no zones.

    Raises ValueError for a time without a zone.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn a time into UTC, without its zone where the database has none."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone cannot be stored")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give a stored time its zone back."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
