"""Storing outcomes: once, with verdict, spans and images, and one delivery an instance and route."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

from db.deliveries import due
from db.queries import Filters, image_rows, series_rows
from db.records import DeliveryWork, FrameResult, ImageResult
from db.results import record_outcome
from db.session import Database
from db.tables import Series
from tests.db.values import (
    ARCHIVE,
    MINUTE,
    NOW,
    ROUTES,
    add_classified,
    add_series,
    deliveries_of,
    no_verdict,
    outcome,
    state_of,
)


def test_an_outcome_is_stored_whole(database: Database) -> None:
    """Verdict, spans, code and versions come back as they went in."""
    with database.session() as session:
        add_classified(session, count=2)
        (row,) = series_rows(session, Filters())
    verdict = outcome(2).verdict
    assert verdict is not None
    assert row.spans == verdict.spans
    assert (row.term, row.code_value, row.code_meaning) == ("CHEST", "816094009", "Chest")
    assert (row.paired, row.confidence, row.rule, row.flags) == (False, 0.9, "smooth", ("f",))
    assert (row.weights_digest, row.software_version, row.decided_at) == ("ct-digest", "0.1.0", NOW)
    assert (row.reason, row.state) == (None, "classified")


def test_each_image_has_its_result(database: Database) -> None:
    """Images are stored with region or reason; unknown ones are ignored, missing ones stay unjudged."""
    images = (
        ImageResult("1.2.1.1.1", "chest", 0.8, 7.5, None),
        ImageResult("1.2.1.1.2", None, None, None, "localizer"),
        ImageResult("9.9.9", "chest", 0.8, 7.5, None),
    )
    with database.session() as session:
        series_id = add_series(session, count=3)
        record_outcome(session, series_id, replace(outcome(), images=images), ROUTES, NOW)
        rows = image_rows(session, series_id)
    assert [(row.region, row.confidence, row.position_mm, row.reason, row.judged) for row in rows] == [
        ("chest", 0.8, 7.5, None, True),
        (None, None, None, "localizer", True),
        (None, None, None, None, False),
    ]


def test_numbers_of_the_network_are_stored(database: Database) -> None:
    """Scalars of numpy, as they come out of arrays, are numbers to both databases."""
    image = ImageResult("1.2.1.1.1", "chest", float(np.float32(0.5)), np.float64(1.5), None)
    with database.session() as session:
        series_id = add_series(session, count=1)
        record_outcome(session, series_id, replace(outcome(1), images=(image,)), ROUTES, NOW)
        assert image_rows(session, series_id)[0].position_mm == 1.5


def test_an_outcome_is_stored_once(database: Database) -> None:
    """A second outcome of the same series changes nothing."""
    with database.session() as session:
        series_id = add_classified(session)
        before = series_rows(session, Filters())
        assert not record_outcome(session, series_id, no_verdict(), ROUTES, NOW + MINUTE)
        assert series_rows(session, Filters()) == before
        assert not record_outcome(session, 99, no_verdict(), ROUTES, NOW)


def test_each_delivery_knows_all_that_relabelling_needs(database: Database) -> None:
    """A piece of work holds file, policy and the stored decision."""
    with database.session() as session:
        series_id = add_classified(session, count=1)
        (work,) = due(session, "archive", NOW, 10)
    assert work == DeliveryWork(
        delivery_id=work.delivery_id,
        series_id=series_id,
        sop_instance_uid="1.2.1.1.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        path="1.2.1.1.1.dcm",
        policy="when_missing_or_wrong",
        attempts=0,
        armed_at=NOW,
        decided_at=NOW,
        term="CHEST",
        code_value="816094009",
        code_meaning="Chest",
        paired=False,
        confidence=0.9,
        image_region="chest",
        weights_digest="ct-digest",
        software_version="0.1.0",
    )


def test_what_frames_show_is_stored_with_their_instance(database: Database) -> None:
    """A multi-frame object keeps a result for each frame, and the work to deliver it knows their regions."""
    frames = (FrameResult("chest", 0.9, 1.5, None), FrameResult(None, None, None, "localizer"))
    image = ImageResult("1.2.1.1.1", "chest", 0.9, 1.5, None, frames)
    with database.session() as session:
        series_id = add_series(session, count=2)
        record_outcome(session, series_id, replace(outcome(1), images=(image,)), (ARCHIVE,), NOW)
        rows = {row.sop_instance_uid: row.frames for row in image_rows(session, series_id)}
        assert rows == {"1.2.1.1.1": frames, "1.2.1.1.2": ()}
        work = {each.sop_instance_uid: each.frame_regions for each in due(session, "archive", NOW, 9)}
        assert work == {"1.2.1.1.1": ("chest", None), "1.2.1.1.2": ()}


def test_a_series_without_verdict_is_delivered_too(database: Database) -> None:
    """Everything is passed on: the reason is stored and the work has no term."""
    with database.session() as session:
        series_id = add_series(session, count=2)
        assert record_outcome(session, series_id, no_verdict(), (ARCHIVE,), NOW)
        assert [(work.term, work.confidence) for work in due(session, "archive", NOW, 9)] == [
            (None, None)
        ] * 2
        assert series_rows(session, Filters())[0].reason == no_verdict().reason


def test_nothing_to_deliver_is_delivered(database: Database) -> None:
    """Without routes the series is done as soon as it is classified."""
    with database.session() as session:
        series_id = add_series(session)
        assert record_outcome(session, series_id, outcome(), (), NOW)
        assert state_of(session, series_id) == "delivered"
        assert deliveries_of(session, series_id) == 0


@pytest.mark.parametrize(
    ("incoming", "disagrees"),
    [("CHEST", False), ("HEAD", True), ("", None), ("chest", False), ("PARTIALBODY", None)],
)
def test_the_incoming_tag_is_compared(database: Database, incoming: str, disagrees: bool | None) -> None:
    """An incoming tag agrees or disagrees with the term; a missing or vague one does neither."""
    with database.session() as session:
        series_id = add_classified(session, incoming_body_part=incoming)
        assert session.scalars(select(Series.disagrees).where(Series.id == series_id)).one() is disagrees


def test_no_term_cannot_disagree(database: Database) -> None:
    """Where the node says nothing, the incoming tag is neither right nor wrong."""
    with database.session() as session:
        series_id = add_series(session, incoming_body_part="HEAD")
        record_outcome(session, series_id, no_verdict(), ROUTES, NOW)
        assert session.scalars(select(Series.disagrees).where(Series.id == series_id)).one() is None
