"""/api/v1/series: lists by page, one series in full, its images, its deliveries, and sending it again."""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from db.corrections import Correction, history
from db.cursors import CursorError
from db.pages import Page, page
from db.queries import Filters, ImageRow, SeriesRow, image_rows, series_row
from db.tries import Sent, count_sent, sent
from node.auditing.admin import asked
from node.delivery.resend import resend
from node.explained import explanation
from node.web.access import Operator
from node.web.api.asking import ERRORS, MISSING, PageQuestion, SeriesId
from node.web.context import ContextDep

router = APIRouter(prefix="/api/v1/series", tags=["series"])

MAXIMUM_DELIVERIES: Final = 1000


@dataclass(frozen=True, slots=True)
class FullSeries(SeriesRow):
    """A series, why it is called so, and what people said of it, the latest first."""

    explanation: str
    corrections: tuple[Correction, ...]


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Some of the deliveries of a series, and how many there are in all."""

    rows: tuple[Sent, ...]
    total: int


class Again(BaseModel):
    """What to send again: what failed, or everything; to some destinations, or to the series' own."""

    model_config = ConfigDict(extra="forbid")

    destinations: list[Annotated[str, Field(max_length=64)]] = Field(default=[], max_length=100)
    everything: bool = False


class Armed(BaseModel):
    """How many instances are due again."""

    deliveries: int


@router.get("", responses=ERRORS)
def list_series(context: ContextDep, question: Annotated[PageQuestion, Query()]) -> Page:
    """Return a page of the matching series, and the cursor of the next one.

    `total` is exact, or means "at least" where `exact` is false.
    """
    with context.database.reading() as session:
        try:
            return page(session, question.filters(), question.sorting(), question.cursor, question.size)
        except CursorError as error:
            raise HTTPException(400, str(error)) from None


@router.get("/{series_id}", responses=MISSING)
def one_series(context: ContextDep, series_id: SeriesId) -> FullSeries:
    """Return a series in full."""
    with context.database.reading() as session:
        row = found(session, series_id)
        corrections = history(session, series_id)
    values = {name: getattr(row, name) for name in SeriesRow.__dataclass_fields__}
    return FullSeries(**values, explanation=explanation(row), corrections=corrections)


@router.get("/{series_id}/images", responses=MISSING)
def images(context: ContextDep, series_id: SeriesId) -> list[ImageRow]:
    """Return what was found in each file of a series, from the feet up."""
    with context.database.reading() as session:
        found(session, series_id)
        return image_rows(session, series_id)


@router.get("/{series_id}/deliveries", responses=MISSING)
def deliveries(
    context: ContextDep,
    series_id: SeriesId,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
    size: Annotated[int, Query(ge=1, le=MAXIMUM_DELIVERIES)] = 100,
) -> Deliveries:
    """Return what became of each instance at each destination, with every try; failed ones first."""
    with context.database.reading() as session:
        found(session, series_id)
        total = count_sent(session, series_id)
        return Deliveries(sent(session, series_id, offset, size), total)


@router.post("/{series_id}/deliveries", responses=MISSING)
def send_again(context: ContextDep, user: Operator, series_id: SeriesId, again: Again) -> Armed:
    """Send again what failed, or everything; what was sent before goes as it was. Needs an operator."""
    known = {each.name for each in context.config.destinations}
    unknown = [name for name in again.destinations if name not in known]
    if unknown:
        raise HTTPException(400, f"there is no destination '{unknown[0]}'")
    with context.database.reading() as session:
        row = found(session, series_id)
    mine = Filters(study=row.study_instance_uid, series=row.series_instance_uid)
    armed = resend(context.config, context.database, mine, again.destinations, not again.everything)
    asked(
        context.trail, user.name, "resend",
        series=row.series_instance_uid, destinations=again.destinations, deliveries=armed,
    )  # fmt: skip
    return Armed(deliveries=armed)


def found(session: Session, series_id: int) -> SeriesRow:
    """Return a series; raise the answer 404 where there is none."""
    row = series_row(session, series_id)
    if row is None:
        raise HTTPException(404, f"there is no series {series_id}")
    return row
