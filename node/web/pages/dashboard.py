"""The dashboard: what arrives, what it shows, whose tags are wrong, what waits since when, and the disk."""

import shutil
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request, Response

from db.backlog import Backlog, backlog
from db.dashboard import arrivals, named, source_tags
from node.settings.config import Config
from node.web.access import Viewer
from node.web.charts import by_hour
from node.web.context import ContextDep
from node.web.rendering import render

router = APIRouter()

HOURS: Final = 48
PERIODS: Final = {"1": "24 hours", "7": "7 days", "30": "30 days"}


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk of the spool, in bytes; below `floor` nothing is received."""

    free: int
    total: int
    floor: int
    quota: int | None

    @property
    def badge(self) -> str:
        """How that is: bad below the floor, a warning near it."""
        if self.free < self.floor:
            return "bad"
        return "warn" if self.free < 2 * self.floor else "good"


@router.get("/dashboard")
def show(
    request: Request,
    context: ContextDep,
    user: Viewer,
    days: Annotated[Literal["1", "7", "30"], Query()] = "7",
) -> Response:
    """Show how the node does, and what came in the last days."""
    del user
    now = context.clock()
    since = now - timedelta(days=int(days))
    with context.database.reading() as session:
        hours = arrivals(session, now, HOURS)
        terms, sources, queue = named(session, since), source_tags(session, since), backlog(session)
    last = hours[-24:]
    return render(
        request, "dashboard.html",
        now=now, days=days, periods=PERIODS, hours=hours, chart=by_hour(hours),
        images=sum(each.images for each in last), series=sum(each.series for each in last),
        terms=terms, most=max((each.series for each in terms), default=0), sources=sources,
        queue=queue, waiting=_waiting(queue), disk=disk(context.config),
    )  # fmt: skip


def _waiting(queue: Backlog) -> tuple[int, int]:
    """Return how many deliveries wait, and how many were put aside."""
    each = queue.queues.values()
    return sum(one.pending for one in each), sum(one.failed for one in each)


def disk(config: Config) -> Disk | None:
    """Look at the disk of the spool; None where it cannot be seen from here."""
    try:
        usage = shutil.disk_usage(config.spool.folder)
    except OSError:
        return None
    quota = config.spool.quota
    return Disk(
        usage.free, usage.total, int(config.spool.minimum_free), None if quota is None else int(quota)
    )
