"""The lists: all series, those of a study, and those that a person should review."""

from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.cursors import CursorError
from db.pages import Page, page
from db.queries import Filters, series_rows
from db.rows import DeliverySummary, delivery_summaries
from db.tables import Series
from model.series_labels import AXES, CONTRASTS, TITLES
from node.web.access import Viewer
from node.web.context import Context, ContextDep
from node.web.pages.asking import ORDERS, REGIONS, STATES, TAGS, Asked, question
from node.web.rendering import render

router = APIRouter()

CHOICES: Final = {
    "regions": REGIONS, "states": STATES, "tags": TAGS, "orders": ORDERS,
    "parts": TITLES, "axes": AXES, "contrasts": CONTRASTS,
}  # fmt: skip
"""What the lists of the filters hold."""
LINES: Final = 50
IN_A_STUDY: Final = 500
"""Series of a study that are listed; more than that no scanner makes."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a list with what became of each series at each destination."""

    page: Page
    deliveries: dict[int, tuple[DeliverySummary, ...]]


@router.get("/series")
def series(request: Request, context: ContextDep, user: Viewer) -> Response:
    """List all series."""
    del user
    return _show(request, context, question(request.query_params), "series_list.html", "/series")


@router.get("/review")
def review(request: Request, context: ContextDep, user: Viewer) -> Response:
    """List the series that a person should look at: no term, a remark, or little confidence."""
    del user
    below = context.config.relabel.fill_confidence
    asked = question(request.query_params, review_below=below)
    return _show(request, context, asked, "review.html", "/review", below=below)


@router.get("/studies/{uid}")
def study(request: Request, context: ContextDep, user: Viewer, uid: str) -> Response:
    """List the series of a study."""
    del user
    with context.database.reading() as session:
        rows = series_rows(session, Filters(study=uid, limit=IN_A_STUDY))
    if not rows:
        raise HTTPException(404)
    ordered = sorted(rows, key=lambda row: row.series_id)
    return render(request, "study.html", rows=ordered, first=ordered[0], uid=uid)


def _show(
    request: Request, context: Context, asked: Asked, template: str, path: str, **values: Any
) -> Response:
    mistakes = asked.mistakes
    with context.database.reading() as session:
        try:
            listed = _listed(session, asked)
        except CursorError as error:
            mistakes = (*mistakes, f"{str(error).capitalize()}.")
            listed = _listed(session, question(asked.fields, review_below=asked.filters.review_below))
    return render(
        request, template,
        listed=listed, asked=asked, mistakes=mistakes, here=path, now=context.clock(),
        choices=CHOICES, **values,
    )  # fmt: skip


def _listed(session: Session, asked: Asked) -> Listed:
    found = page(session, asked.filters, asked.sorting, asked.cursor, LINES)
    numbers = [row.series_id for row in found.rows]
    return Listed(found, delivery_summaries(session, select(Series.id).where(Series.id.in_(numbers))))
