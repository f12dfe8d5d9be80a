"""A series' journey in logs and traces: one name from the association to the delivery.

OpenTelemetry is an extra. Where it is missing, or no collector is configured, only the logs have the name.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import structlog

from db.journeys import Priority
from node.settings.config import Config
from node.version import VERSION
from rules.site import Facts, Found, met

_TRACER: list[Any] = []
_NOTHING: Final = Found(None, 0.0)


class TracesError(Exception):
    """Traces cannot be exported; the message is one sentence."""


def export_traces(config: Config, role: str) -> None:
    """Export spans from here on, where the configuration names a collector; raises TracesError."""
    if config.scaling.traces is None:
        return
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter") is None:
        raise TracesError("scaling.traces: OpenTelemetry is missing: pip install bodytag[telemetry]")
    trace = import_module("opentelemetry.sdk.trace")
    export = import_module("opentelemetry.sdk.trace.export")
    otlp = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    resources = import_module("opentelemetry.sdk.resources")
    named = {"service.name": f"bodytag-{role}", "service.version": VERSION}
    provider = trace.TracerProvider(resource=resources.Resource.create(named))
    exporter = otlp.OTLPSpanExporter(endpoint=f"{config.scaling.traces.rstrip('/')}/v1/traces", timeout=5)
    provider.add_span_processor(export.BatchSpanProcessor(exporter))
    _TRACER[:] = [provider.get_tracer("bodytag", VERSION), provider]


def end_traces() -> None:
    """Send what is left."""
    if _TRACER:
        _TRACER[1].shutdown()
        _TRACER.clear()


@contextmanager
def stage(
    name: str, correlation_id: str, began_ns: int | None = None, **attributes: str | int
) -> Iterator[None]:
    """Do a stage of a journey: every line that is logged meanwhile has its name, and there is a span of it.

    `began_ns`: when the stage began, in ns since 1970, if that was before.
    """
    with structlog.contextvars.bound_contextvars(correlation_id=correlation_id or None):
        if not _TRACER or not correlation_id:
            yield
            return
        parent = _parent(correlation_id)
        with _TRACER[0].start_as_current_span(name, parent, attributes=attributes, start_time=began_ns):
            yield


def trace_id(correlation_id: str) -> int:
    """Return the 128-bit number of the trace that a journey is."""
    return int.from_bytes(hashlib.sha256(correlation_id.encode()).digest()[:16], "big")


def _parent(correlation_id: str) -> Any:
    """Return the context of a span that nobody exports: all stages of a journey are its children."""
    api = import_module("opentelemetry.trace")
    number = trace_id(correlation_id)
    root = api.SpanContext(number, number & (1 << 64) - 1 or 1, True, api.TraceFlags(api.TraceFlags.SAMPLED))
    return api.set_span_in_context(api.NonRecordingSpan(root))


def urgency(config: Config, facts: Facts, study_date: str, now: datetime) -> Priority:
    """Say how urgent a series is, by what is known of it when its first image came."""
    scaling = config.scaling
    if any(met(each.conditions, facts, _NOTHING) for each in scaling.urgent):
        return Priority.URGENT
    if scaling.prior_after_days is None:
        return Priority.ROUTINE
    try:
        studied = datetime.strptime(study_date[:8], "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return Priority.ROUTINE
    return Priority.PRIOR if now - studied > timedelta(days=scaling.prior_after_days) else Priority.ROUTINE
