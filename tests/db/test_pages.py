"""Pages of a long list: every order, every filter, both ways of asking, and cursors that are not trusted."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.orm import Session

from db import pages
from db.cursors import CursorError, Order, Sorting
from db.pages import Page, page
from db.queries import Filters
from db.results import record_outcome
from db.session import Database
from tests.db.values import NOW, ROUTES, add_series, no_verdict, outcome

SORTINGS = [Sorting(order, descending) for descending in (True, False) for order in Order]
NAMES = ("Doe^Jane", "Müller^Ann", "doe^Bo", "Smith_J", "", "Łukasz^Jan")


def _fill(session: Session) -> None:
    """Store twelve series: CT and MR, with and without verdict, some sure and some not."""
    for number in range(1, 13):
        series_id = add_series(
            session,
            number,
            1,
            modality="CT" if number % 3 else "MR",
            patient_name=NAMES[number % len(NAMES)],
            study_date=f"202401{number % 4:02}" if number % 4 else "",
            series_description="Knee axial 5mm" if number % 2 else "thorax",
        )
        found = outcome(1, number)
        assert found.verdict is not None
        verdict = replace(found.verdict, confidence=(number % 5) / 5, flags=("f",) if number == 7 else ())
        if number != 11:
            found = no_verdict() if number % 4 == 0 else replace(found, verdict=verdict)
            record_outcome(session, series_id, found, ROUTES, NOW)


def _walk(session: Session, filters: Filters, sorting: Sorting, size: int = 5) -> list[Page]:
    found = [page(session, filters, sorting, None, size)]
    while (cursor := found[-1].next_cursor) is not None:
        found.append(page(session, filters, sorting, cursor, size))
    return found


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(), set(range(1, 13))),
        (Filters(modality="MR"), {3, 6, 9, 12}),
        (Filters(text="kne"), {1, 3, 5, 7, 9, 11}),
        (Filters(text="kne mr"), {3, 9}),
        (Filters(text="muller"), {1, 7}),
        (Filters(text="LUKASZ jan"), {5, 11}),
        (Filters(text="chest 5mm", modality="CT"), {1, 5, 7, 11}),
        (Filters(text="&%*'\""), set()),
        (Filters(region="chest"), {1, 2, 3, 5, 6, 7, 9, 10}),
        (Filters(region="chest", modality="MR"), {3, 6, 9}),
        (Filters(term="CHEST", text="thorax"), {2, 6, 10}),
        (Filters(term="unknown"), set()),
        (Filters(review_below=0.25), {1, 5, 6, 7, 10}),
        (Filters(patient="DOE*"), {2, 6, 8, 12}),
        (Filters(source="ELSEWHERE"), set()),
    ],
)
def test_every_way_of_asking_finds_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch, filters: Filters, found: set[int]
) -> None:
    """In each order every match comes exactly once, sorted, whether the index or the filter is walked."""
    with database.session() as session:
        _fill(session)
    for sorting in SORTINGS[::3]:
        walks = []
        for cap in (100, 1):
            monkeypatch.setattr(pages, "CAP", cap)
            with database.reading() as session:
                walks.append(_walk(session, filters, sorting))
        few, many = ([row.series_id for each in walk for row in each.rows] for walk in walks)
        assert few == many
        assert sorted(few) == sorted(found)
        assert (walks[0][0].total, walks[0][0].exact) == (len(found), True)
        assert walks[1][0].exact == (not found)


@pytest.mark.parametrize("sorting", SORTINGS, ids=str)
def test_lines_are_sorted(database: Database, sorting: Sorting) -> None:
    """Values ascend or descend; those without one come last; equal ones keep the order of arrival."""
    with database.session() as session:
        _fill(session)
        rows = [row for each in _walk(session, Filters(), sorting, 5) for row in each.rows]
    known: dict[Order, list[Any]] = {
        Order.RECEIVED: [(row.series_id,) for row in rows],
        Order.CONFIDENCE: [(row.confidence, row.series_id) for row in rows if row.confidence is not None],
        Order.STUDY_DATE: [(row.study_date, row.series_id) for row in rows],
    }
    keys = known.get(sorting.order)
    if keys is not None:  # names are sorted as each database's collation has it
        assert keys == sorted(keys, reverse=sorting.descending)
    if sorting.order is Order.CONFIDENCE:
        assert [row.confidence for row in rows[-4:]] == [None] * 4
        assert rows[0].confidence is not None


def test_a_line_holds_its_spans(database: Database) -> None:
    """A line has what the list shows, without a question for each series."""
    with database.session() as session:
        _fill(session)
        rows = page(session, Filters(), size=12).rows
    assert [len(row.spans) for row in rows if row.term] == [1] * 8
    assert (rows[-1].registered, rows[-1].review, rows[-1].flags) == (1, False, ())
    assert [row.series_id for row in rows if row.review] == [7]


def _forged(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "%%%", "A" * 3000, _forged(), _forged("received", 1, None), _forged("received", 1, "x", 3),
     _forged("received", 1, None, "3"), _forged("received", 1, None, True), _forged("received", 0, None, 3),
     _forged("received", 1, None, -1), _forged("received", 1, None, 2**63), _forged("confidence", 1, 0.5, 3),
     _forged(["received"], 1, None, 3)],
)  # fmt: skip
def test_a_cursor_is_not_trusted(database: Database, cursor: str) -> None:
    """What is no cursor of this list is refused with a sentence, whatever it holds."""
    with database.reading() as session, pytest.raises(CursorError, match="begin at the first page"):
        page(session, Filters(), cursor=cursor)


def test_pages_have_a_size(database: Database) -> None:
    """A page of nothing or of everything is not made."""
    for size in (0, 501):
        with database.reading() as session, pytest.raises(ValueError, match="1 to 500"):
            page(session, Filters(), size=size)
