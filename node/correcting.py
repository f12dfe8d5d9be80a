"""Corrections at work: what a person says of a series is kept, carried over, and delivered where asked for.

A correction is a decision of its own for the copies: with its time, its term and the region that each image
has by it. The verdict stays beside it, for the record and for whoever measures how good verdicts are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from db import corrections
from db.corrections import Correction, NewCorrection, companions, heights, record
from db.deliveries import deliver_anew
from db.moves import lock_series
from db.queries import SeriesRow, series_row
from db.records import ImageResult, Outcome, Route
from db.session import Database
from db.states import DECIDED
from node import site
from node.relabelling.coercion import KEEP, Incoming, Term, action_for
from node.relabelling.reporting import is_report
from node.settings.config import Config
from node.version import VERSION
from rules.correction import CorrectionError, Range, carried, checked, named


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for: the ranges, and whether copies go out again and other series follow."""

    ranges: tuple[Range, ...]
    note: str = ""
    deliver: bool = False
    carry_over: bool = True


@dataclass(frozen=True, slots=True)
class Done:
    """What was done: the correction, the series that followed it, and how many deliveries are due again."""

    correction: Correction
    carried_to: tuple[int, ...]
    deliveries: int


def correct(
    config: Config, database: Database, series_id: int, request: Request, made_by: str, now: datetime
) -> Done:
    """Store a correction, carry it over and arm the deliveries, as asked for.

    Raises CorrectionError where it does not fit to the series, KeyError where there is no such series.
    """
    with database.session() as session:
        lock_series(session, series_id)
        row = _decided(session, series_id)
        known = [each.z_mm for each in heights(session, series_id)]
        ranges = checked(request.ranges, known)
        new = NewCorrection(made_by, request.note, ranges, named(ranges, known), VERSION)
        made = corrections.correction(session, record(session, series_id, new, now))
        others = companions(session, series_id) if request.carry_over else ()
    followed = tuple(other for other in others if _carry(database, other, made, now))
    deliveries = 0
    if request.deliver:
        deliveries = sum(deliver(config, database, each, now) for each in (row.series_id, *followed))
    return Done(made, followed, deliveries)


def _decided(session: Session, series_id: int) -> SeriesRow:
    row = series_row(session, series_id)
    if row is None:
        raise KeyError(f"there is no series {series_id}")
    if row.state not in DECIDED:
        raise CorrectionError("the series has no verdict yet; correct it once it has one")
    if is_report(row):
        raise CorrectionError("a report shows nothing; correct the series that it is about")
    return row


def _carry(database: Database, series_id: int, made: Correction, now: datetime) -> bool:
    """Let another series of the Frame of Reference follow a correction as far as it reaches there."""
    with database.session() as session:
        lock_series(session, series_id)
        images = [(each.z_mm, each.region) for each in heights(session, series_id)]
        new = _following(made, images)
        if new is None or series_id not in companions(session, made.series_id):
            return False
        record(session, series_id, new, now)
    return True


def _following(made: Correction, images: Sequence[tuple[float, str | None]]) -> NewCorrection | None:
    ranges = carried(made.ranges, images)
    if not ranges:
        return None
    term = named(ranges, [height for height, _ in images])
    return NewCorrection(made.made_by, made.note, ranges, term, VERSION, carried_from=made.correction_id)


def inherited(session: Session, series_id: int, outcome: Outcome) -> NewCorrection | None:
    """Return the correction that a series, which is being decided, takes over from its Frame of Reference."""
    made = corrections.inherited(session, series_id)
    if made is None:
        return None
    images = [image for image in outcome.images if image.reason is None]
    return _following(made, [place for image in images for place in _places(image)])


def _places(image: ImageResult) -> list[tuple[float, str | None]]:
    found = image.frames or (image,)
    return [(each.z_mm, each.region) for each in found if each.z_mm is not None and each.reason is None]


def term_of(new: NewCorrection) -> Term | None:
    """Return a correction's term as relabelling asks for it: a person is sure."""
    return None if new.named.term is None else Term(new.named.term, new.named.paired, 1.0)


def deliver(config: Config, database: Database, series_id: int, now: datetime) -> int:
    """Arm the deliveries of a corrected series anew, by its correction; return how many instances.

    They go where the series went, and by the policies of now: a site rule that keeps the tags keeps them, and
    a destination that wants no labels gets none.
    """
    with database.reading() as session:
        row = series_row(session, series_id)
        made = corrections.history(session, series_id)[:1]
    if row is None or not made:
        return 0
    [holds] = made
    rule = site.decided(config, row)
    term = None if holds.term is None else Term(holds.term, holds.paired, 1.0)
    incoming = Incoming(frozenset({row.incoming_body_part}), frozenset({row.incoming_laterality}))
    configured = {each.name: each for each in config.destinations}
    routes = [
        Route(
            name,
            KEEP if site.keeps(rule) else action_for(configured[name], incoming, term, config.relabel),
            holds.correction_id,
        )
        for name in dict.fromkeys(each.destination for each in row.deliveries)
        if name in configured
    ]
    with database.session() as session:
        return deliver_anew(session, series_id, routes, now)
