"""The form of corrections on the page of a series: what people said of it, and saying something else."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from db.corrections import Correction, Height, heights, history
from db.states import DECIDED
from model.regions import BY_KEY
from node.correcting import Request as Asked
from node.web.access import Operator, Viewer
from node.web.api.corrections import said
from node.web.api.series import found
from node.web.context import Context, ContextDep
from node.web.rendering import render
from rules.correction import MAXIMUM_RANGES, Range

router = APIRouter()

BLANK: Final = 2
"""Empty lines after those that are filled in."""
_NOTE: Final = 500


@router.get("/series/{series_id:int}/correction")
def show(request: Request, context: ContextDep, user: Viewer, series_id: int) -> Response:
    """Show the form: a piece of the series' page, or a page of its own where scripts do not run."""
    del user
    piece = "hx-request" in request.headers
    name = "correction_form.html" if piece else "correction_page.html"
    return render(request, name, piece=piece, **_values(context, series_id))


@router.post("/series/{series_id:int}/correction")
async def correct(request: Request, context: ContextDep, user: Operator, series_id: int) -> Response:
    """Keep what somebody says; what does not fit is said beside what was filled in."""
    form = await request.form()
    ranges: tuple[Range, ...] = ()
    try:
        ranges = _ranges(form)
        asked = Asked(ranges, _text(form, "note")[:_NOTE], "deliver" in form, "carry_over" in form)
        await run_in_threadpool(said, context, user.name, series_id, asked)
    except (HTTPException, ValueError) as error:
        if isinstance(error, HTTPException) and error.status_code != 400:
            raise
        why = error.detail if isinstance(error, HTTPException) else str(error)
        values = await run_in_threadpool(_values, context, series_id)
        values |= {"mistake": why, "note": _text(form, "note")[:_NOTE]}
        if ranges:
            values["ranges"] = ranges
        return render(request, "correction_page.html", 400, piece=False, **values)
    return RedirectResponse(f"/series/{series_id}#corrections", 303)


def _values(context: Context, series_id: int) -> dict[str, Any]:
    with context.database.reading() as session:
        row = found(session, series_id)
        corrections = history(session, series_id)
        known = heights(session, series_id)
    return {
        "row": row,
        "corrections": corrections,
        "ranges": _suggested(corrections, known),
        "blank": BLANK,
        "lowest_mm": known[0].z_mm if known else None,
        "highest_mm": known[-1].z_mm if known else None,
        "regions": tuple(BY_KEY),
        "decided": row.state in DECIDED,
        "mistake": None,
        "note": "",
    }


def _suggested(corrections: Sequence[Correction], known: Sequence[Height]) -> tuple[Range, ...]:
    """Return what the form begins with: the correction that holds, or what the verdict says."""
    if corrections:
        return corrections[0].ranges
    runs = [
        (region, [each.z_mm for each in run]) for region, run in groupby(known, key=lambda each: each.region)
    ]
    shown = (Range(region, run[0], run[-1]) for region, run in runs if region in BY_KEY)
    return tuple(shown)[:MAXIMUM_RANGES]


def _ranges(form: FormData) -> tuple[Range, ...]:
    """Read the lines of the form; one without a region is none. Raises ValueError with one sentence."""
    lines = zip(*(map(str, form.getlist(name)) for name in ("region", "low_mm", "high_mm")), strict=True)
    return tuple(
        Range(region, _millimetres(low), _millimetres(high)) for region, low, high in lines if region.strip()
    )


def _millimetres(text: str) -> float | None:
    plain = text.strip().replace(",", ".")
    if not plain:
        return None
    try:
        return float(plain)
    except ValueError:
        raise ValueError(f"“{plain[:20]}” is no number of millimetres") from None


def _text(form: FormData, name: str) -> str:
    return str(form.get(name, "")).strip()
