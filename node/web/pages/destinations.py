"""The page of destinations: whether each answers, what waits and since when, and holding back or going on."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from db import deliveries, tries
from db import destinations as stored
from db.backlog import Waiting, backlog
from db.destinations import Hold
from db.records import Route
from db.tries import Try
from node import status
from node.auditing.admin import asked
from node.delivery.destinations import transport
from node.delivery.transport import PeerError
from node.relabelling.coercion import KEEP
from node.settings.destinations import Destination
from node.web.access import Operator, Viewer
from node.web.context import Context, ContextDep
from node.web.rendering import render

router = APIRouter()

AT_ONCE: Final = 1000
"""Series whose deliveries one click arms again: each is a transaction of its own."""
ECHO_TIMEOUT_S: Final = 10.0

Change = Callable[[Session, str, datetime], bool]
Reason = Annotated[str, Form(max_length=200)]


@dataclass(frozen=True, slots=True)
class Health:
    """How a destination does, in a word, with its badge."""

    word: str
    badge: str


@dataclass(frozen=True, slots=True)
class Line:
    """A destination as the page shows it."""

    name: str
    type: str
    where: str
    gets: str
    waiting: Waiting
    hold: Hold
    last: Try | None
    health: Health


@router.get("/destinations")
def show(
    request: Request, context: ContextDep, user: Viewer, sent: int | None = None, more: bool = False
) -> Response:
    """Show all destinations; `sent` deliveries were just armed again, and with `more` others are left."""
    del user
    with context.database.reading() as session:
        lines = _lines(context, session)
    now = context.clock()
    return render(
        request, "destinations.html", lines=lines, now=now, meaning=status.meaning, sent=sent, more=more
    )


@router.post("/destinations/{name}/echo")
def echo(request: Request, context: ContextDep, user: Operator, name: str) -> Response:
    """Ask a destination whether it answers (C-ECHO, QIDO-RS, a look at the folder); a piece of the page."""
    found = _known(context, name)
    patience_s = min(found.timeout_s, ECHO_TIMEOUT_S)
    way = transport(found.model_copy(update={"timeout_s": patience_s}), context.config.receive.ae_title)
    started = context.clock()
    try:
        said, good = way.echo(), True
    except PeerError as error:
        said, good = str(error), False
    good = good and said == "success"
    asked(context.trail, user.name, "echo", destination=found.name, answered=good)
    took_ms = (context.clock() - started).total_seconds() * 1000
    return render(request, "echo.html", said=said, good=good, took_ms=took_ms, at=started)


@router.post("/destinations/{name}/pause")
def pause(context: ContextDep, user: Operator, name: str, reason: Reason = "") -> Response:
    """Hold a destination back; nothing that waits becomes too old."""
    said = reason.strip() or f"by {user.name}"
    return _change(context, user.name, "pause", name, _pausing(said))


@router.post("/destinations/{name}/resume")
def resume(context: ContextDep, user: Operator, name: str) -> Response:
    """Let a destination go on; all that waits is due at once."""
    return _change(context, user.name, "resume", name, stored.resume)


@router.post("/destinations/{name}/resend")
def send_again(context: ContextDep, user: Operator, name: str) -> Response:
    """Arm again what was put aside for a destination, as it was; of very many the rest at the next click."""
    found = _known(context, name)
    with context.database.reading() as session:
        series_ids = tries.failed_series(session, found.name, AT_ONCE + 1)
    armed = 0
    for series_id in series_ids[:AT_ONCE]:
        with context.database.session() as session:
            armed += deliveries.resend(
                session, [series_id], None, True, [Route(found.name, KEEP)], context.clock()
            )
    asked(context.trail, user.name, "resend", destination=found.name, deliveries=armed)
    more = "&more=true" if len(series_ids) > AT_ONCE else ""
    return RedirectResponse(f"/destinations?sent={armed}{more}", 303)


def _pausing(reason: str) -> Change:
    return lambda session, name, now: stored.pause(session, name, reason, now)


def _change(context: Context, user: str, command: str, name: str, change: Change) -> Response:
    found = _known(context, name)
    with context.database.session() as session:
        changed = change(session, found.name, context.clock())
    asked(context.trail, user, command, destination=found.name, changed=changed)
    return RedirectResponse("/destinations", 303)


def _known(context: Context, name: str) -> Destination:
    """Return a configured destination; raises 404."""
    for each in context.config.destinations:
        if each.name == name:
            return each
    raise HTTPException(404)


def _lines(context: Context, session: Session) -> list[Line]:
    waiting, last = backlog(session).queues, tries.last_tries(session)
    return [_line(context, session, each, waiting, last) for each in context.config.destinations]


def _line(
    context: Context, session: Session, each: Destination, waiting: dict[str, Waiting], last: dict[str, Try]
) -> Line:
    mine, hold, tried = (
        waiting.get(each.name, Waiting()),
        stored.hold(session, each.name),
        last.get(each.name),
    )
    where = transport(each, context.config.receive.ae_title).where
    names = {forwarded.name for forwarded in context.config.forwarded}
    gets = "every series" if each.name in names else "what is sent to it by name"
    if each.when is not None:
        gets = "series that meet its condition"
    kind = str(getattr(each, "type", ""))
    return Line(each.name, kind, where, gets, mine, hold, tried, health(mine, hold, tried))


def health(waiting: Waiting, hold: Hold, last: Try | None) -> Health:
    """Say how a destination does, from its queue and the last try."""
    answered = last is not None and last.status is not None
    taken = answered and last is not None and _taken(last.status)
    if hold.paused_at is not None:
        return Health("held back", "warn")
    if waiting.pending and last is not None and not taken:
        return Health("refuses" if answered else "does not answer", "bad")
    if waiting.failed:
        return Health("some put aside", "warn")
    if waiting.pending:
        return Health("sending", "good")
    return Health("in order", "good") if taken else Health("nothing sent lately", "plain")


def _taken(answer: int | None) -> bool:
    return answer is not None and (status.is_success(answer) or status.is_warning(answer))
