"""The files that bring several machines up: rendered, parsed, and checked by the programs that read them."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from node import metrics
from node.scaling import figures
from node.scaling.broker import Broker
from node.scaling.roles import ROLES
from node.settings.config import Config, load
from tests.harness import command
from tests.scale.chart import rendered

ROOT: Final = Path(__file__).parents[2]
DOCKER: Final = ROOT / "docker"
KUBERNETES: Final = "1.30"

WAYS: Final[dict[str, dict[str, Any]]] = {
    "as it is": {},
    "GPUs, KEDA and a spool of one's own": {
        "image": {"gpuTag": "gpu"},
        "worker": {
            "gpus": 1,
            "keda": {"enabled": True},
            "nodeSelector": {"gpu": "yes"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
        },
        "spool": {"existingClaim": "images"},
        "receiver": {"service": {"type": "ClusterIP"}},
    },
}


def named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """Return one object."""
    [found] = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what the configurations take from the environment."""
    monkeypatch.setenv("BODYTAG_DB_PASSWORD", "abc123")
    monkeypatch.setenv("BODYTAG_BROKER_PASSWORD", "def456")
    monkeypatch.setenv("BODYTAG_DATABASE_URL", "postgresql+psycopg://bodytag:abc123@db/bodytag")
    monkeypatch.setenv("BODYTAG_BROKER_URL", "amqp://bodytag:def456@rabbitmq//")


@pytest.mark.parametrize("way", WAYS)
def test_the_chart_is_what_kubernetes_takes(way: str) -> None:
    """Helm finds nothing to mend, and every object fits the schema of its kind, to the last key."""
    found = rendered(WAYS[way])
    assert found.complaints == []
    assert {"Deployment", "PodDisruptionBudget", "Service", "Job", "ConfigMap"} <= {
        each["kind"] for each in found.objects
    }
    for each in found.objects:
        if not each["apiVersion"].startswith(
            "keda.sh/"
        ):  # a kind of its own, of which there is no schema here
            kubernetes_validate.validate(each, KUBERNETES, strict=True)


def test_every_role_has_its_deployment(tmp_path: Path) -> None:
    """Each role has its Deployment, probes where the process answers, and a configuration that loads."""
    objects = rendered({}).objects
    path = tmp_path / "node.yaml"
    path.write_text(named(objects, "ConfigMap", "bodytag-config")["data"]["node.yaml"])
    config = load(path)
    assert config.dispatch == "celery"
    for role in ROLES:
        pod = named(objects, "Deployment", f"bodytag-{role}")["spec"]["template"]["spec"]
        [container] = pod["containers"]
        assert container["args"] == ["serve", "--role", role]
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        assert ports["status"] == config.scaling.status_port
        assert container["readinessProbe"]["httpGet"]["port"] == "status"
        mounts = {each["mountPath"] for each in container["volumeMounts"]}
        assert {str(config.spool.folder), "/etc/bodytag"} <= mounts
        assert named(objects, "PodDisruptionBudget", f"bodytag-{role}")["spec"]["maxUnavailable"] == 1
    assert named(objects, "Service", "bodytag-dicom")["spec"]["ports"][0]["port"] == config.receive.port


def test_workers_scale_on_the_queues_that_there_are() -> None:
    """KEDA's triggers name the queues of the broker, GPUs are asked for, and KEDA alone sets the number."""
    objects = rendered(WAYS["GPUs, KEDA and a spool of one's own"]).objects
    triggers = named(objects, "ScaledObject", "bodytag-worker")["spec"]["triggers"]
    scale = {"dispatch": "celery", "scaling": {"broker": "amqp://a"}, "database": {"url": "postgresql://a/b"}}
    config = Config.model_validate({"receive": {"promiscuous": True}, **scale})
    assert [each["metadata"]["queueName"] for each in triggers] == Broker(config).classifying()
    worker = named(objects, "Deployment", "bodytag-worker")["spec"]
    assert "replicas" not in worker
    [container] = worker["template"]["spec"]["containers"]
    assert container["image"] == "bodytag:gpu"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert not [each for each in objects if each["kind"] == "PersistentVolumeClaim"]


def test_compose_runs_every_role() -> None:
    """Two processes of each role, after the migration; ports, passwords and files agree."""
    composed = yaml.safe_load((DOCKER / "compose.scale.yaml").read_text(encoding="utf-8"))
    services, config = composed["services"], load(DOCKER / "scale/node.yaml")
    for role in ROLES:
        assert services[role]["command"] == ["serve", "--role", role]
        assert services[role]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
        assert str(config.scaling.status_port) in json.dumps(services[role]["healthcheck"])
    assert [services[role]["deploy"]["replicas"] for role in ("receiver", "worker", "forwarder")] == [2, 2, 2]
    assert {"balancer", "db", "rabbitmq", "prometheus", "grafana"} <= set(services)
    assert config.database.migrate_on_start is False
    mounted = [each.split(":")[0] for one in services.values() for each in one.get("volumes", [])]
    assert [each for each in mounted if each.startswith("./") and not (DOCKER / each).exists()] == []
    extras = services["migrate"]["build"]["args"]["EXTRA"].split(",")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras)


def test_the_balancer_takes_its_configuration() -> None:
    """HAProxy finds nothing wrong, and balances the port that the receivers listen on."""
    path = DOCKER / "scale/haproxy.cfg"
    subprocess.run([command("haproxy"), "-c", "-f", str(path)], check=True, capture_output=True)
    config, text = load(DOCKER / "scale/node.yaml"), path.read_text(encoding="utf-8")
    assert f"receiver:{config.receive.port} check port {config.scaling.status_port} " in text


def test_every_metric_that_is_asked_for_is_there() -> None:
    """Dashboard and alerts name only what a process or the page counts."""
    figures.QUEUE.labels("a").set(0)
    there = {family.name for family in text_string_to_metric_families(metrics.exposition().decode())}
    there |= {"bodytag_oldest_stable_series_seconds", "bodytag_oldest_pending_delivery_seconds"}  # the page's
    files = (DOCKER / "monitoring/dashboards/several.json", DOCKER / "scale/alerts.yaml")
    named = {name for path in files for name in re.findall(r"bodytag_\w+", path.read_text(encoding="utf-8"))}
    assert len(named) > 10
    assert [name for name in named if name.removesuffix("_total") not in there] == []


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    """promtool finds nothing wrong with the configuration and the alerts, where they lie in the container."""
    for name in ("monitoring", "scale"):
        shutil.copytree(DOCKER / name, tmp_path / name)
    (tmp_path / "monitoring/token").write_text("x")
    path = tmp_path / "scale/prometheus.yaml"
    path.write_text(path.read_text().replace("/etc/prometheus", str(tmp_path)))
    checked = subprocess.run(
        [command("promtool"), "check", "config", str(path)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "FAILED" not in checked.stdout
