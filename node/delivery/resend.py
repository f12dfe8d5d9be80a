"""Deliveries armed again, on an admin's request."""

from collections.abc import Collection

from db.deliveries import resend as rearm
from db.queries import Filters, SeriesRow, series_rows
from db.records import Route
from db.session import Database
from node import site
from node.clock import utc_now
from node.relabelling.coercion import KEEP, Incoming, Term, action_for
from node.relabelling.reporting import is_report
from node.settings.config import Config
from rules.site import SiteRule


def resend(
    config: Config, database: Database, filters: Filters, names: Collection[str], only_failed: bool
) -> int:
    """Arm the deliveries of the matching series to the named destinations; return how many instances.

    No name stands for those that a series goes to by itself. What a destination got before goes again
    as it was; what it never got is decided as configured now.
    """
    with database.reading() as session:
        rows = series_rows(session, filters)
    armed = 0
    for row in rows:
        rule = site.decided(config, row)
        to = names or _own(config, row, rule)
        routes = [Route(name, KEEP if site.keeps(rule) else _action(config, row, name)) for name in to]
        if is_report(row):
            routes = [each for each in routes if config.destination(each.destination).report]
        with database.session() as session:
            armed += rearm(session, [row.series_id], None, only_failed, routes, utc_now())
    return armed


def _own(config: Config, row: SeriesRow, rule: SiteRule | None) -> list[str]:
    """Return where a series goes by itself; a report goes where it went."""
    if is_report(row):
        configured = {each.name for each in config.destinations}
        return [each.destination for each in row.deliveries if each.destination in configured]
    return [each.name for each in site.destinations(config, rule, site.facts_of(row), site.found_of(row))]


def _action(config: Config, row: SeriesRow, name: str) -> str:
    incoming = Incoming(frozenset({row.incoming_body_part}), frozenset({row.incoming_laterality}))
    term = None if row.term is None else Term(row.term, row.paired, row.confidence or 0.0)
    return action_for(config.destination(name), incoming, term, config.relabel)
