"""Votes at work: what other series of the study, decided before, show in the same Frame of Reference."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from sqlalchemy.orm import Session

from db.queries import Filters, ImageRow, image_rows, series_ids
from db.states import DECIDED
from model.geometry import normal
from model.read import ImageHeader, NotDicomError, read_header
from model.standing import lengthwise
from node.settings.config import Config
from node.storage.spool import Spool
from rules.verdict import Vote

MAXIMUM_SERIES: Final = 20
"""Series that are asked; a study of hundreds tells no more."""
PARALLEL: Final = 0.985
"""Cosine of 10 degrees: planes further apart do not share their heights."""


def votes(
    session: Session, spool: Spool, config: Config, series_id: int, headers: Sequence[ImageHeader]
) -> tuple[Vote, ...]:
    """Return what the series decided before say, where the rules ask for it; none in doubt.

    A series votes if it shares the Frame of Reference UID and the direction of its planes, which must
    lie across the body: others have no order to compare. Series
    that come later do not change this one's verdict.
    """
    places = {header.frame_of_reference_uid for header in headers}
    if "votes" not in config.rules or len(places) != 1 or places == {""} or lengthwise(headers[0]):
        return ()
    return tuple(_votes(session, spool, series_id, headers[0]))


def _votes(session: Session, spool: Spool, series_id: int, header: ImageHeader) -> Iterator[Vote]:
    study = header.study_instance_uid
    decided = [one for state in DECIDED for one in series_ids(session, Filters(study=study, state=state))]
    for other in sorted(set(decided) - {series_id}, reverse=True)[:MAXIMUM_SERIES]:
        rows = [row for row in image_rows(session, other) if row.region]
        if rows and _shares_place(spool, rows[0], header):
            yield _vote(rows)


def _vote(rows: Sequence[ImageRow]) -> Vote:
    """Make the vote of a series: of each image, or of each frame where an image has some."""
    said = [
        (each.position_mm, str(each.region), each.confidence or 0.0)
        for row in rows
        for each in (row.frames or (row,))
        if each.region and each.position_mm is not None
    ]
    return Vote(
        np.array([position for position, _, _ in said], np.float64),
        tuple(region for _, region, _ in said),
        np.array([confidence for _, _, confidence in said], np.float64),
    )


def _shares_place(spool: Spool, row: ImageRow, header: ImageHeader) -> bool:
    """Tell whether an image of another series lies in the same space and in parallel planes."""
    try:
        other = read_header(spool.path(row.path))
    except (NotDicomError, OSError):
        return False
    mine, theirs = normal(header.orientation), normal(other.orientation)
    if other.frame_of_reference_uid != header.frame_of_reference_uid or mine is None or theirs is None:
        return False
    return bool(mine @ theirs >= PARALLEL)
