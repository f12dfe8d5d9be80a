"""A database with something of everything that pages show, and names that want to be scripts."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from db import deliveries
from db.records import ImageResult, InstanceFacts, Outcome, Route, Whole
from db.results import record_outcome
from db.series import register
from db.session import Database
from model.regions import BY_KEY
from node.pictures import TILE
from node.sheet import Drawn, put_together, write
from node.storage.spool import SeriesKey, picture_path
from rules.verdict import Span, Verdict
from tests.db.values import series_facts

HOSTILE: Final = (
    "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>'\"{{7*7}}"
)
ROUTES: Final = (Route("archive", "write"), Route("<b>odd", "keep"))
STEP_MM: Final = 5.0
WHOLE: Final = Whole(
    "chest", 0.91, "abdomen", 0.07, "axial", "geometry", "coronal", 0.95, True, "with", 0.88, "e" * 64
)  # fmt: skip
"""What the series called chest is as a whole: one whose header is contradicted."""


_TAGS: Final = (
    "patient_name", "patient_id", "accession_number", "study_description", "series_description",
    "incoming_body_part", "calling_ae_title", "manufacturer", "modality", "incoming_laterality",
)  # fmt: skip


def filled(database: Database, now: datetime, spool: Path | None = None) -> dict[str, int]:
    """Store series of every kind and return their numbers; with a spool, that called chest has a picture."""
    wrong: dict[str, Any] = {
        "incoming_body_part": "HEAD",
        "patient_name": "Roe^Sam",
        "series_description": "knee",
    }
    odd: dict[str, Any] = dict.fromkeys(_TAGS, HOSTILE)
    return {
        "chest": _decided(database, 1, now, ["abdomen"] * 8 + ["chest"] * 12, 0.96, spool=spool),
        "knee": _decided(database, 2, now, ["knee"] * 6, 0.61, **wrong),
        "unknown": _decided(database, 3, now, ["unknown"] * 4, 0.2, patient_id="P3"),
        "hostile": _decided(database, 4, now, ["head"] * 3, 0.9, flags=(HOSTILE,), **odd),
        "passed on": _passed_on(database, 5, now),
        "waiting": _registered(database, 6, now, 7),
    }


def instances(number: int, count: int) -> list[InstanceFacts]:
    """Describe the files of a series."""
    return [
        InstanceFacts(f"1.2.{number}.1.{each}", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1",
                      f"1.2.{number}/1.2.{number}.1/{each}.dcm", 532_000, f"{number:032x}{each:032x}")
        for each in range(count)
    ]  # fmt: skip


def _registered(database: Database, number: int, now: datetime, count: int, **changes: str) -> int:
    with database.session() as session:
        facts = series_facts(number, **changes)
        return register(
            session, facts, instances(number, count), ROUTES, now - timedelta(minutes=number)
        ).series_id


def _passed_on(database: Database, number: int, now: datetime) -> int:
    series_id = _registered(database, number, now, 2, series_description="MPR coronal")
    images = tuple(
        ImageResult(f"1.2.{number}.1.{each}", None, None, None, "coronal plane") for each in range(2)
    )
    with database.session() as session:
        record_outcome(session, series_id, Outcome(None, images, "coronal plane", None, "0.1.0"), ROUTES, now)
    return series_id


def _decided(
    database: Database,
    number: int,
    now: datetime,
    regions: list[str],
    confidence: float,
    flags: tuple[str, ...] = (),
    spool: Path | None = None,
    **changes: str,
) -> int:
    series_id = _registered(database, number, now, len(regions), **changes)
    images = tuple(
        ImageResult(f"1.2.{number}.1.{index}", region, confidence, STEP_MM * index, None)
        for index, region in enumerate(regions)
    )
    verdict = _verdict(regions, confidence, flags)
    with database.session() as session:
        whole = WHOLE if number == 1 else None
        outcome = Outcome(verdict, images, None, "f" * 64, "0.1.0", whole)
        assert record_outcome(session, series_id, outcome, ROUTES, now)
    _try(database, series_id, now)
    if spool is not None:
        key = SeriesKey(f"1.2.{number}", f"1.2.{number}.1")
        write(picture_path(spool, key), put_together(_strips(len(regions)), _tiles(images)))
    return series_id


def _verdict(regions: list[str], confidence: float, flags: tuple[str, ...]) -> Verdict:
    keys = list(dict.fromkeys(regions))
    spans = []
    for key in keys:
        found = [index for index, region in enumerate(regions) if region == key]
        spans.append(Span(key, STEP_MM * found[0], STEP_MM * found[-1], len(found), confidence))
    named = BY_KEY.get(keys[-1])
    return Verdict(
        tuple(regions), (confidence,) * len(regions), tuple(spans),
        None if named is None else named.term, None if named is None else named.code,
        False, confidence, "order" if named is not None else "doubt", flags,
    )  # fmt: skip


def _try(database: Database, series_id: int, now: datetime) -> None:
    """Deliver one instance to the archive, let one wait and one fail, with what an odd peer says."""
    with database.reading() as session:
        works = [each for each in deliveries.due(session, "archive", now, 999) if each.series_id == series_id]
    for number, work in enumerate(works[:3]):
        with database.session() as session:
            if number == 0:
                deliveries.succeeded(session, work.delivery_id, 0x0000, now)
            elif number == 1:
                later = now + timedelta(hours=1)
                deliveries.postponed(session, work.delivery_id, None, f"no answer {HOSTILE}", later, now)
            else:
                deliveries.failed(session, work.delivery_id, 0xA900, "data set does not match", now)


def _strips(count: int) -> list[Drawn]:
    ramp = np.tile(np.linspace(40, 220, 100, dtype=np.uint8)[:, np.newaxis], (1, 80))
    top, bottom = STEP_MM * (count - 0.5), -STEP_MM / 2
    return [Drawn("coronal", "", -1, ramp, top, bottom), Drawn("sagittal", "", -1, ramp, top, bottom)]


def _tiles(images: Iterable[ImageResult]) -> list[Drawn]:
    square = np.full((TILE, TILE), 128, np.uint8)
    return [Drawn("tile", each.sop_instance_uid, -1, square, None, None) for each in images]
