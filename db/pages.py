"""Pages of a long list of series: filtered, sorted, counted, and read on from where the last page ended.

A page never skips rows: it asks for what follows the last line of the page before, by an index (keyset
paging), so page 10 000 costs what the first one does. How to ask depends on how many series match, and that
is counted first, up to CAP, because neither database can be trusted to guess it (SQLite knows averages only):

- few: the matching ones are looked up by the filters' indexes and sorted;
- many: the index of the order is walked, and what does not match is skipped, which is seldom.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, CompoundSelect, Select, func, literal, select, tuple_, union_all
from sqlalchemy.orm import Session

from db.cursors import Order, Place, Sorting, decoded, encoded
from db.queries import Filters, conditions, said
from db.rows import spans
from db.states import State
from db.tables import Series, SpanRow
from db.unindexed import Chooser, indexed, unindexed
from db.wholes import WholeRow
from db.words import SERIES_TEXT, Number, matches
from rules.verdict import Span

CAP: Final = 5_000
"""As far as matching series are counted; a person reads no more, and half a per cent of a million is many."""
MAXIMUM_SIZE: Final = 500

_VALUES: Final[dict[Order, ColumnElement[Any]]] = {
    Order.STUDY_DATE: Series.study_date.expression,
    Order.PATIENT: Series.patient_name.expression,
    Order.CONFIDENCE: Series.confidence.expression,
}


@dataclass(frozen=True, slots=True)
class SeriesLine:
    """A series in a list: everything of `SeriesRow` that stands in one row, and the spans.

    `registered` counts all files that ever came. `part`, `axis` and `contrast` are those of db.records.Whole.
    """

    series_id: int
    state: str
    changed_at: datetime
    received_at: datetime
    registered: int
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    modality: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    study_description: str
    series_description: str
    incoming_body_part: str
    incoming_laterality: str
    calling_ae_title: str
    manufacturer: str
    decided_at: datetime | None
    term: str | None
    code_value: str | None
    code_meaning: str | None
    radiograph_group: str | None
    confidence: float | None
    rule: str | None
    flags: tuple[str, ...]
    disagrees: bool | None
    review: bool
    reason: str | None
    failure: str | None
    weights_digest: str | None
    software_version: str | None
    correction_id: int | None
    corrected_term: str | None
    part: str | None
    axis: str | None
    contrast: str | None
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list; `next_cursor` is None on the last one. `total` is exact, or means 'at least'."""

    rows: tuple[SeriesLine, ...]
    next_cursor: str | None
    total: int
    exact: bool


_FIELDS: Final = SeriesLine.__dataclass_fields__
_WHOLE: Final = ("part", "axis", "contrast")
_PARTS: Final = frozenset({"series_id", "flags", "spans", *_WHOLE})
_COLUMNS: Final = tuple(getattr(Series, name) for name in _FIELDS if name not in _PARTS)
_WHOLE_COLUMNS: Final = tuple(getattr(WholeRow, name) for name in _WHOLE)


def page(
    session: Session,
    filters: Filters,
    sorting: Sorting = Sorting(),  # noqa: B008 - frozen
    cursor: str | None = None,
    size: int = 50,
) -> Page:
    """Return a page of the matching series; `filters.limit` is not looked at.

    Raises CursorError for a cursor of another order, ValueError for a size beyond MAXIMUM_SIZE.
    """
    if not 1 <= size <= MAXIMUM_SIZE:
        raise ValueError(f"a page has 1 to {MAXIMUM_SIZE} lines")
    after = None if cursor is None else decoded(cursor, sorting)
    total = count(session, filters)
    found = _places(session, filters, sorting, after, size + 1, few=total < CAP)
    more = len(found) > size
    rows = lines(session, [place.series_id for place in found[:size]])
    return Page(rows, encoded(sorting, found[size - 1]) if more else None, total, total < CAP)


def every(session: Session, filters: Filters) -> Iterator[SeriesLine]:
    """Yield all matching series, the latest first, a page at a time."""
    few, after = count(session, filters) < CAP, None
    while found := _places(session, filters, Sorting(), after, MAXIMUM_SIZE, few):
        yield from lines(session, [place.series_id for place in found])
        after = found[-1]


def count(session: Session, filters: Filters) -> int:
    """Count the matching series, up to CAP."""
    few = _candidates(filters).limit(CAP).subquery()
    return session.scalar(select(func.count()).select_from(few)) or 0


def lines(session: Session, series_ids: Sequence[int]) -> tuple[SeriesLine, ...]:
    """Return series by their numbers, in that order; those that do not exist are left out."""
    wanted = select(Series.id).where(Series.id.in_(series_ids))
    columns = (Series.id.label("series_id"), Series.flags, *_COLUMNS, *_WHOLE_COLUMNS)
    joined = select(*columns).outerjoin(WholeRow, WholeRow.series_id == Series.id)
    rows = session.execute(joined.where(Series.id.in_(series_ids)))
    all_spans = spans(session, wanted)
    found = {
        row["series_id"]: SeriesLine(
            **{**row, "flags": tuple(row["flags"])}, spans=all_spans.get(row["series_id"], ())
        )
        for row in rows.mappings()
    }
    return tuple(found[series_id] for series_id in series_ids if series_id in found)


