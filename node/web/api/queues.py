"""/api/v1/backlog: what waits for the worker and for each destination, since when, and what was put aside."""

from fastapi import APIRouter

from db.backlog import Backlog, backlog
from node.web.api.asking import ERRORS
from node.web.context import ContextDep

router = APIRouter(prefix="/api/v1", tags=["queues"])


@router.get("/backlog", responses=ERRORS)
def show(context: ContextDep) -> Backlog:
    """Return series by state, queues by destination, and open requests for storage commitment."""
    with context.database.reading() as session:
        return backlog(session)
