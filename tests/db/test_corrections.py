"""Corrections: kept beside the verdict, followed by copies, carried along, found by filters and views."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.corrections import NewCorrection, companions, heights, history, inherited, labels, record
from db.deliveries import deliver_anew, due, failed, postponed, resend, succeeded
from db.moves import lock_series
from db.pages import page
from db.queries import Filters, image_rows, series_ids, series_row
from db.records import DeliveryWork, ImageResult, Route
from db.results import record_outcome
from db.series import register
from db.session import Database
from rules.correction import Range, named
from tests.db.values import (
    ARCHIVE,
    NOW,
    add_classified,
    add_series,
    instance,
    outcome,
    series_facts,
    state_of,
)

LATER = NOW + timedelta(hours=1)
RANGES = (Range("abdomen", 5.0, 10.0), Range("chest", 15.0, 15.0))
MINE = Route("archive", "write")


def _new(ranges: tuple[Range, ...] = RANGES, carried_from: int | None = None) -> NewCorrection:
    return NewCorrection("ann", "seen", ranges, named(ranges, [5.0, 10.0, 15.0]), "0.2.0", carried_from)


def _classified(session: Session, number: int = 1, place: str = "9.9", patient: str = "P") -> int:
    """Store a series of three images whose heights are known."""
    series_id = add_series(session, number, frame_of_reference_uid=place, patient_id=patient)
    found = outcome(3, number)
    images = tuple(replace(image, z_mm=image.position_mm) for image in found.images)
    assert record_outcome(session, series_id, replace(found, images=images), [MINE], NOW)
    return series_id


def _send(session: Session, work: tuple[DeliveryWork, ...]) -> list[bool]:
    return [succeeded(session, each.delivery_id, 0, NOW, "", each.correction_id) for each in work]


def test_a_correction_stands_beside_the_verdict(database: Database) -> None:
    """Who, when and what are kept, the verdict too; the latest correction holds."""
    with database.session() as session:
        series_id = _classified(session)
        first = record(session, series_id, _new((Range("head"),)), NOW)
        second = record(session, series_id, _new(), LATER)
        row = series_row(session, series_id)
        found = history(session, series_id)
    assert row is not None
    assert (row.term, row.corrected_term, row.correction_id) == ("CHEST", "CHESTABDOMEN", second)
    assert [each.correction_id for each in found] == [second, first]
    assert (found[0].made_by, found[0].note, found[0].made_at) == ("ann", "seen", LATER)
    assert (found[0].ranges, found[1].ranges) == (RANGES, (Range("head"),))


def test_copies_follow_the_correction_once_they_are_sent_anew(database: Database) -> None:
    """Work that is due before goes by the verdict, afterwards by the correction, image by image."""
    with database.session() as session:
        series_id = _classified(session)
        correction_id = record(session, series_id, _new(), LATER)
        before = due(session, "archive", NOW, 9)
        assert [(each.term, each.image_region, each.decided_at) for each in before] == [
            ("CHEST", "chest", NOW)
        ] * 3
        assert _send(session, before) == [True] * 3
        assert state_of(session, series_id) == "delivered"
        route = replace(MINE, correction_id=correction_id)
        assert deliver_anew(session, series_id, [route], LATER) == 3
        after = due(session, "archive", LATER, 9)
        assert state_of(session, series_id) == "classified"
    assert [each.image_region for each in after] == ["abdomen", "abdomen", "chest"]
    assert {(each.term, each.decided_at, each.confidence, each.weights_digest) for each in after} == {
        ("CHESTABDOMEN", LATER, 1.0, None)
    }


def test_a_copy_on_its_way_does_not_count_for_the_corrected_one(database: Database) -> None:
    """An answer to a copy that was made by the verdict leaves the corrected delivery pending."""
    with database.session() as session:
        series_id = _classified(session)
        old = due(session, "archive", NOW, 9)
        correction_id = record(session, series_id, _new(), LATER)
        deliver_anew(session, series_id, [replace(MINE, correction_id=correction_id)], LATER)
        assert _send(session, old) == [False] * 3
        assert not failed(session, old[0].delivery_id, 0xA700, "", LATER, old[0].correction_id)
        assert postponed(session, old[0].delivery_id, None, "later", LATER, LATER)
        new = due(session, "archive", LATER, 9)
        assert _send(session, new) == [True] * 3
        assert state_of(session, series_id) == "delivered"


def test_what_comes_late_or_again_follows_too(database: Database) -> None:
    """A late instance and a resend take the decision that the rest of the series has at the destination."""
    with database.session() as session:
        series_id = _classified(session)
        route = replace(MINE, correction_id=record(session, series_id, _new(), LATER))
        deliver_anew(session, series_id, [route], LATER)
        facts = series_facts(1, frame_of_reference_uid="9.9", patient_id="P")
        register(session, facts, [instance(4)], [ARCHIVE], LATER)
        resend(session, [series_id], None, False, [ARCHIVE], LATER)
        work = due(session, "archive", LATER, 9)
    assert {(each.correction_id, each.policy, each.term) for each in work} == {
        (route.correction_id, "write", "CHESTABDOMEN")
    }
    assert len(work) == 4


def test_companions_share_place_and_patient(database: Database) -> None:
    """Another patient, another place, no place, no decision, or a correction by hand: not followed."""
    with database.session() as session:
        mine, other = _classified(session, 1), _classified(session, 2)
        _classified(session, 3, place="8.8")
        _classified(session, 4, patient="Q")
        nowhere = _classified(session, 5, place="")
        add_series(session, 6, frame_of_reference_uid="9.9", patient_id="P")
        by_hand, carried = _classified(session, 7), _classified(session, 8)
        first = record(session, by_hand, _new(), NOW)
        record(session, carried, _new(carried_from=first), NOW)
        assert companions(session, mine) == (other, carried)
        assert companions(session, nowhere) == ()
        found = inherited(session, mine)
        assert found is not None
        assert found.correction_id == first
        assert inherited(session, nowhere) is None


def test_a_series_that_comes_later_takes_over(database: Database) -> None:
    """A correction that is handed to the outcome is stored with it, and its deliveries follow at once."""
    with database.session() as session:
        first = record(session, _classified(session, 1), _new(), NOW)
        series_id = add_series(session, 2, frame_of_reference_uid="9.9", patient_id="P")
        record_outcome(session, series_id, outcome(3, 2), [MINE], NOW, _new(carried_from=first))
        [made] = history(session, series_id)
        work = [each for each in due(session, "archive", NOW, 9) if each.series_id == series_id]
    assert made.carried_from == first
    assert {each.correction_id for each in work} == {made.correction_id}
    assert {each.term for each in work} == {"CHESTABDOMEN"}


def test_heights_are_those_of_images_and_frames(database: Database) -> None:
    """Every classified image counts by its height, frames one by one; others have none."""
    with database.session() as session:
        series_id = add_series(session)
        frames = outcome().images[0]
        found = replace(
            outcome(),
            images=(
                replace(frames, frames=()),
                ImageResult("1.2.1.1.2", None, None, None, "localizer"),
                ImageResult("1.2.1.1.3", "chest", 0.9, 1.0, None, z_mm=7.5),
            ),
        )
        record_outcome(session, series_id, found, [MINE], NOW)
        assert [(each.z_mm, each.region) for each in heights(session, series_id)] == [(7.5, "chest")]
        assert [image.z_mm for image in image_rows(session, series_id)] == [7.5, None, None]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(term="CHESTABDOMEN"), [1]),
        (Filters(term="CHEST"), [2]),
        (Filters(region="abdomen"), [1]),
        (Filters(region="chest"), [2, 1]),
        (Filters(corrected=True), [1]),
        (Filters(corrected=False), [2]),
        (Filters(text="abdomen"), [1]),
        (Filters(review_below=1.0), [2]),
    ],
)
def test_filters_know_corrections(database: Database, filters: Filters, found: list[int]) -> None:
    """What a person said is found, by its term, its regions and its words, and is reviewed no more."""
    with database.session() as session:
        first = _classified(session, 1)
        _classified(session, 2, place="7.7")
        record(session, first, _new(), NOW)
    with database.reading() as session:
        assert series_ids(session, filters) == found
        assert [row.series_id for row in page(session, filters).rows] == found


def test_views_show_what_holds(database: Database) -> None:
    """In SQL a corrected series has the regions of its correction, others those of their verdict."""
    with database.session() as session:
        record(session, _classified(session, 1), _new(), NOW)
        add_classified(session, 2, incoming_body_part="HEAD")
        regions = session.execute(
            text(
                "SELECT series_id, source, region, from_mm, to_mm, decided_by FROM series_regions"
                " ORDER BY series_id, from_mm"
            )
        ).all()
        sent = session.execute(text("SELECT DISTINCT destination, state FROM delivery_results ORDER BY 1"))
        wrong = session.execute(text("SELECT incoming_body_part, term, corrected_term FROM disagreements"))
        assert [tuple(row) for row in regions] == [
            (1, "correction", "abdomen", 5.0, 10.0, "ann"),
            (1, "correction", "chest", 15.0, 15.0, "ann"),
            (2, "verdict", "chest", 5.0, 15.0, None),
        ]
        assert [tuple(row) for row in sent] == [("archive", "pending"), ("reader", "pending")]
        assert [tuple(row) for row in wrong] == [("HEAD", "CHEST", None)]


def test_labels_are_what_holds_with_millimetres(database: Database) -> None:
    """A correction that was replaced, or holds for the whole series, gives no label."""
    with database.session() as session:
        first = record(session, _classified(session, 1), _new(), NOW)
        record(session, _classified(session, 2), _new((Range("knee", 1.0, 2.0),), first), NOW)
        third = _classified(session, 3)
        record(session, third, _new(), NOW)
        record(session, third, _new((Range("head"),)), NOW)
        lock_series(session, third)
        found = [
            (each.series_instance_uid, each.region, each.low_mm, each.high_mm, each.carried)
            for each in labels(session)
        ]
    assert found == [
        ("1.2.1.1", "abdomen", 5.0, 10.0, False),
        ("1.2.1.1", "chest", 15.0, 15.0, False),
        ("1.2.2.1", "knee", 1.0, 2.0, True),
    ]
