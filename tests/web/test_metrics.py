"""/metrics: who may read it, what the database adds, and what the node's own process tells."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from db.accounts import Role
from db.deliveries import due, failed
from db.destinations import pause
from db.session import migrate, open_database
from node import metrics
from node.web.context import Context, make_context
from tests.db.values import MINUTE, NOW, add_classified, add_series
from tests.web.conftest import AsRole
from tests.web.serving import client_of, make_token, page_config, serving

ARCHIVE = {"name": "archive", "ae_title": "A", "host": "127.0.0.1", "port": 1}
READER = ARCHIVE | {"name": "reader"}


def samples(text: str) -> dict[tuple[str, str], float]:
    """Return the samples of an exposition by name and label."""
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_programs_need_a_token(as_role: AsRole) -> None:
    """Nobody reads without one; a viewer's is enough."""
    assert as_role(None).get("/metrics", headers={"Accept": "text/plain"}).status_code == 401
    answer = as_role(Role.VIEWER).get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(("hosts", "status"), [(["10.0.0.0/8"], 200), (["10.1.0.0/16"], 401), ([], 401)])
def test_listed_addresses_need_none(context: Context, hosts: list[str], status: int) -> None:
    """Who comes from `web.metrics_hosts` reads the metrics, and nothing else."""
    config = context.config
    web = config.web.model_copy(update={"metrics_hosts": tuple(hosts)})
    opened = replace(context, config=config.model_copy(update={"web": web}))
    client = client_of(opened)
    client._transport.client = ("10.9.8.7", 1)  # type: ignore[attr-defined]  # where the request comes from
    assert client.get("/metrics").status_code == status
    assert client.get("/api/v1/openapi.json").status_code == 401


def test_the_database_says_what_waits(tmp_path: Path) -> None:
    """Ages and counts of the queues, zeros for destinations with nothing to tell; no patient in any of it."""
    config = page_config(tmp_path, destinations=[ARCHIVE, READER])
    migrate(config.database.url)
    database = open_database(config.database.url)
    with database.session() as session:
        add_series(session, 1, patient_name="Miller^Anna", modality="Miller")
        add_classified(session, 2, 3)
        [first, *_] = due(session, "archive", NOW, 9)
        failed(session, first.delivery_id, 0xA700, "full", NOW)
        pause(session, "archive", "moving", NOW)
    context = make_context(config, database, clock=lambda: NOW + MINUTE)
    text = client_of(context, Role.VIEWER).get("/metrics").text
    database.close()
    found = samples(text)
    assert found["bodytag_series", "stable"] == 1
    assert found["bodytag_oldest_stable_series_seconds", ""] == 60
    assert [found["bodytag_pending_deliveries", name] for name in ("archive", "reader")] == [2, 3]
    assert [found["bodytag_failed_deliveries", name] for name in ("archive", "reader")] == [1, 0]
    assert [found["bodytag_oldest_pending_delivery_seconds", name] for name in ("archive", "reader")] == [
        60,
        60,
    ]
    assert [found["bodytag_destination_paused", name] for name in ("archive", "reader")] == [1, 0]
    assert "Miller" not in text


def test_without_a_database_the_rest_is_told(context: Context, tmp_path: Path) -> None:
    """Counters come all the same, and one sample says that the database does not answer."""
    hosts = context.config.web.model_copy(update={"metrics_hosts": ("10.0.0.0/8",)})
    broken = replace(
        context,
        config=context.config.model_copy(update={"web": hosts}),
        database=open_database(f"sqlite:///{tmp_path}/without-tables.sqlite"),
        ask_metrics=metrics.exposition,
    )
    client = client_of(broken)
    client._transport.client = ("10.9.8.7", 1)  # type: ignore[attr-defined]
    answer = client.get("/metrics")
    broken.database.close()
    found = samples(answer.text)
    assert found["bodytag_database_up", ""] == 0
    assert ("bodytag_series", "stable") not in found
    assert ("bodytag_open_associations", "") in found


def test_the_node_is_asked_by_the_page(tmp_path: Path) -> None:
    """What this process counts is what the page's process shows."""
    config = page_config(tmp_path)
    migrate(config.database.url)
    database = open_database(config.database.url)
    token = make_token(database, Role.VIEWER)
    database.close()
    metrics.REMOVED.inc(7)
    wanted = metrics.REGISTRY.get_sample_value("bodytag_removed_files_total")
    with serving(config) as url:
        headers = {"Authorization": f"Bearer {token}"}
        for _ in range(2):
            answer = httpx.get(f"{url}/metrics", headers=headers, timeout=60)
            assert samples(answer.text)["bodytag_removed_files_total", ""] == wanted
