"""Reports as instances to deliver: a file of the spool and a series of their own in the database.

A report is made and stored before the outcome of its series, and registered in the same transaction; so
it is delivered once, and retried, resent and shown like anything else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Final

import structlog
from sqlalchemy.orm import Session

from db.queries import SeriesRow
from db.records import InstanceFacts, Outcome, Route, SeriesFacts
from db.results import record_outcome
from db.series import register
from model.read import ImageHeader
from node import facts
from node.relabelling import report
from node.relabelling.coercion import KEEP
from node.settings.config import Config
from node.storage.spool import SeriesKey, Spool

log = structlog.get_logger()

REASON: Final = "report on series"
"""How the reason begins for which a report is not classified itself."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A report that lies in the spool, and where it goes."""

    series: SeriesFacts
    instance: InstanceFacts
    outcome: Outcome
    routes: tuple[Route, ...]


def prepare(
    headers: Sequence[ImageHeader],
    outcome: Outcome,
    routes: Sequence[Route],
    config: Config,
    spool: Spool,
    decided_at: datetime,
) -> Prepared | None:
    """Make the report on a series if a destination asks for one and something is known.

    Where it cannot be made or stored there is none, and the log says why: the images go on without it.
    """
    wanted = [Route(each.destination, KEEP) for each in routes if config.destination(each.destination).report]
    if not wanted or (outcome.verdict is None and outcome.whole is None):
        return None
    try:
        document = report.build(headers, outcome, decided_at, config.receive.ae_title)
        if document is None:
            return None
        buffer = BytesIO()
        document.save_as(buffer, enforce_file_format=True)
        path = spool.keep_report(str(document.SOPInstanceUID), buffer.getvalue())
    except (report.ReportError, OSError) as error:
        log.warning(
            "no report on a series", series_instance_uid=headers[0].series_instance_uid, reason=str(error)
        )
        return None
    key = SeriesKey(str(document.StudyInstanceUID), str(document.SeriesInstanceUID))
    reason = f"{REASON} {headers[0].series_instance_uid}"
    own = Outcome(None, (), reason, outcome.weights_digest, outcome.software_version)
    return Prepared(facts.of_series(spool, key, path), facts.of_file(spool, path), own, tuple(wanted))


def record(session: Session, prepared: Prepared, now: datetime) -> None:
    """Register a report as a series with its outcome, to be delivered."""
    registered = register(session, prepared.series, [prepared.instance], (), now)
    record_outcome(session, registered.series_id, prepared.outcome, prepared.routes, now)


def is_report(row: SeriesRow) -> bool:
    """Tell whether a series is one of the node's own reports."""
    return row.modality == "SR" and (row.reason or "").startswith(REASON)
