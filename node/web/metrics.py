"""Metrics for Prometheus: what the node counts, and what the database says of all that waits."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Final

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy.exc import SQLAlchemyError

from db.backlog import Backlog, Waiting, backlog
from node.web.access import IdentityDep, address_of, viewer
from node.web.context import Context, ContextDep

log = structlog.get_logger()
router = APIRouter(include_in_schema=False)

_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"


def reader(request: Request, context: ContextDep, identity: IdentityDep) -> None:
    """Let viewers in, by token or login, and without one who comes from `web.metrics_hosts`."""
    if not _is_one_of(address_of(request), context.config.web.metrics_hosts):
        viewer(identity)


@router.get("/metrics", dependencies=[Depends(reader)])
def metrics(context: ContextDep) -> Response:
    """Return all figures in Prometheus' text format; a part that cannot be had is missing, and told so."""
    registry = CollectorRegistry()
    registry.register(_Board(context))
    return Response(_of_node(context) + generate_latest(registry), media_type=_TEXT)


def _of_node(context: Context) -> bytes:
    try:
        return context.ask_metrics()
    except OSError as error:
        log.error("the node does not tell its metrics", reason=str(error))
        return b""


class _Board:
    """What waits, as metrics: asked of the database when Prometheus asks."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand: the database is asked only once."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        up = GaugeMetricFamily("bodytag_database_up", "1 where the database answers.")
        try:
            with self._context.database.reading() as session:
                found = backlog(session)
        except SQLAlchemyError as error:
            log.error("the metrics cannot be read from the database", reason=type(error).__name__)
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from _series(found, self._context.clock())
        names = [each.name for each in self._context.config.destinations]
        yield from _queues(found, names, self._context.clock())


def _series(found: Backlog, now: datetime) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "bodytag_series",
        "Series that wait for the worker (stable) or for a destination (classified), and failed ones.",
        labels=["state"],
    )
    for state, count in found.series.items():
        states.add_metric([state], count)
    yield states
    age_s = 0.0 if found.oldest_stable_at is None else _age_s(found.oldest_stable_at, now)
    yield _gauge("bodytag_oldest_stable_series_seconds", "For how long the oldest waits.", age_s)
    yield _gauge("bodytag_open_commitments", "Requests for commitment without a report.", found.commitments)


def _queues(found: Backlog, names: Iterable[str], now: datetime) -> Iterator[Metric]:
    queues = {name: found.queues.get(name, Waiting()) for name in names}
    told = (
        ("bodytag_pending_deliveries", "Instances that wait.", lambda queue: queue.pending),
        ("bodytag_failed_deliveries", "Instances that were put aside.", lambda queue: queue.failed),
        (
            "bodytag_oldest_pending_delivery_seconds",
            "For how long the oldest waits.",
            lambda queue: 0.0 if queue.oldest_at is None else _age_s(queue.oldest_at, now),
        ),
        (
            "bodytag_destination_paused",
            "1 where an admin holds it back.",
            lambda queue: float(queue.paused_at is not None),
        ),
    )
    for name, text, of in told:
        family = GaugeMetricFamily(name, text, labels=["destination"])
        for destination, queue in queues.items():
            family.add_metric([destination], of(queue))
        yield family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _age_s(since: datetime, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds())


def _is_one_of(address: str, hosts: Iterable[str]) -> bool:
    try:
        peer = ip_address(address)
    except ValueError:
        return False
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return any(peer in ip_network(host) for host in hosts)
