"""Whether the page and the database answer: /healthz for restarts, /readyz for load balancers."""

import structlog
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from node.web.context import ContextDep

log = structlog.get_logger()
router = APIRouter(include_in_schema=False)


@router.get("/healthz")
def healthz() -> PlainTextResponse:
    """Say that the process answers."""
    return PlainTextResponse("alive\n")


@router.get("/readyz")
def readyz(context: ContextDep) -> PlainTextResponse:
    """Say whether the database answers, too."""
    try:
        with context.database.reading() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        log.error("the page cannot read the database", reason=type(error).__name__)
        return PlainTextResponse("the database does not answer\n", 503)
    return PlainTextResponse("ready\n")
