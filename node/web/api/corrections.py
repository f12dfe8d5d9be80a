"""/api/v1/series/.../corrections: what people said of a series, and saying it."""

from typing import Annotated

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from db.corrections import Correction, history
from node.auditing.admin import asked
from node.correcting import Done, Request, correct
from node.web.access import Operator
from node.web.api.asking import MISSING, SeriesId
from node.web.api.series import found
from node.web.context import ContextDep
from rules.correction import MAXIMUM_RANGES, CorrectionError, Range

router = APIRouter(prefix="/api/v1/series", tags=["corrections"])

Millimetres = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]


class GivenRange(BaseModel):
    """A region along the patient's z axis in mm, towards the head; without them, of the whole series."""

    model_config = ConfigDict(extra="forbid")

    region: Annotated[str, Field(max_length=64)]
    low_mm: Millimetres | None = None
    high_mm: Millimetres | None = None


class Given(BaseModel):
    """A correction: ranges that do not overlap; what lies outside all of them is unknown.

    `deliver` sends all copies again, made by the correction. `carry_over` lets the other series of the same
    patient and Frame of Reference follow, as far as it reaches there, but for those that a person corrected.
    """

    model_config = ConfigDict(extra="forbid")

    ranges: Annotated[list[GivenRange], Field(min_length=1, max_length=MAXIMUM_RANGES)]
    note: Annotated[str, Field(max_length=500)] = ""
    deliver: bool = False
    carry_over: bool = True


@router.get("/{series_id}/corrections", responses=MISSING)
def corrections(context: ContextDep, series_id: SeriesId) -> list[Correction]:
    """Return the corrections of a series; the first one holds."""
    with context.database.reading() as session:
        found(session, series_id)
        return list(history(session, series_id))


@router.post("/{series_id}/corrections", status_code=201, responses=MISSING)
def add_correction(context: ContextDep, user: Operator, series_id: SeriesId, given: Given) -> Done:
    """Say what a series shows; the verdict stays beside it. Needs an operator."""
    ranges = tuple(Range(each.region, each.low_mm, each.high_mm) for each in given.ranges)
    request = Request(ranges, given.note, given.deliver, given.carry_over)
    return said(context, user.name, series_id, request)


def said(context: ContextDep, name: str, series_id: int, request: Request) -> Done:
    """Make a correction and note it in the audit trail; raises the answers 400 and 404."""
    with context.database.reading() as session:
        row = found(session, series_id)
    try:
        done = correct(context.config, context.database, series_id, request, name, context.clock())
    except CorrectionError as error:
        raise HTTPException(400, str(error)) from None
    asked(
        context.trail, name, "correct",
        series=row.series_instance_uid, term=done.correction.term, carried_to=len(done.carried_to),
        deliveries=done.deliveries,
    )  # fmt: skip
    return done
