"""A database of many series as a hospital's might be after years: made up, the same at every run.

Only what lists and filters read is there for each series (its row, its spans, its words); one series in a
thousand also has instances and deliveries, for the page of a single series.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, insert, text
from sqlalchemy.orm import Session

from db.session import Database
from db.tables import Delivery, Instance, Series, SpanRow
from db.words import document, store

SERIES: Final = 1_000_000
FIRST: Final = datetime(2023, 11, 1, tzinfo=UTC)
YEARS: Final = timedelta(days=3 * 365)
BATCH: Final = 5000
WITH_INSTANCES: Final = 1000
IMAGES: Final = 200

_REGIONS: Final = {
    "head": ("HEAD", 22), "chest": ("CHEST", 18), "abdomen": ("ABDOMEN", 14), "knee": ("KNEE", 9),
    "lspine": ("LSPINE", 8), "pelvis": ("PELVIS", 6), "cspine": ("CSPINE", 5), "neck": ("NECK", 4),
    "shoulder": ("SHOULDER", 4), "thigh": ("THIGH", 2), "foot": ("FOOT", 2), "calf": ("LOWERLEG", 1.5),
    "tspine": ("TSPINE", 1.5), "breast": ("BREAST", 1), "hand": ("HAND", 0.6), "elbow": ("ELBOW", 0.3),
    "forearm": ("FOREARM", 0.08), "arm": ("UPPERARM", 0.02),
}  # fmt: skip
_MODALITIES: Final = {"CT": 38, "MR": 42, "DX": 12, "CR": 4, "US": 2, "SR": 1.5, "OT": 0.5}
_STATES: Final = {"delivered": 985, "failed": 5, "classified": 8, "stable": 2}
_SOURCES: Final = [f"{kind}{number}" for kind in ("CT", "MR", "XR") for number in range(1, 8)]
_SYLLABLES: Final = [a + b for a in "bdfgklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "ol")]
_WORDS: Final = (
    "axial", "thin", "native", "contrast", "routine", "follow up", "trauma", "t1 tse", "t2 stir", "flair",
    "dwi", "venous", "arterial", "lung", "bone", "soft tissue", "angio", "low dose", "mpr", "localizer",
)  # fmt: skip


def fill(database: Database, series: int = SERIES, seed: int = 8) -> None:
    """Fill an empty, migrated database, and let it look at what it holds, as it does by itself in time."""
    chance = random.Random(seed)
    with database.engine.begin() as connection:
        for first in range(1, series + 1, BATCH):
            numbers = range(first, min(first + BATCH, series + 1))
            rows = [_series(number, series, chance) for number in numbers]
            _store(connection, rows, chance)
    with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        vacuum = database.engine.dialect.name == "postgresql"  # which autovacuum does after many inserts
        connection.execute(text("VACUUM ANALYZE" if vacuum else "ANALYZE"))


def _store(connection: Connection, rows: list[dict[str, Any]], chance: random.Random) -> None:
    connection.execute(insert(Series), rows)
    shown = [span for row in rows for span in _spans(row, chance)]
    if shown:
        connection.execute(insert(SpanRow), shown)
    told = (
        "patient_id", "patient_name", "accession_number", "modality", "study_description",
        "series_description", "incoming_body_part", "calling_ae_title", "manufacturer", "term",
    )  # fmt: skip
    with Session(connection) as session:
        store(session, [(row["id"], document(row[name] for name in told)) for row in rows])
    for row in rows:
        if row["id"] % WITH_INSTANCES == 0:
            _store_instances(connection, row, chance)


def _picked(weights: dict[str, Any], chance: random.Random) -> str:
    plain = [each[1] if isinstance(each, tuple) else each for each in weights.values()]
    return chance.choices(list(weights), plain)[0]


def _series(number: int, series: int, chance: random.Random) -> dict[str, Any]:
    """Make one series up; of one patient come about twelve, of one study about four."""
    patient, study = number // 12, number // 4
    person = random.Random(patient)
    at = FIRST + YEARS * (number / series)
    region = _picked(_REGIONS, chance)
    term = _REGIONS[region][0]
    modality = _picked(_MODALITIES, chance)
    decided = modality in ("CT", "MR", "DX", "CR") and chance.random() > 0.12
    known = decided and chance.random() > 0.03
    incoming = chance.choice(["", term, term, chance.choice(list(_REGIONS.values()))[0]])
    confidence = 1 - abs(chance.gauss(0, 0.12))
    return {
        "id": number,
        "state": _picked(_STATES, chance),
        "changed_at": at + timedelta(minutes=3),
        "received_at": at,
        "files": 0,
        "registered": chance.randint(1, 600),
        "study_instance_uid": f"1.2.826.0.1.3680043.10.1.{study}",
        "series_instance_uid": f"1.2.826.0.1.3680043.10.1.{study}.{number}",
        "frame_of_reference_uid": f"1.2.826.0.1.3680043.10.2.{study}",
        "modality": modality,
        "patient_id": f"{1000000 + patient}",
        "patient_name": "^".join("".join(person.choices(_SYLLABLES, k=k)).title() for k in (3, 2)),
        "accession_number": f"A{study:08d}",
        "study_date": f"{at:%Y%m%d}",
        "study_description": f"{modality} {region} {chance.choice(_WORDS)}",
        "series_description": " ".join(chance.choices(_WORDS, k=2)),
        "incoming_body_part": incoming,
        "incoming_laterality": "",
        "calling_ae_title": chance.choice(_SOURCES),
        "manufacturer": chance.choice(["ACME", "Umbrella", "Initech"]),
        "decided_at": at + timedelta(minutes=1),
        "term": term if known else None,
        "code_value": "1" if known else None,
        "code_meaning": term.title() if known else None,
        "paired": False,
        "confidence": max(0.05, confidence) if decided else None,
        "rule": "order" if decided else None,
        "flags": ["left out of the term: hand"] if decided and chance.random() < 0.03 else [],
        "disagrees": incoming != term if known and incoming else None,
        "review": decided and (not known or chance.random() < 0.03),
        "reason": None if decided else "localizer",
        "failure": None,
        "weights_digest": "digest",
        "software_version": "0.1.0",
        "region": region,
    }


def _spans(row: dict[str, Any], chance: random.Random) -> Iterator[dict[str, Any]]:
    """Make up one to three spans, of the series' region and its neighbours."""
    if row["rule"] is None:
        return
    regions = [row["region"], *(_picked(_REGIONS, chance) for _ in range(chance.choice([0, 0, 1, 2])))]
    for ordinal, region in enumerate(regions):
        yield {
            "series_id": row["id"], "ordinal": ordinal, "region": region, "first_mm": 100.0 * ordinal,
            "last_mm": 100.0 * ordinal + 95, "images": 20, "confidence": row["confidence"],
        }  # fmt: skip


