"""The questions of the page: filters, lines, images, counts."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import event

from db.deliveries import due, succeeded
from db.queries import Filters, counts_by_state, image_rows, pending_by_destination, series_ids, series_rows
from db.records import ImageResult
from db.results import record_outcome
from db.series import register
from db.session import Database
from rules.verdict import Span
from tests.db.values import (
    MINUTE,
    NOW,
    ROUTES,
    add_classified,
    add_series,
    instance,
    no_verdict,
    outcome,
    series_facts,
)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(), [3, 2, 1]),
        (Filters(limit=2), [3, 2]),
        (Filters(patient="P1"), [1]),
        (Filters(patient="p1"), []),
        (Filters(patient="P?"), [3, 2, 1]),
        (Filters(patient="doe*"), [3, 1]),
        (Filters(patient="%"), []),
        (Filters(patient="*_*"), [2]),
        (Filters(patient="P1\x00"), [1]),
        (Filters(study="1.2.2"), [2]),
        (Filters(series="1.2.3.1"), [3]),
        (Filters(region="chest"), [1]),
        (Filters(region="head"), []),
        (Filters(modality="MR"), [2]),
        (Filters(state="stable"), [3]),
        (Filters(state="classified", modality="CT"), [1]),
        (Filters(date_from=date(2024, 1, 2)), [2, 1]),
        (Filters(date_to=date(2024, 1, 2)), [1]),
        (Filters(date_from=date(2024, 1, 2), date_to=date(2024, 2, 1)), [2, 1]),
        (Filters(received_from=NOW + MINUTE), []),
        (Filters(received_from=NOW, received_to=NOW + MINUTE), [3, 2, 1]),
        (Filters(received_to=NOW), []),
        (Filters(disagreement=True), [1]),
        (Filters(disagreement=False), []),
    ],
)
def test_filters(database: Database, filters: Filters, found: list[int]) -> None:
    """Each filter finds its series, the latest first, on both databases alike."""
    with database.session() as session:
        add_classified(session, 1, incoming_body_part="HEAD")
        second = add_series(session, 2, modality="MR", patient_name="Smith_J", study_date="20240201")
        add_series(session, 3, study_date="")
        record_outcome(session, second, no_verdict(), ROUTES, NOW)
    with database.reading() as session:
        assert series_ids(session, filters) == found
        assert [row.series_id for row in series_rows(session, filters)] == found


def test_a_line_counts_what_became_of_the_images(database: Database) -> None:
    """Classified, passed on by reason, late and conflicting instances are counted apart."""
    images = (
        ImageResult("1.2.1.1.1", "chest", 0.9, 1.0, None),
        ImageResult("1.2.1.1.2", None, None, None, "localizer"),
        ImageResult("1.2.1.1.3", None, None, None, "localizer"),
        ImageResult("1.2.1.1.4", None, None, None, "coronal plane"),
    )
    with database.session() as session:
        series_id = add_series(session, count=4)
        record_outcome(session, series_id, replace(outcome(), images=images), ROUTES, NOW)
        others = [instance(5), instance(1, path="copy"), instance(1, path="other", content="other")]
        register(session, series_facts(), others, ROUTES, NOW)
        add_series(session, 2, count=2)
        waiting, row = series_rows(session, Filters())
    assert (row.instances, row.classified, row.unjudged, row.conflicts) == (5, 1, 1, 1)
    assert row.passed_on == (("localizer", 2), ("coronal plane", 1))
    assert (waiting.instances, waiting.classified, waiting.unjudged, waiting.conflicts) == (2, 0, 2, 0)
    assert (waiting.spans, waiting.deliveries, waiting.term, waiting.flags) == ((), (), None, ())


def test_a_series_with_two_spans_of_a_region_is_found_once(database: Database) -> None:
    """Spans keep the verdict's order, and do not double their series."""
    verdict = outcome().verdict
    assert verdict is not None
    regions = (Span("chest", 0, 10, 3, 0.9), Span("neck", 10, 20, 2, 0.8), Span("chest", 20, 30, 1, 0.7))
    with database.session() as session:
        series_id = add_series(session)
        record_outcome(
            session, series_id, replace(outcome(), verdict=replace(verdict, spans=regions)), ROUTES, NOW
        )
        (row,) = series_rows(session, Filters(region="chest"))
    assert row.spans == regions


@contextmanager
def _counted(database: Database) -> Iterator[list[str]]:
    statements: list[str] = []

    def count(_1: object, _2: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", count)
    yield statements
    event.remove(database.engine, "before_cursor_execute", count)


def test_the_number_of_queries_does_not_grow(database: Database) -> None:
    """A page of many series takes as many queries as a page of one."""
    with database.session() as session:
        for number in range(1, 8):
            add_classified(session, number, 2)
    asked = []
    for limit in (1, 7):
        with _counted(database) as statements, database.reading() as session:
            assert len(series_rows(session, Filters(limit=limit))) == limit
        asked.append(len([statement for statement in statements if "SELECT" in statement]))
    assert asked == [5, 5]


def test_images_come_along_the_body(database: Database) -> None:
    """Images are sorted by position, those without one at the end."""
    positions = {1: 30.0, 2: None, 3: -5.0}
    images = tuple(ImageResult(f"1.2.1.1.{n}", "chest", 0.9, mm, None) for n, mm in positions.items())
    with database.session() as session:
        series_id = add_series(session)
        record_outcome(session, series_id, replace(outcome(), images=images), ROUTES, NOW)
        rows = image_rows(session, series_id)
        assert image_rows(session, 99) == []
    assert [row.position_mm for row in rows] == [-5.0, 30.0, None]
    assert (rows[0].path, rows[0].size_bytes, rows[0].registered_at) == ("1.2.1.1.3.dcm", 99, NOW)


def test_counts(database: Database) -> None:
    """States and destinations are counted for the metrics."""
    with database.session() as session:
        assert counts_by_state(session) == {"stable": 0, "classified": 0, "delivered": 0, "failed": 0}
        assert pending_by_destination(session) == {}
        add_series(session, 1)
        add_classified(session, 2, 2)
        add_classified(session, 3, 1)
        succeeded(session, due(session, "archive", NOW, 1)[0].delivery_id, 0, NOW)
        assert counts_by_state(session) == {"stable": 1, "classified": 2, "delivered": 0, "failed": 0}
        assert pending_by_destination(session) == {"archive": 2, "reader": 3}
