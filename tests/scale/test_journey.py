"""The journey of a series: how urgent it is, its name in logs, and its spans at a collector's address."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from db.journeys import Priority
from node.scaling import journey
from node.settings.config import Config
from rules.site import Facts

NOW = datetime(2026, 11, 21, tzinfo=UTC)
HEAD = Facts("CT", "CT1", "HEAD", "STAT trauma", "axial")


def configured(**scaling: Any) -> Config:
    """Make a configuration of several machines."""
    return Config.model_validate(
        {
            "receive": {"promiscuous": True},
            "dispatch": "celery",
            "database": {"url": "postgresql://db/bodytag"},
            "scaling": {"broker": "redis://broker"} | scaling,
        }
    )


@pytest.mark.parametrize(
    ("study_date", "scaling", "expected"),
    [
        ("20261120", {}, Priority.ROUTINE),
        ("20260101", {}, Priority.PRIOR),
        ("20260101", {"prior_after_days": None}, Priority.ROUTINE),
        ("yesterday", {}, Priority.ROUTINE),
        ("", {}, Priority.ROUTINE),
        ("20260101", {"urgent": [{"study_description": "stat"}]}, Priority.URGENT),
        ("20261120", {"urgent": [{"modality": ["MR"]}, {"source": ["CT1"]}]}, Priority.URGENT),
        ("20261120", {"urgent": [{"modality": ["MR"]}]}, Priority.ROUTINE),
    ],
)
def test_urgency(study_date: str, scaling: dict[str, Any], expected: Priority) -> None:
    """Conditions make urgent, an old study date makes prior, and what cannot be read makes nothing."""
    assert journey.urgency(configured(**scaling), HEAD, study_date, NOW) is expected


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """Listen for what is exported."""
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", got
    server.shutdown()
    server.server_close()


def test_all_stages_are_one_trace(collector: tuple[str, list[bytes]]) -> None:
    """Stages in different processes come to the collector as spans of one trace, told by the series' name."""
    address, got = collector
    journey.export_traces(configured(traces=address), "worker")
    with journey.stage("classify", "a1b2c3", series_id=7):
        assert structlog.contextvars.get_contextvars()["correlation_id"] == "a1b2c3"
    with journey.stage("deliver", "a1b2c3", destination="archive"):
        pass
    with journey.stage("deliver", "", destination="archive"):
        pass
    journey.end_traces()
    assert "correlation_id" not in structlog.contextvars.get_contextvars()
    spans = [
        span
        for body in got
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert {span.name for span in spans} == {"classify", "deliver"}
    assert {int.from_bytes(span.trace_id, "big") for span in spans} == {journey.trace_id("a1b2c3")}
