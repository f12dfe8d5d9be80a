"""Builders of what the tests of the database store."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.records import ImageResult, InstanceFacts, Outcome, Route, SeriesFacts
from db.results import record_outcome
from db.series import register
from db.tables import Delivery, Series
from model.regions import CHEST
from rules.verdict import Span, Verdict

NOW: Final = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)
ARCHIVE: Final = Route("archive", "when_missing_or_wrong")
READER: Final = Route("reader", "always")
ROUTES: Final = (ARCHIVE, READER)


def series_facts(number: int = 1, **changes: str) -> SeriesFacts:
    """Describe a CT series with its own UIDs."""
    facts = {
        "study_instance_uid": f"1.2.{number}",
        "series_instance_uid": f"1.2.{number}.1",
        "modality": "CT",
        "patient_id": f"P{number}",
        "patient_name": "Doe^Jane",
        "accession_number": "A1",
        "study_date": "20240102",
        "study_description": "CT",
        "series_description": "thin",
        "incoming_body_part": "CHEST",
        "incoming_laterality": "",
        "calling_ae_title": "SCANNER",
        "manufacturer": "ACME",
    }
    return SeriesFacts(**(facts | changes))


def instance(number: int = 1, series: int = 1, path: str = "", content: str = "") -> InstanceFacts:
    """Describe one file; path and content follow from the numbers unless they are given."""
    uid = f"1.2.{series}.1.{number}"
    digest = hashlib.sha256((content or uid).encode()).hexdigest()
    return InstanceFacts(
        uid, "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", path or f"{uid}.dcm", 99, digest
    )


def instances(count: int, series: int = 1) -> list[InstanceFacts]:
    """Describe the files of a series."""
    return [instance(number, series) for number in range(1, count + 1)]


def outcome(count: int = 3, series: int = 1) -> Outcome:
    """Find a chest in the first images of a series."""
    images = tuple(
        ImageResult(f"1.2.{series}.1.{number}", "chest", 0.9, 5.0 * number, None)
        for number in range(1, count + 1)
    )
    span = Span("chest", 5.0, 5.0 * count, count, 0.9)
    verdict = Verdict(
        ("chest",) * count, (0.9,) * count, (span,), "CHEST", CHEST.code, False, 0.9, "smooth", ("f",)
    )
    return Outcome(verdict, images, None, "ct-digest", "0.1.0")


def no_verdict(reason: str = "no image of the series is classified: localizer") -> Outcome:
    """Find nothing, with a reason."""
    return Outcome(None, (), reason, None, "0.1.0")


def add_series(session: Session, number: int = 1, count: int = 3, **changes: str) -> int:
    """Register a series of so many instances and return its number."""
    return register(session, series_facts(number, **changes), instances(count, number), ROUTES, NOW).series_id


def add_classified(session: Session, number: int = 1, count: int = 3, **changes: str) -> int:
    """Register a series and store its outcome, with a delivery to each of two destinations."""
    series_id = add_series(session, number, count, **changes)
    assert record_outcome(session, series_id, outcome(count, number), ROUTES, NOW)
    return series_id


def state_of(session: Session, series_id: int) -> str:
    """Return where a series stands."""
    return session.scalars(select(Series.state).where(Series.id == series_id)).one()


def deliveries_of(session: Session, series_id: int) -> int:
    """Count the deliveries of a series."""
    return session.scalar(select(func.count()).where(Delivery.series_id == series_id)) or 0
