"""Results: storing what the worker found in a series, once, and creating the deliveries."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from db.columns import clean_key
from db.corrections import NewCorrection, record
from db.deliveries import create
from db.moves import move, settle
from db.records import ImageResult, Outcome, Route
from db.states import State
from db.tables import Instance, Series, SpanRow
from db.wholes import record_whole
from db.words import refresh
from rules.terms import agrees, vague
from rules.verdict import Verdict


def record_outcome(
    session: Session,
    series_id: int,
    outcome: Outcome,
    routes: Sequence[Route],
    now: datetime,
    inherited: NewCorrection | None = None,
) -> bool:
    """Store the outcome of a stable series and create one delivery an instance and route.

    Returns False, and changes nothing, if somebody stored one before. With nothing to deliver the series
    is `delivered` at once. A correction that is `inherited` from another series is stored, too, and followed.
    """
    if not move(session, series_id, State.STABLE, State.CLASSIFIED, now):
        return False
    _store_decision(session, series_id, outcome, now)
    if outcome.whole is not None:
        record_whole(session, series_id, outcome.whole, now)
    instances = session.execute(
        select(Instance.id, Instance.sop_instance_uid)
        .where(Instance.series_id == series_id, Instance.conflict.is_(None))
        .order_by(Instance.id)
    )
    ids = {row.sop_instance_uid: row.id for row in instances}
    _store_images(session, ids, outcome.images)
    if inherited is not None:
        correction_id = record(session, series_id, inherited, now)
        routes = [replace(route, correction_id=correction_id) for route in routes]
    create(session, series_id, list(ids.values()), routes, now)
    refresh(session, series_id)
    settle(session, series_id, now)
    return True


def _store_decision(session: Session, series_id: int, outcome: Outcome, now: datetime) -> None:
    incoming = session.scalar(select(Series.incoming_body_part).where(Series.id == series_id)) or ""
    values: dict[str, object] = {
        "decided_at": now,
        "reason": outcome.reason,
        "weights_digest": outcome.weights_digest,
        "software_version": outcome.software_version,
    }
    if outcome.verdict is not None:
        values |= _verdict_values(outcome.verdict, incoming)
        _store_spans(session, series_id, outcome.verdict)
    decided = update(Series).where(Series.id == series_id).values(values)
    session.execute(decided.execution_options(synchronize_session=False))


def _verdict_values(verdict: Verdict, incoming: str) -> dict[str, object]:
    comparable = incoming.strip() != "" and verdict.term is not None and not vague(incoming, verdict.term)
    return {
        "term": verdict.term,
        "code_value": None if verdict.code is None else verdict.code.value,
        "code_meaning": None if verdict.code is None else verdict.code.meaning,
        "paired": verdict.paired,
        "radiograph_group": verdict.group,
        "confidence": float(verdict.confidence),
        "rule": verdict.rule,
        "flags": list(verdict.flags),
        "disagrees": not agrees(incoming, verdict.term or "") if comparable else None,
        "review": verdict.term is None or bool(verdict.flags),
    }


def _store_spans(session: Session, series_id: int, verdict: Verdict) -> None:
    rows = [
        {
            "series_id": series_id,
            "ordinal": ordinal,
            "region": span.region,
            "first_mm": float(span.first_mm),
            "last_mm": float(span.last_mm),
            "images": int(span.images),
            "confidence": float(span.confidence),
        }
        for ordinal, span in enumerate(verdict.spans)
    ]
    if rows:
        session.execute(insert(SpanRow), rows)


def _store_images(session: Session, ids: dict[str, int], images: Sequence[ImageResult]) -> None:
    """Write what was found in each image; one that is not registered, or in conflict, has no row."""
    found = {clean_key(image.sop_instance_uid): image for image in images}
    rows = [
        {
            "id": ids[uid],
            "judged": True,
            "region": image.region,
            "confidence": None if image.confidence is None else float(image.confidence),
            "position_mm": None if image.position_mm is None else float(image.position_mm),
            "z_mm": None if image.z_mm is None else float(image.z_mm),
            "reason": image.reason,
            "frames": [asdict(frame) for frame in image.frames] or None,
        }
        for uid, image in found.items()
        if uid in ids
    ]
    if rows:
        session.execute(update(Instance), rows)
