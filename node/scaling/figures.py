"""Metrics that there are only with several machines."""

from typing import Final

from prometheus_client import Counter, Gauge

from node.metrics import REGISTRY

QUEUE: Final = Gauge(
    "bodytag_queue_tasks",
    "Tasks that wait in the broker, as the process that leads sees them.",
    ["queue"],
    registry=REGISTRY,
)
WAITING: Final = Gauge(
    "bodytag_waiting_series",
    "Stable series that nobody works on, as the process that leads sees them.",
    ["priority"],
    registry=REGISTRY,
)
GROWING: Final = Gauge(
    "bodytag_growing_series",
    "Series of which instances may still come by any receiver, as the process that leads sees them.",
    registry=REGISTRY,
)
ANEW: Final = Counter(
    "bodytag_tasks_published_anew_total",
    "Tasks that the sweeper published because there were fewer than there was work.",
    ["queue"],
    registry=REGISTRY,
)
LEADS: Final = Gauge(
    "bodytag_leads", "1 where this process sweeps and keeps house for all.", registry=REGISTRY
)
BURIED: Final = Counter(
    "bodytag_processes_buried_total",
    "Processes that vanished without a farewell.",
    ["role"],
    registry=REGISTRY,
)
