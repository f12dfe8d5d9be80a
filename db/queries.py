"""Questions of the page, the command line and the metrics: series, images and counts, for reading only."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.moves import PENDING
from db.records import FrameResult, Whole
from db.rows import DeliverySummary, InstanceSummary, delivery_summaries, instance_summaries, spans
from db.states import STORED
from db.tables import CorrectionSpan, Delivery, Instance, Series, SpanRow
from db.unindexed import Chooser, Column, indexed, unindexed
from db.wholes import being, wholes
from db.words import SERIES_TEXT, Number, matches, words
from model.regions import UNKNOWN
from rules.verdict import Span


@dataclass(frozen=True, slots=True)
class Filters:
    """What to look for; None asks for nothing, and all that is set must hold.

    `patient` is a Patient ID or name, matched as DICOM does: exactly, or with the wild cards * and ? in any
    case. `text` are beginnings of words (db/words.py). `region` is a key: some span has it, or a person said
    so; `term` is that of the correction or else of the verdict, `unknown` for a verdict without one; `source`
    the AE title that sent it. Study dates are inclusive; `received_from` is inclusive, `received_to` is not.
    `disagreement` compares the incoming Body Part Examined with the verdict's term. `review_below` finds what
    a person should look at: no term, a remark, or a confidence below this, and no correction. `part`, `axis`,
    `contrast` and `contradicts` ask what a CT series is as a whole.
    """

    patient: str | None = None
    study: str | None = None
    series: str | None = None
    region: str | None = None
    modality: str | None = None
    state: str | None = None
    date_from: date | None = None
    date_to: date | None = None
    received_from: datetime | None = None
    received_to: datetime | None = None
    disagreement: bool | None = None
    limit: int | None = None
    text: str | None = None
    term: str | None = None
    source: str | None = None
    review_below: float | None = None
    corrected: bool | None = None
    part: str | None = None
    axis: str | None = None
    contrast: str | None = None
    contradicts: bool | None = None


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """All that an admin wants to know of a series on one line.

    `reason` says why there is no verdict, `failure` what could not be delivered. `disagrees` is None where
    the incoming value or the term is missing. `instances` and all counts but `conflicts` are without those
    in conflict; `unjudged` are late ones, or all before the outcome. `corrected_term` is what a person said,
    who may have said that no term fits; with a `correction_id` it holds in place of `term`.
    """

    series_id: int
    state: str
    changed_at: datetime
    received_at: datetime
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    study_description: str
    series_description: str
    incoming_body_part: str
    incoming_laterality: str
    calling_ae_title: str
    manufacturer: str
    decided_at: datetime | None
    term: str | None
    code_value: str | None
    code_meaning: str | None
    paired: bool
    radiograph_group: str | None
    confidence: float | None
    rule: str | None
    flags: tuple[str, ...]
    disagrees: bool | None
    reason: str | None
    failure: str | None
    weights_digest: str | None
    software_version: str | None
    spans: tuple[Span, ...]
    deliveries: tuple[DeliverySummary, ...]
    instances: int
    classified: int
    passed_on: tuple[tuple[str, int], ...]
    unjudged: int
    conflicts: int
    correction_id: int | None
    corrected_term: str | None
    whole: Whole | None


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One file of a series, and what was found in it; `judged` is False for a late instance.

    `frames` has one result for each frame of a multi-frame object that was looked into.
    """

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: str
    size_bytes: int
    sha256: str
    registered_at: datetime
    conflict: str | None
    judged: bool
    region: str | None
    confidence: float | None
    position_mm: float | None
    reason: str | None
    frames: tuple[FrameResult, ...]
    z_mm: float | None


_PARTS = frozenset(
    {"series_id", "flags", "spans", "deliveries", "whole", *InstanceSummary.__dataclass_fields__}
)
_SERIES = tuple(getattr(Series, name) for name in SeriesRow.__dataclass_fields__ if name not in _PARTS)
_IMAGE = tuple(getattr(Instance, name) for name in ImageRow.__dataclass_fields__)


def series_rows(session: Session, filters: Filters) -> list[SeriesRow]:
    """Return the matching series, the latest first; five queries, however many series."""
    return _rows(session, matching(filters))


def series_row(session: Session, series_id: int) -> SeriesRow | None:
    """Return one series by its number; None if there is none."""
    rows = _rows(session, select(Series.id).where(Series.id == series_id))
    return rows[0] if rows else None


def _rows(session: Session, wanted: Select[int]) -> list[SeriesRow]:
    found = session.execute(
        select(Series.id.label("series_id"), Series.flags, *_SERIES)
        .where(Series.id.in_(wanted))
        .order_by(Series.id.desc())
    )
    all_spans = spans(session, wanted)
    deliveries = delivery_summaries(session, wanted)
    instances = instance_summaries(session, wanted)
    all_wholes = wholes(session, wanted)
    return [
        SeriesRow(
            **{**row, "flags": tuple(row["flags"])},
            spans=all_spans.get(row["series_id"], ()),
            deliveries=deliveries.get(row["series_id"], ()),
            **asdict(instances.get(row["series_id"], InstanceSummary())),
            whole=all_wholes.get(row["series_id"]),
        )
        for row in found.mappings()
    ]


