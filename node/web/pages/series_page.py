"""The page of a series: what it shows and why, its picture, what the tags said, and where it went."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from sqlalchemy.orm import Session

from db import tries
from db.corrections import history
from db.queries import Filters, SeriesRow, image_rows, series_rows
from db.tables import Series
from node import status
from node.auditing.admin import asked
from node.delivery.resend import resend
from node.explained import explanation
from node.sheet import Layout, read_layout
from node.status import Rejection
from node.storage.spool import SeriesKey, picture_path
from node.web.access import Operator, Viewer
from node.web.context import Context, ContextDep
from node.web.pages.words import rule_meaning, tag_verdict
from node.web.portrait import portrait
from node.web.rendering import render

router = APIRouter()

PER_PAGE: Final = 50
"""Deliveries, or images, that a table of a series shows at once."""

Offset = Annotated[int, Query(ge=0, le=10_000_000)]


@router.get("/series/{series_id:int}")
def show(
    request: Request, context: ContextDep, user: Viewer, series_id: int, sent: int | None = None
) -> Response:
    """Show one series; `sent` deliveries were just armed again."""
    del user
    with context.database.reading() as session:
        row = found(session, series_id)
        images = image_rows(session, series_id)
        deaths = tries.deaths(session, series_id)
        corrections = history(session, series_id)
        siblings = series_rows(session, Filters(study=row.study_instance_uid, limit=200))
    layout = _layout(context, row)
    minimum = context.config.classify.minimum_confidence
    corrected = corrections[0].ranges if corrections else ()
    drawn = portrait(row, images, layout, f"/series/{series_id}/picture.jpg", minimum, corrected)
    return render(
        request,
        "series.html",
        row=row,
        portrait=drawn,
        explanation=explanation(row),
        tag=tag_verdict(row),
        rule=rule_meaning(row.rule),
        deaths=deaths,
        correction=corrections[0] if corrections else None,
        siblings=siblings,
        destinations=[each.name for each in context.config.destinations],
        meaning=status.meaning,
        sent=sent,
    )


@router.get("/series/{series_id:int}/picture.jpg")
def picture(context: ContextDep, user: Viewer, series_id: int) -> Response:
    """Send the picture that the worker drew."""
    del user
    with context.database.reading() as session:
        row = found(session, series_id)
    if _layout(context, row) is None:
        raise HTTPException(404)
    path = picture_path(context.config.spool.folder, _key(row))
    return FileResponse(path, media_type="image/jpeg")


@router.get("/series/{series_id:int}/deliveries")
def deliveries(
    request: Request, context: ContextDep, user: Viewer, series_id: int, offset: Offset = 0
) -> Response:
    """Show deliveries of single instances with every try; a piece of the page."""
    del user
    with context.database.reading() as session:
        total = tries.count_sent(session, series_id)
        rows = tries.sent(session, series_id, offset, PER_PAGE)
    more = offset + PER_PAGE if offset + PER_PAGE < total else None
    values: dict[str, Any] = {"rows": rows, "series_id": series_id, "total": total, "offset": offset}
    return render(request, "series_deliveries.html", more=more, meaning=status.meaning, **values)


@router.get("/series/{series_id:int}/images")
def images(
    request: Request, context: ContextDep, user: Viewer, series_id: int, offset: Offset = 0
) -> Response:
    """Show what was found in each image, head first; a piece of the page."""
    del user
    with context.database.reading() as session:
        rows = image_rows(session, series_id)[::-1]
    more = offset + PER_PAGE if offset + PER_PAGE < len(rows) else None
    values: dict[str, Any] = {"series_id": series_id, "total": len(rows), "offset": offset, "more": more}
    return render(request, "series_images.html", rows=rows[offset : offset + PER_PAGE], **values)


@router.post("/series/{series_id:int}/resend")
def send_again(
    context: ContextDep,
    user: Operator,
    series_id: int,
    destination: Annotated[str, Form(max_length=64)] = "",
    everything: Annotated[bool, Form()] = False,
) -> Response:
    """Arm deliveries of a series again: what failed, or everything; to one destination, or all of its own."""
    names = [context.config.destination(destination).name] if destination else []
    with context.database.reading() as session:
        row = found(session, series_id)
    filters = Filters(study=row.study_instance_uid, series=row.series_instance_uid)
    armed = resend(context.config, context.database, filters, names, only_failed=not everything)
    asked(
        context.trail, user.name, "resend",
        series=row.series_instance_uid, destinations=names, deliveries=armed,
    )  # fmt: skip
    return RedirectResponse(f"/series/{series_id}?sent={armed}#deliveries", 303)


def found(session: Session, series_id: int) -> SeriesRow:
    """Return a series by its number; raises 404."""
    known = session.get(Series, series_id) if series_id < 1 << 63 else None
    if known is None:
        raise HTTPException(404)
    filters = Filters(study=known.study_instance_uid, series=known.series_instance_uid)
    return series_rows(session, filters)[0]


def _key(row: SeriesRow) -> SeriesKey:
    return SeriesKey(row.study_instance_uid, row.series_instance_uid)


def _layout(context: Context, row: SeriesRow) -> Layout | None:
    try:
        return read_layout(picture_path(context.config.spool.folder, _key(row)))
    except Rejection:
        return None
