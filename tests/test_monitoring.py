"""The files for Prometheus and Grafana, against a real Prometheus that reads a real page."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from db.accounts import Role
from db.session import migrate, open_database
from node import metrics
from node.web.context import make_context
from tests.harness import command, free_port, wait_until
from tests.web.serving import client_of, make_token, page_config, serving

FOLDER = Path(__file__).parents[1] / "docker" / "monitoring"
DASHBOARD = json.loads((FOLDER / "dashboards" / "bodytag.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))
ARCHIVE = {"name": "archive", "ae_title": "A", "host": "127.0.0.1", "port": 1}
INSTEAD = {"$instance": ".*", "$__rate_interval": "1m", "$__range": "1h"}


def asked() -> list[str]:
    """List what the dashboard asks Prometheus, with its variables filled in."""
    found = [each["expr"] for panel in DASHBOARD["panels"] for each in panel.get("targets", [])]
    for variable, value in INSTEAD.items():
        found = [each.replace(variable, value) for each in found]
    return found


def test_every_metric_that_is_asked_for_is_there(tmp_path: Path) -> None:
    """Dashboard and alerts name no metric that the node does not have."""
    config = page_config(tmp_path, destinations=[ARCHIVE])
    migrate(config.database.url)
    database = open_database(config.database.url)
    metrics.VERSION.labels("0").set(1)
    metrics.UP.labels("archive").set(1)
    of_node = text_string_to_metric_families(metrics.exposition().decode())
    told = client_of(make_context(config, database), Role.VIEWER).get("/metrics").text
    database.close()
    there = {family.name for family in (*of_node, *text_string_to_metric_families(told))}
    alerts = [rule["expr"] for rule in ALERTS["groups"][0]["rules"]]
    named = set(re.findall(r"bodytag_\w+", " ".join([*asked(), *alerts])))
    assert len(named) > 25
    assert [name for name in named if re.sub(r"_(total|bucket|sum|count)$", "", name) not in there] == []


def test_panels_do_not_overlap() -> None:
    """Each panel has its number and its place within the 24 columns, and says its unit."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) == 23
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in panels if panel["type"] != "row")


def test_promtool_takes_both_files() -> None:
    """Prometheus' own tool finds no fault in configuration and alerts."""
    promtool = command("promtool")
    for arguments in (["config", "--syntax-only", "prometheus.yaml"], ["rules", "alerts.yaml"]):
        checked = subprocess.run(
            [promtool, "check", *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60
        )
        assert checked.returncode == 0, checked.stderr


@contextmanager
def prometheus(folder: Path, target: str, token: str) -> Iterator[str]:
    """Run Prometheus with the shipped files on a target; gives the address of its API."""
    shutil.copytree(FOLDER, folder)
    config = (folder / "prometheus.yaml").read_text(encoding="utf-8")
    config = config.replace("bodytag:8042", target).replace("_interval: 15s", "_interval: 3s")
    (folder / "prometheus.yaml").write_text(config, encoding="utf-8")
    (folder / "token").write_text(token, encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            command("prometheus"),
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://{address}/api/v1"
    finally:
        process.kill()
        process.wait(60)


def answer(api: str, path: str, **parameters: str) -> Any:
    """Ask Prometheus; None while it does not answer."""
    try:
        got = httpx.get(f"{api}/{path}", params=parameters, timeout=30)
    except httpx.TransportError:
        return None
    return got.json()["data"] if got.status_code == 200 else None


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that has read the metrics of a page's process."""
    folder = tmp_path_factory.mktemp("monitoring")
    config = page_config(folder, destinations=[ARCHIVE])
    migrate(config.database.url)
    database = open_database(config.database.url)
    token = make_token(database, Role.VIEWER)
    database.close()
    metrics.VERSION.labels("0").set(1)
    with (
        serving(config) as url,
        prometheus(folder / "prometheus", url.removeprefix("http://"), token) as found,
    ):
        wait_until(
            lambda: (answer(found, "query", query="bodytag_database_up") or {}).get("result"),
            "Prometheus has read the page",
        )
        yield found


def test_prometheus_reads_the_page_with_a_token(api: str) -> None:
    """The database answers, and the node's own process has told what it counts."""
    for query in ("up", "bodytag_database_up", "bodytag_build_info"):
        [sample] = answer(api, "query", query=query)["result"]
        assert sample["value"][1] == "1", query


def test_prometheus_understands_the_dashboard(api: str) -> None:
    """Each panel's question has an answer, if perhaps an empty one."""
    assert [query for query in asked() if answer(api, "query", query=query) is None] == []


def test_prometheus_runs_the_alerts(api: str) -> None:
    """All of them are loaded and can be judged."""

    def judged() -> bool:
        groups = answer(api, "rules")["groups"]
        return [rule["health"] for group in groups for rule in group["rules"]] == ["ok"] * 10

    wait_until(judged, "all alerts are judged")
