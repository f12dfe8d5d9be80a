"""Cursors: where a page of a list ended, as a text that a program hands back for the next page."""

import base64
import binascii
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_MAXIMUM: Final = 2000


class CursorError(ValueError):
    """A cursor was not made for this list; the message is one sentence."""


class Order(StrEnum):
    """What a list of series may be sorted by; series without a confidence come last in both directions."""

    RECEIVED = "received"
    STUDY_DATE = "study_date"
    PATIENT = "patient"
    CONFIDENCE = "confidence"


@dataclass(frozen=True, slots=True)
class Sorting:
    """The order of a list; equal ones in that of their arrival."""

    order: Order = Order.RECEIVED
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Place:
    """The last line of a page: what it is sorted by (None where it has none) and the series' number."""

    value: str | float | None
    series_id: int


def encoded(sorting: Sorting, place: Place) -> str:
    """Return the cursor for what follows a place."""
    plain = [sorting.order, int(sorting.descending), place.value, place.series_id]
    return base64.urlsafe_b64encode(json.dumps(plain).encode()).decode().rstrip("=")


def decoded(cursor: str, sorting: Sorting) -> Place:
    """Return the place that a cursor names. Raises CursorError unless it was made for this order."""
    wrong = CursorError("the cursor does not belong to this list; begin at the first page")
    try:
        if len(cursor) > _MAXIMUM:
            raise wrong
        plain = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
        order, descending, value, series_id = plain
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise wrong from None
    kind: type | tuple[type, ...] = str
    if sorting.order is Order.RECEIVED:
        kind = type(None)
    elif sorting.order is Order.CONFIDENCE:
        kind = (float, type(None))
    whole = isinstance(series_id, int) and not isinstance(series_id, bool) and 0 <= series_id < 2**63
    if (order, descending) != (sorting.order, int(sorting.descending)) or not isinstance(value, kind):
        raise wrong
    if not whole or not isinstance(value, str | float | None) or value != value:
        raise wrong
    return Place(value, series_id)
