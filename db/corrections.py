"""Corrections: what people said of series, kept beside the verdicts; the latest one of a series holds."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.orm import Session

from db.states import DECIDED
from db.tables import CorrectionRow, CorrectionSpan, Instance, Series
from db.words import refresh
from rules.correction import Range
from rules.terms import SeriesTerm


@dataclass(frozen=True, slots=True)
class NewCorrection:
    """What somebody says of a series: its regions, and the term that follows from them."""

    made_by: str
    note: str
    ranges: tuple[Range, ...]
    named: SeriesTerm
    software_version: str
    carried_from: int | None = None


@dataclass(frozen=True, slots=True)
class Correction:
    """A correction as it is kept; `carried_from` is the one of another series that it follows."""

    correction_id: int
    series_id: int
    made_at: datetime
    made_by: str
    note: str
    carried_from: int | None
    term: str | None
    code_value: str | None
    code_meaning: str | None
    paired: bool
    software_version: str
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Height:
    """An image, or a frame, that was classified: its height in the patient, and its region by the verdict."""

    z_mm: float
    region: str | None


@dataclass(frozen=True, slots=True)
class Label:
    """A range of a series as a label for training; `carried`: it follows from another series."""

    series_instance_uid: str
    modality: str
    region: str
    low_mm: float
    high_mm: float
    carried: bool


_COLUMNS = tuple(
    getattr(CorrectionRow, name)
    for name in Correction.__dataclass_fields__
    if name not in ("correction_id", "ranges")
)


def record(session: Session, series_id: int, new: NewCorrection, now: datetime) -> int:
    """Store a correction, which holds from now on, and return its number; the series must be locked."""
    named = new.named
    row = {
        "series_id": series_id,
        "made_at": now,
        "made_by": new.made_by,
        "note": new.note,
        "carried_from": new.carried_from,
        "term": named.term,
        "code_value": None if named.code is None else named.code.value,
        "code_meaning": None if named.code is None else named.code.meaning,
        "paired": named.paired,
        "software_version": new.software_version,
    }
    correction_id = session.scalars(insert(CorrectionRow).returning(CorrectionRow.id), [row]).one()
    spans = [
        {"ordinal": ordinal, "region": each.region, "low_mm": each.low_mm, "high_mm": each.high_mm}
        for ordinal, each in enumerate(new.ranges)
    ]
    session.execute(insert(CorrectionSpan), [span | {"correction_id": correction_id} for span in spans])
    holds = {"correction_id": correction_id, "corrected_term": named.term, "review": False}
    changed = update(Series).where(Series.id == series_id).values(holds)
    session.execute(changed.execution_options(synchronize_session=False))
    refresh(session, series_id)
    return correction_id


def history(session: Session, series_id: int) -> tuple[Correction, ...]:
    """Return the corrections of a series, the one that holds first."""
    return _corrections(session, CorrectionRow.series_id == series_id)


def correction(session: Session, correction_id: int) -> Correction:
    """Return a correction by its number."""
    return _corrections(session, CorrectionRow.id == correction_id)[0]


def _corrections(session: Session, which: ColumnElement[bool]) -> tuple[Correction, ...]:
    wanted = select(CorrectionRow.id.label("correction_id"), *_COLUMNS).where(which)
    rows = session.execute(wanted.order_by(CorrectionRow.id.desc())).mappings().all()
    ranges = ranges_of(session, [row["correction_id"] for row in rows])
    return tuple(Correction(**row, ranges=ranges.get(row["correction_id"], ())) for row in rows)


def ranges_of(session: Session, correction_ids: Collection[int]) -> dict[int, tuple[Range, ...]]:
    """Return the ranges of corrections, by their numbers."""
    if not correction_ids:
        return {}
    columns = (
        CorrectionSpan.correction_id,
        CorrectionSpan.region,
        CorrectionSpan.low_mm,
        CorrectionSpan.high_mm,
    )
    rows = session.execute(
        select(*columns)
        .where(CorrectionSpan.correction_id.in_(correction_ids))
        .order_by(CorrectionSpan.correction_id, CorrectionSpan.ordinal)
    )
    found: dict[int, tuple[Range, ...]] = {}
    for row in rows:
        mine = Range(row.region, row.low_mm, row.high_mm)
        found[row.correction_id] = (*found.get(row.correction_id, ()), mine)
    return found


def heights(session: Session, series_id: int) -> tuple[Height, ...]:
    """Return the classified images of a series whose height is known, frames one by one, from the feet up."""
    mine = (Instance.series_id == series_id, Instance.conflict.is_(None), Instance.reason.is_(None))
    rows = session.execute(
        select(Instance.z_mm, Instance.region, Instance.frames).where(*mine, Instance.judged)
    )
    found = []
    for z_mm, region, frames in rows:
        if frames:
            found += [
                Height(frame["z_mm"], frame["region"])
                for frame in frames
                if frame.get("z_mm") is not None and frame["reason"] is None
            ]
        elif z_mm is not None:
            found.append(Height(z_mm, region))
    return tuple(sorted(found, key=lambda each: each.z_mm))


def companions(session: Session, series_id: int) -> tuple[int, ...]:
    """Return the decided series of the same patient in the same Frame of Reference, but for those that a
    person corrected: that holds for them.

    The patient counts because scanners exist that give everybody the same Frame of Reference.
    """
    mine = select(Series.frame_of_reference_uid, Series.patient_id).where(Series.id == series_id)
    place = session.execute(mine).one()
    if not place.frame_of_reference_uid or not place.patient_id:
        return ()
    by_hand = select(CorrectionRow.id).where(CorrectionRow.carried_from.is_(None))
    others = select(Series.id).where(
        Series.frame_of_reference_uid == place.frame_of_reference_uid,
        Series.patient_id == place.patient_id,
        Series.id != series_id,
        Series.state.in_(DECIDED),
        Series.correction_id.is_(None) | Series.correction_id.not_in(by_hand),
    )
    return tuple(session.scalars(others.order_by(Series.id)))


def inherited(session: Session, series_id: int) -> Correction | None:
    """Return the latest correction by hand in the Frame of Reference of a series that has none yet."""
    mine = select(Series.frame_of_reference_uid, Series.patient_id).where(Series.id == series_id)
    place = session.execute(mine).one()
    if not place.frame_of_reference_uid or not place.patient_id:
        return None
    latest = (
        select(func.max(CorrectionRow.id))
        .join(Series, Series.correction_id == CorrectionRow.id)
        .where(
            Series.frame_of_reference_uid == place.frame_of_reference_uid,
            Series.patient_id == place.patient_id,
            CorrectionRow.carried_from.is_(None),
        )
    )
    found = session.scalar(latest)
    return None if found is None else correction(session, found)


def labels(session: Session) -> Iterator[Label]:
    """Yield the ranges of all corrections that hold and have millimetres, series by series."""
    rows = session.execute(
        select(
            Series.series_instance_uid,
            Series.modality,
            CorrectionSpan.region,
            CorrectionSpan.low_mm,
            CorrectionSpan.high_mm,
            CorrectionRow.carried_from.is_not(None),
        )
        .join(CorrectionRow, CorrectionRow.id == Series.correction_id)
        .join(CorrectionSpan, CorrectionSpan.correction_id == CorrectionRow.id)
        .where(CorrectionSpan.low_mm.is_not(None), CorrectionSpan.high_mm.is_not(None))
        .order_by(Series.id, CorrectionSpan.ordinal)
        .execution_options(yield_per=1000)
    )
    for uid, modality, region, low, high, carried in rows:
        yield Label(uid, modality, region, low or 0.0, high or 0.0, bool(carried))