def series_ids(session: Session, filters: Filters) -> list[int]:
    """Return the numbers of the matching series, the latest first."""
    return list(session.scalars(matching(filters)))


def image_rows(session: Session, series_id: int) -> list[ImageRow]:
    """Return all files of a series, along the body where their position is known, from the feet up."""
    rows = session.execute(
        select(*_IMAGE)
        .where(Instance.series_id == series_id)
        .order_by(Instance.position_mm.asc().nulls_last(), Instance.id)
    )
    return [
        ImageRow(**{**row, "frames": tuple(FrameResult(**frame) for frame in row["frames"] or ())})
        for row in rows.mappings()
    ]


def counts_by_state(session: Session) -> dict[str, int]:
    """Count the series in each state, those without any too."""
    counted = session.execute(select(Series.state, func.count()).group_by(Series.state))
    return {str(state): 0 for state in STORED} | {row[0]: row[1] for row in counted}


def pending_by_destination(session: Session) -> dict[str, int]:
    """Count the pending deliveries of each destination that has any."""
    counted = session.execute(
        select(Delivery.destination, func.count()).where(PENDING).group_by(Delivery.destination)
    )
    return {row[0]: row[1] for row in counted}


def matching(filters: Filters) -> Select[int]:
    """Ask for the numbers of the matching series, the latest first."""
    wanted = select(Series.id).where(*conditions(filters)).order_by(Series.id.desc())
    return wanted if filters.limit is None else wanted.limit(filters.limit)


def conditions(filters: Filters, of: Chooser = indexed) -> Iterator[ColumnElement[bool]]:
    """Give one condition for each filter that is set; `of` says whether indexes may be used for them."""
    if filters.patient is not None:
        yield _like(Series.patient_id, filters.patient) | _like(Series.patient_name, filters.patient)
        yield from _beginning(filters.patient)
    if filters.region is not None:
        shown = Series.id.in_(select(SpanRow.series_id).where(SpanRow.region == filters.region))
        yield shown | said(filters.region)
    if filters.text is not None:
        yield of(Series.id).in_(_with_words(filters.text))
    whole = (filters.part, filters.axis, filters.contrast, filters.contradicts)
    if any(one is not None for one in whole):
        yield being(*whole)
    yield from _verdicts(filters, of)
    yield from _times(filters, of)
    equal: dict[Column, object] = {
        Series.study_instance_uid: filters.study,
        Series.series_instance_uid: filters.series,
        Series.modality: filters.modality,
        Series.calling_ae_title: filters.source,
        Series.state: filters.state,
        Series.disagrees: filters.disagreement,
    }
    yield from (of(column) == value for column, value in equal.items() if value is not None)


def _times(filters: Filters, of: Chooser) -> Iterator[ColumnElement[bool]]:
    if filters.date_from is not None:
        yield of(Series.study_date) >= f"{filters.date_from:%Y%m%d}"
    if filters.date_to is not None:
        yield of(Series.study_date).between("1", f"{filters.date_to:%Y%m%d}")
    if filters.received_from is not None:
        yield of(Series.received_at) >= filters.received_from
    if filters.received_to is not None:
        yield of(Series.received_at) < filters.received_to


def _verdicts(filters: Filters, of: Chooser) -> Iterator[ColumnElement[bool]]:
    """Give the conditions on what was decided, by the node or by a person; nearly all have no correction."""
    uncorrected = unindexed(Series.correction_id).is_(None)
    if filters.term is not None:
        unknown = of(Series.term).is_(None) & Series.rule.is_not(None)
        told = unknown if filters.term == UNKNOWN else of(Series.term) == filters.term
        yield (told & uncorrected) | (of(Series.corrected_term) == filters.term)
    if filters.corrected is not None:
        yield of(Series.correction_id).is_not(None) if filters.corrected else uncorrected
    if filters.review_below is not None:
        unsure = (of(Series.confidence) < filters.review_below) & uncorrected
        yield of(Series.review).is_(True) | unsure


def said(region: str) -> ColumnElement[bool]:
    """Ask whether a person said that a series shows a region."""
    mine = select(CorrectionSpan.correction_id).where(CorrectionSpan.region == region)
    return Series.correction_id.in_(mine)


def _with_words(search: str) -> Select[int]:
    return select(Number()).select_from(SERIES_TEXT).where(matches(search))


def _beginning(pattern: str) -> Iterator[ColumnElement[bool]]:
    """Ask for the words before the first wild card, too: these are found by an index, a pattern is not."""
    beginning = re.split(r"[*?]", pattern, maxsplit=1)[0]
    if beginning != pattern and words(beginning):
        yield Series.id.in_(_with_words(beginning))


def _like(column: InstrumentedAttribute[str], pattern: str) -> ColumnElement[bool]:
    """Match a key with wild cards as DICOM does (PS3.4 C.2.2.2.4), here in any case."""
    if not set("*?") & set(pattern):
        return column == pattern
    escaped = pattern.translate({ord(letter): f"/{letter}" for letter in "/%_"})
    return column.ilike(escaped.replace("*", "%").replace("?", "_"), escape="/")
