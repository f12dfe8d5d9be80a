"""The wall clock, in one place: aware UTC times."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)
