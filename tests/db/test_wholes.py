"""Tests of what CT series are as wholes, in both databases."""

from dataclasses import replace
from typing import Any

import pytest

from db.pages import page
from db.queries import Filters, series_ids, series_rows
from db.records import Whole
from db.results import record_outcome
from db.session import Database
from tests.db.values import NOW, ROUTES, add_series, no_verdict, outcome

WHOLE = Whole(
    "chest", 0.9, "abdomen", 0.06, "coronal", "geometry", "coronal", 0.99, False, "with", 0.8, "ab" * 32
)
DOUBTED = replace(WHOLE, part=None, axis="axial", contrast=None, contradicts=True)


@pytest.fixture(autouse=True)
def _filled(database: Database) -> None:
    with database.session() as session:
        for number, whole in ((1, WHOLE), (2, DOUBTED), (3, None)):
            found = outcome() if number == 1 else no_verdict()
            record_outcome(session, add_series(session, number), replace(found, whole=whole), ROUTES, NOW)


def test_it_comes_back_as_it_was_stored(database: Database) -> None:
    """Every field of what a series is survives; a series without has none."""
    with database.reading() as session:
        rows = {row.series_id: row.whole for row in series_rows(session, Filters())}
        lines = {row.series_id: (row.part, row.axis, row.contrast) for row in page(session, Filters()).rows}
    assert rows == {1: WHOLE, 2: DOUBTED, 3: None}
    assert lines == {1: ("chest", "coronal", "with"), 2: (None, "axial", None), 3: (None, None, None)}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"part": "chest"}, [1]),
        ({"axis": "axial"}, [2]),
        ({"contrast": "with"}, [1]),
        ({"contrast": "without"}, []),
        ({"contradicts": True}, [2]),
        ({"axis": "coronal", "part": "pelvis"}, []),
    ],
)
def test_series_are_found_by_it(database: Database, asked: dict[str, Any], found: list[int]) -> None:
    """Filters find what holds all that is asked; pages find the same."""
    with database.reading() as session:
        assert series_ids(session, Filters(**asked)) == found
        assert [row.series_id for row in page(session, Filters(**asked)).rows] == found
