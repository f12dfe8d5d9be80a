"""Metrics: what the running node counts, for Prometheus. No label holds anything of a patient.

Labels are names from node.yaml, modalities of a fixed list, and words of this program; so their number is
bounded, whatever peers send. All is counted in the node's own process: its children tell it what they did.
What can be asked of the database (db/backlog.py) is not counted, but asked when somebody looks.
"""

import math
from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from node.clock import utc_now

if TYPE_CHECKING:
    from db.decisions import Decision  # and with it the database, of which those that receive need nothing

REGISTRY: Final = CollectorRegistry()

OTHER: Final = "other"

MODALITIES: Final = frozenset(
    {"CR", "CT", "DX", "ES", "IO", "MG", "MR", "NM", "OP", "OT", "PR", "PT", "PX", "RF", "RG", "RTDOSE",
     "RTIMAGE", "RTPLAN", "RTSTRUCT", "SC", "SEG", "SM", "SR", "US", "XA", "XC"}
)  # fmt: skip
"""Values of Modality (0008,0060) that have a label of their own (PS3.3 C.7.3.1.1.1); the rest is OTHER."""

_SHORT_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
_LONG_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 86400.0)

# Receiving. `way` is dicom or dicomweb, `source` the AE title of a listed caller or client.
RECEIVED: Final = Counter(
    "bodytag_received_instances_total", "Instances stored in the spool.", ["way", "source"], registry=REGISTRY
)
RECEIVED_BYTES: Final = Counter(
    "bodytag_received_bytes_total", "Bytes of their data sets.", ["way", "source"], registry=REGISTRY
)
DUPLICATES: Final = Counter(
    "bodytag_duplicate_instances_total", "Instances that were there already.", ["way"], registry=REGISTRY
)
REFUSED: Final = Counter(
    "bodytag_refused_instances_total",
    "Instances not taken, by the status that was answered.",
    ["way", "status"],
    registry=REGISTRY,
)
STORE_SECONDS: Final = Histogram(
    "bodytag_store_seconds",
    "From a C-STORE request to its answer: checked and durable.",
    buckets=_SHORT_S,
    registry=REGISTRY,
)
ASSOCIATIONS: Final = Gauge(
    "bodytag_open_associations", "Associations that peers have open.", registry=REGISTRY
)
ALERTS: Final = Counter(
    "bodytag_security_alerts_total",
    "Peers turned away or cut off at the DICOM port; the audit trail has them.",
    registry=REGISTRY,
)

# From the spool to the worker and back.
GATHERING: Final = Gauge(
    "bodytag_gathering_series", "Series of which instances may still come.", registry=REGISTRY
)
DECIDED: Final = Counter(
    "bodytag_decided_series_total",
    "Series decided: with a term, unknown, or passed on without a look.",
    ["modality", "source", "result"],
    registry=REGISTRY,
)
TERMS: Final = Counter(
    "bodytag_decided_terms_total",
    "Series by the term they were given.",
    ["modality", "term"],
    registry=REGISTRY,
)
COMPARED: Final = Counter(
    "bodytag_compared_tags_total",
    "Incoming tags held against the verdict, where both say something.",
    ["modality", "source", "result"],
    registry=REGISTRY,
)
CLASSIFIED_IMAGES: Final = Counter(
    "bodytag_classified_images_total", "Images that a network has seen.", ["modality"], registry=REGISTRY
)
WORK_SECONDS: Final = Histogram(
    "bodytag_work_seconds",
    "What a worker takes for a series: reading, network, rules, writing.",
    ["modality"],
    buckets=_LONG_S,
    registry=REGISTRY,
)
DECISION_DELAY: Final = Histogram(
    "bodytag_decision_delay_seconds",
    "From a series' registration to its decision.",
    buckets=_LONG_S,
    registry=REGISTRY,
)
WORKERS: Final = Gauge("bodytag_workers", "Inference processes that are configured.", registry=REGISTRY)
WORKERS_BUSY: Final = Gauge("bodytag_workers_busy", "Those that work on a series.", registry=REGISTRY)

