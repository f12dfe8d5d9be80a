"""What a reader asks of a list: the fields of the address, read into filters; what cannot be read is said."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final
from urllib.parse import urlencode

from db.cursors import Order, Sorting
from db.queries import Filters
from db.states import STORED
from model.radiographs import KNOWN_KEYS
from model.regions import UNKNOWN
from model.series_labels import AXES, CONTRASTS, PARTS

LONGEST: Final = 200
"""Characters of a field that are looked at."""

STATES: Final = {
    "stable": "waiting",
    "classified": "delivering",
    "delivered": "delivered",
    "failed": "failed",
}
TAGS: Final = {"wrong": "wrong", "right": "right"}
ORDERS: Final = {
    "received": "received, newest first",
    "received-up": "received, oldest first",
    "study_date": "study date, newest first",
    "patient-up": "patient",
    "confidence-up": "least sure first",
}
REGIONS: Final = (*KNOWN_KEYS, UNKNOWN)


Reader = Callable[[str], dict[str, Any]]


@dataclass(frozen=True)
class Asked:
    """A question: `fields` are those that were filled in, `mistakes` sentences about those left out."""

    filters: Filters
    sorting: Sorting
    cursor: str | None
    fields: Mapping[str, str] = field(default_factory=dict)
    mistakes: tuple[str, ...] = ()

    def address(self, path: str, **changes: str | None) -> str:
        """Return the address of the same question with changes; None takes a field away."""
        merged: dict[str, str | None] = {**self.fields, **changes}
        query = urlencode({name: value for name, value in merged.items() if value})
        return f"{path}?{query}" if query else path


def question(given: Mapping[str, str], **fixed: Any) -> Asked:
    """Read the fields of an address; `fixed` filters are those of the page itself."""
    fields = {name: given[name].strip()[:LONGEST] for name in _READERS if given.get(name, "").strip()}
    filters, mistakes = dict(fixed), []
    for name, value in fields.items():
        try:
            filters |= _READERS[name](value)
        except ValueError:
            mistakes.append(f"“{value}” is no {name.replace('_', ' ')}.")
    order = given.get("order", "") if given.get("order", "") in ORDERS else "received"
    if order != "received":
        fields["order"] = order
    sorting = Sorting(Order(order.removesuffix("-up")), descending=not order.endswith("-up"))
    return Asked(Filters(**filters), sorting, given.get("cursor") or None, fields, tuple(mistakes))


def _one_of(name: str, known: Mapping[str, Any] | tuple[str, ...]) -> Reader:
    def read(value: str) -> dict[str, Any]:
        if value not in known:
            raise ValueError
        return {name: value}

    return read


def _day(name: str) -> Reader:
    return lambda value: {name: date.fromisoformat(value)}


def _tag(value: str) -> dict[str, Any]:
    if value not in TAGS:
        raise ValueError
    return {"disagreement": value == "wrong"}


_READERS: Final[dict[str, Reader]] = {
    "text": lambda value: {"text": value},
    "modality": lambda value: {"modality": value.upper()},
    "region": _one_of("region", REGIONS),
    "state": _one_of("state", tuple(str(state) for state in STORED)),
    "tag": _tag,
    "source": lambda value: {"source": value},
    "part": _one_of("part", PARTS),
    "axis": _one_of("axis", AXES),
    "contrast": _one_of("contrast", CONTRASTS),
    "date_from": _day("date_from"),
    "date_to": _day("date_to"),
}