def _store_instances(connection: Connection, row: dict[str, Any], chance: random.Random) -> None:
    first, at = row["id"] // WITH_INSTANCES * IMAGES, row["changed_at"]
    instance = {
        "series_id": row["id"], "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "judged": True,
        "transfer_syntax_uid": "1.2.840.10008.1.2.1", "size_bytes": 530_000, "region": row["region"],
        "registered_at": row["received_at"],
    }  # fmt: skip
    delivery = {
        "series_id": row["id"], "destination": "archive", "policy": "write", "state": "sent", "attempts": 1,
        "tries": 1, "created_at": at, "armed_at": at, "next_attempt_at": at, "last_at": at, "last_status": 0,
        "last_comment": "",
    }  # fmt: skip
    instances = [
        instance
        | {
            "id": number,
            "sop_instance_uid": f"{row['series_instance_uid']}.{number}",
            "sha256": f"{number:064x}",
        }
        | {"path": f"removed-{number}/x", "confidence": chance.random()}
        | {"position_mm": 5.0 * (number - first), "z_mm": 5.0 * (number - first)}
        for number in range(first, first + IMAGES)
    ]
    connection.execute(insert(Instance), instances)
    connection.execute(insert(Delivery), [delivery | {"instance_id": each["id"]} for each in instances])
