"""Metrics: what is counted, under which bounded labels, and in the text format of Prometheus."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from db.decisions import Decision, decision
from db.results import record_outcome
from db.session import Database
from node import metrics
from node.clock import utc_now
from node.health import Health
from node.intake.receive import Receiver
from node.settings.receive import Caller, Receive
from node.storage.spool import Spool
from tests.builders import Recipe, write
from tests.db.values import NOW, add_series, no_verdict
from tests.harness import free_port, storescu
from tests.node.bench import Bench, opened
from tests.node.delivering import UNDECIDED, drive, forwarder, stored, web_peer

CHEST = Decision("CT", "CT1", NOW, NOW + timedelta(seconds=3), "CHEST", True, None, 30)


def value(name: str, **labels: str) -> float:
    """Return what a sample says now, 0 where there is none yet."""
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
def bench(tmp_path: Path, database_url: str) -> Iterator[Bench]:
    """A spool and a database, of both kinds."""
    with opened(tmp_path, database_url) as bench:
        yield bench


def test_the_exposition_is_prometheus_text() -> None:
    """Prometheus' own parser reads it, and every name begins with that of the program."""
    metrics.VERSION.labels("0").set(1)
    families = list(text_string_to_metric_families(metrics.exposition().decode()))
    assert {"bodytag_received_instances", "bodytag_node_process_resident_memory_bytes"} <= {
        family.name for family in families
    }
    assert [family.name for family in families if not family.name.startswith("bodytag_")] == []


def test_labels_are_bounded_whatever_peers_send() -> None:
    """Neither an odd modality nor an AE title that nobody listed becomes a label."""
    before = value("bodytag_decided_series_total", modality="other", source="other", result="term")
    for number in range(50):
        claimed = replace(CHEST, modality=f"Miller^Anna{number}", calling_ae_title=f"EVIL{number}")
        metrics.decided(claimed, {"CT1"})
    text = metrics.exposition().decode()
    assert "Miller" not in text
    assert "EVIL" not in text
    after = value("bodytag_decided_series_total", modality="other", source="other", result="term")
    assert after == before + 50


@pytest.mark.parametrize(
    ("found", "result", "compared"),
    [
        (CHEST, "term", "disagrees"),
        (replace(CHEST, disagrees=False), "term", "agrees"),
        (replace(CHEST, term=None, disagrees=None), "unknown", None),
        (replace(CHEST, term=None, disagrees=None, reason="localizer"), "passed_on", None),
    ],
)
def test_decisions_are_told_apart(found: Decision, result: str, compared: str | None) -> None:
    """A term, doubt and what was not looked at are three results; tags are compared where both speak."""
    labels = {"modality": "CT", "source": "CT1"}
    name, other = "bodytag_decided_series_total", "bodytag_compared_tags_total"
    before = {key: value(name, **labels, result=key) for key in ("term", "unknown", "passed_on")}
    held = {key: value(other, **labels, result=key) for key in ("agrees", "disagrees")}
    metrics.decided(found, {"CT1"})
    assert {key: value(name, **labels, result=key) - count for key, count in before.items()} == {
        key: float(key == result) for key in before
    }
    assert {key: value(other, **labels, result=key) - count for key, count in held.items()} == {
        key: float(key == compared) for key in held
    }


def test_a_decision_is_read_from_the_database(database: Database) -> None:
    """A series without one has none; images that were only passed on were not seen by a network."""
    with database.session() as session:
        series_id = add_series(session, 1, 3)
        assert decision(session, series_id) is None
        record_outcome(session, series_id, no_verdict(), (), NOW)
        found = decision(session, series_id)
    assert found is not None
    assert (found.term, found.reason, found.images) == (None, no_verdict().reason, 0)


def test_what_is_received_is_counted(tmp_path: Path) -> None:
    """Instances, bytes, duplicates, refusals with their status, and associations while they are open."""
    seen: list[float] = []
    port = free_port()
    config = Receive(host="127.0.0.1", port=port, callers=(Caller(ae_title="TEST"),))
    spool = Spool(tmp_path / "spool", 0)
    receiver = Receiver(
        config, spool, lambda _: seen.append(value("bodytag_open_associations")), lambda _: None
    )
    names = {
        "stored": ("bodytag_received_instances_total", {"way": "dicom", "source": "TEST"}),
        "bytes": ("bodytag_received_bytes_total", {"way": "dicom", "source": "TEST"}),
        "twice": ("bodytag_duplicate_instances_total", {"way": "dicom"}),
        "refused": ("bodytag_refused_instances_total", {"way": "dicom", "status": "0xA700"}),
        "answers": ("bodytag_store_seconds_count", {}),
    }
    before = {key: value(name, **labels) for key, (name, labels) in names.items()}
    files = write(tmp_path / "images", Recipe(n=2))
    receiver.start()
    try:
        assert storescu(port, files).returncode == 0
        assert storescu(port, files[:1]).returncode == 0
        spool.room = Spool(tmp_path / "full", 1 << 60).room
        storescu(port, write(tmp_path / "more", Recipe(n=1, seed="more")))
    finally:
        receiver.stop()
    found = {key: value(name, **labels) - before[key] for key, (name, labels) in names.items()}
    assert found.pop("bytes") > 2 * 512
    assert found == {"stored": 2, "twice": 1, "refused": 1, "answers": 4}
    assert min(seen) >= 1


def test_what_is_delivered_is_counted(bench: Bench) -> None:
    """Tries by their result, and whether the destination is up: it is not while nobody listens."""
    bench.decided(Recipe(n=2), UNDECIDED)
    count = "bodytag_delivery_tries_total"
    before = {result: value(count, destination="archive", result=result) for result in ("sent", "postponed")}
    drive(bench, forwarder(bench, port=free_port()), lambda found: bool(found.last_comment))
    assert value("bodytag_destination_up", destination="archive") == 0
    with web_peer((200, {}, stored())) as peer:
        drive(bench, forwarder(bench, type="dicomweb", url=peer.url), lambda found: found.sent == 2)
    assert value("bodytag_destination_up", destination="archive") == 1
    assert value(count, destination="archive", result="sent") == before["sent"] + 2
    assert value(count, destination="archive", result="postponed") > before["postponed"]
    assert value("bodytag_delivery_delay_seconds_count", destination="archive") >= 2


def test_health_remembers_since_when() -> None:
    """An outage lasts from the first miss until an answer; deaths count for a while."""
    now = [0.0]
    health = Health(lambda: now[0])
    health.missed("archive", "refused")
    health.died("worker")
    now[0] = 60.0
    health.missed("archive", "no answer")
    health.died("worker")
    health.died("web")
    [outage] = health.outages().values()
    assert (outage.for_s, outage.why) == (60.0, "no answer")
    assert health.deaths(90) == {"web": 1, "worker": 2}
    assert health.deaths(30) == {"web": 1, "worker": 1}
    health.reached("archive")
    assert health.outages() == {}


def test_delays_are_never_negative() -> None:
    """A clock that was set back gives no negative time."""
    before = value("bodytag_delivery_delay_seconds_sum", destination="clock")
    metrics.delivered("clock", utc_now() + timedelta(hours=1))
    assert value("bodytag_delivery_delay_seconds_sum", destination="clock") == before