# Delivering, by the destination's name.
TRIES: Final = Counter(
    "bodytag_delivery_tries_total",
    "Tries to deliver an instance: sent, postponed, or put aside as failed.",
    ["destination", "result"],
    registry=REGISTRY,
)
DELIVERY_SECONDS: Final = Histogram(
    "bodytag_delivery_seconds",
    "What one instance takes: relabelled, sent, answered.",
    ["destination"],
    buckets=_SHORT_S,
    registry=REGISTRY,
)
DELIVERY_DELAY: Final = Histogram(
    "bodytag_delivery_delay_seconds",
    "From the decision, or the last order to send again, to the delivery.",
    ["destination"],
    buckets=_LONG_S,
    registry=REGISTRY,
)
UP: Final = Gauge(
    "bodytag_destination_up",
    "1 where the last connection brought an answer, 0 where it did not.",
    ["destination"],
    registry=REGISTRY,
)

# The house.
FREE_BYTES: Final = Gauge("bodytag_spool_free_bytes", "What the spool's disk has left.", registry=REGISTRY)
FLOOR_BYTES: Final = Gauge(
    "bodytag_spool_floor_bytes", "Under this floor instances are refused.", registry=REGISTRY
)
REMOVED: Final = Counter(
    "bodytag_removed_files_total", "Delivered files that retention removed.", registry=REGISTRY
)
DEATHS: Final = Counter(
    "bodytag_process_deaths_total",
    "Crashes, hangs and failures of the node's processes, which are started again.",
    ["process"],
    registry=REGISTRY,
)
NOTIFICATIONS: Final = Counter(
    "bodytag_notifications_total",
    "Messages to admins: sent, or given up.",
    ["way", "result"],
    registry=REGISTRY,
)
VERSION: Final = Gauge("bodytag_build_info", "1, with the version.", ["version"], registry=REGISTRY)

ProcessCollector(namespace="bodytag_node", registry=REGISTRY)


def asked(gauge: Gauge, ask: Callable[[], float]) -> None:
    """Let a gauge say what `ask` returns whenever somebody looks; NaN where that fails."""

    def now() -> float:
        try:
            return ask()
        except OSError:
            return math.nan

    gauge.set_function(now)


def modality(value: str) -> str:
    """Return the label of a Modality that a header claims."""
    return value if value in MODALITIES else OTHER


def source(ae_title: str, listed: Collection[str]) -> str:
    """Return the label of a sender: its AE title where node.yaml lists it."""
    return ae_title if ae_title in listed else OTHER


def received(way: str, ae_title: str, size_bytes: int, duplicate: bool) -> None:
    """Count an instance that was stored; `ae_title` is a label made by `source`."""
    if duplicate:
        DUPLICATES.labels(way).inc()
        return
    RECEIVED.labels(way, ae_title).inc()
    RECEIVED_BYTES.labels(way, ae_title).inc(size_bytes)


def refused(way: str, status: int) -> None:
    """Count an instance that was not taken."""
    REFUSED.labels(way, f"0x{status:04X}").inc()


def delivered(destination: str, armed_at: datetime) -> None:
    """Count an instance that arrived; `armed_at` is when it became due."""
    TRIES.labels(destination, "sent").inc()
    DELIVERY_DELAY.labels(destination).observe(max(0.0, (utc_now() - armed_at).total_seconds()))


def decided(decision: "Decision", listed: Collection[str]) -> None:
    """Count what was decided of a series, by modality and by the sender that is listed."""
    kind, sender = modality(decision.modality), source(decision.calling_ae_title, listed)
    result = "passed_on" if decision.reason else "unknown" if decision.term is None else "term"
    DECIDED.labels(kind, sender, result).inc()
    CLASSIFIED_IMAGES.labels(kind).inc(decision.images)
    if decision.term is not None:
        TERMS.labels(kind, decision.term).inc()
    if decision.disagrees is not None:
        COMPARED.labels(kind, sender, "disagrees" if decision.disagrees else "agrees").inc()
    DECISION_DELAY.observe(max(0.0, (decision.decided_at - decision.received_at).total_seconds()))


def exposition() -> bytes:
    """Return all of it in Prometheus' text format."""
    return generate_latest(REGISTRY)