def _candidates(filters: Filters, *columns: ColumnElement[Any]) -> Select[Any]:
    """Ask for the matching series in no order, so that it can be answered by the filters' own indexes."""
    if _words_alone(filters) and not columns:
        return _by_words(filters)
    if filters.region is not None and not _selective(filters):
        rest = replace(filters, region=None)
        shown = _showing(filters.region).subquery()
        joined = select(Series.id, *columns).select_from(shown).join(Series, Series.id == shown.c.series_id)
        return joined.where(*conditions(rest, unindexed))
    return select(Series.id, *columns).where(*_asked(filters, indexed))


def _selective(filters: Filters) -> bool:
    """Tell whether something is asked for that fewer series have than show a region."""
    few = (filters.study, filters.series, filters.patient, filters.text, filters.term, filters.source)
    since = (filters.date_from, filters.date_to, filters.received_from, filters.received_to)
    rare = filters.state not in (None, State.DELIVERED) or bool(filters.corrected)
    return rare or any(one is not None for one in (*few, *since, filters.review_below))


def _asked(filters: Filters, of: Chooser) -> list[ColumnElement[bool]]:
    """Return the conditions; whether a series shows a region is looked up series by series."""
    asked = list(conditions(replace(filters, region=None), of))
    if filters.region is not None:
        mine = SpanRow.series_id == Series.id
        shown = select(literal(1)).where(mine, SpanRow.region == filters.region).exists()
        asked.append(shown | said(filters.region))
    return asked


def _showing(region: str) -> CompoundSelect[Any]:
    """Ask for the series that show a region: by their verdicts, and by corrections alone."""
    of = SpanRow.series_id == Series.id
    there = select(literal(1)).where(of, SpanRow.region == region).exists()
    verdicts = select(SpanRow.series_id).where(SpanRow.region == region).distinct()
    return union_all(verdicts, select(Series.id).where(said(region), ~there))


def _words_alone(filters: Filters) -> bool:
    """Tell whether words are all that is asked for."""
    return filters.text is not None and replace(filters, text=None, limit=None) == Filters()


def _by_words(filters: Filters) -> Select[Any]:
    """Ask for the series that have the words; beside other filters the planner of SQLite goes astray."""
    return select(Number().label("id")).select_from(SERIES_TEXT).where(matches(filters.text or ""))


def _walked(filters: Filters, *columns: ColumnElement[Any]) -> Select[Any]:
    """Ask for the matching series so that an index of the order can be walked, most of which match."""
    return select(Series.id, *columns).where(*_asked(filters, unindexed))


def _places(
    session: Session, filters: Filters, sorting: Sorting, after: Place | None, size: int, few: bool
) -> list[Place]:
    """Return the places of the next lines: those with a value first, then those without."""
    value = _VALUES.get(sorting.order)
    columns = () if value is None else (value.label("value"),)
    wanted: Select[Any]
    number: ColumnElement[int]
    if few:
        found = _candidates(filters, *columns).limit(CAP).subquery()
        wanted, number = select(*found.c), found.c.id
        value = None if value is None else found.c.value
    elif _words_alone(filters) and value is None:
        wanted, number = _by_words(filters), Number()  # the words' own index has that order
    else:
        wanted, number = _walked(filters, *columns), Series.id.expression
    if value is None:
        rows = session.execute(_following(wanted, number, sorting, after).limit(size))
        return [Place(None, row[0]) for row in rows]
    places: list[Place] = []
    if after is None or after.value is not None:
        with_value = _following(wanted.where(value.is_not(None)), number, sorting, after, value)
        places = [Place(row[1], row[0]) for row in session.execute(with_value.limit(size))]
        after = None
    if len(places) < size and sorting.order is Order.CONFIDENCE:
        without = _following(wanted.where(value.is_(None)), number, sorting, after)
        places += [Place(None, row[0]) for row in session.execute(without.limit(size - len(places)))]
    return places


def _following(
    wanted: Select[Any],
    number: ColumnElement[int],
    sorting: Sorting,
    after: Place | None,
    value: ColumnElement[Any] | None = None,
) -> Select[Any]:
    """Order a question, and begin after a place."""
    keys: list[ColumnElement[Any]] = [number] if value is None else [value, number]
    if after is not None:
        last: list[Any] = [after.series_id] if value is None else [after.value, after.series_id]
        here, there = (keys[0], last[0]) if value is None else (tuple_(*keys), tuple_(*map(literal, last)))
        wanted = wanted.where(here < there if sorting.descending else here > there)
    return wanted.order_by(*(key.desc() if sorting.descending else key.asc() for key in keys))
