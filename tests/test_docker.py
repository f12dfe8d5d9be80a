"""Tests of the container's files, as far as they can be tested without a Docker engine."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from node.cli.app import app
from node.settings.config import Config, load

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
PASSWORD = "abc123"


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions with their arguments, continued lines joined."""
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pairs = [line.split(maxsplit=1) for line in lines]
    return [(name, " ".join(rest.split())) for name, rest in pairs]


def last(name: str) -> str:
    """Return the argument of the last instruction of that name: the one that holds for the image."""
    return [rest for each, rest in instructions() if each == name][-1]


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    """Read a compose file."""
    read = yaml.safe_load((DOCKER / name).read_text(encoding="utf-8"))
    assert isinstance(read, dict)
    return read


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    """Read the container's configuration, with the environment that compose sets."""
    monkeypatch.setenv("BODYTAG_DB_PASSWORD", PASSWORD)
    return load(DOCKER / "node.yaml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build the wheel from what the image's build may see, and return the names of its files."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "node", "model", "rules", "db"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    shutil.rmtree(source / "model/training")  # docker/Dockerfile.dockerignore leaves it out
    isolated = [] if importlib.util.find_spec("hatchling") is None else ["--no-build-isolation"]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, *isolated, "--wheel-dir", str(source / "out"), str(source)], check=True)
    [built] = (source / "out").glob("bodytag-*.whl")
    return set(zipfile.ZipFile(built).namelist())


@pytest.mark.parametrize("folder", ["node", "rules", "db", "db/migrations", "model", "model/weights"])
def test_wheel_holds_every_file(wheel: set[str], folder: str) -> None:
    """The wheel holds each module, migration and weights file; the README's pictures stay outside."""
    files = (path for path in (ROOT / folder).rglob("*") if path.is_file())
    names = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    wanted = {name for name in names if not name.startswith(("model/training/", "node/web/screenshots/"))}
    assert wanted
    assert wanted <= wheel


def test_wheel_holds_both_weights_and_the_command(wheel: set[str]) -> None:
    """Weights with their cards, the first migration and the entry point are in the wheel by name."""
    weights = {f"model/weights/{name}" for name in ("ct.npz", "ct.json", "mr.npz", "mr.json")}
    assert weights <= wheel
    assert any(name.startswith("db/migrations/versions/v0001") for name in wheel)
    assert any(name.endswith(".dist-info/entry_points.txt") for name in wheel)


def test_build_sees_all_that_it_copies() -> None:
    """What the Dockerfile copies from the context exists, and the ignore file lets it through."""
    ignore = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [word for name, rest in instructions() if name == "COPY" for word in rest.split()[:-1]]
    assert len(copied) > 5
    assert all((ROOT / each).exists() and f"!{each}" in ignore for each in copied)


def test_extras_are_declared() -> None:
    """The extras that the build can install are in pyproject.toml."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    asked = compose("compose.gpu.yaml")["services"]["bodytag"]["build"]["args"]["EXTRA"]
    assert asked == "gpu"
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in ("postgresql", asked))


def test_config_of_the_container(config: Config) -> None:
    """The container's configuration loads and agrees with the image on port, spool and database."""
    assert last("EXPOSE") == f"{config.receive.port} {config.web.port}"
    assert json.loads(last("VOLUME")) == [str(config.spool.folder)]
    assert config.database.url == f"postgresql+psycopg://bodytag:{PASSWORD}@db/bodytag"
    mounts = compose()["services"]["bodytag"]["volumes"]
    assert f"spool:{config.spool.folder}" in mounts
    assert f"BODYTAG_CONFIG={mounts[0].split(':')[1]}" in last("ENV")


def test_the_page_is_published_to_this_machine_alone(config: Config) -> None:
    """Without TLS the page listens within the container, and Docker lets only the host itself in."""
    assert (config.web.host, config.web.certificate, config.web.without_tls) == ("0.0.0.0", None, True)  # noqa: S104
    published = [str(each) for each in compose()["services"]["bodytag"]["ports"]]
    assert [each for each in published if each.endswith(f":{config.web.port}")] == ["127.0.0.1:8042:8042"]


def test_health_check_is_a_command(config: Config) -> None:
    """The health check runs an existing command, and the node admits it as a caller."""
    words = json.loads(last("HEALTHCHECK").split(" CMD ")[1])
    assert words[0] == "bodytag" == json.loads(last("ENTRYPOINT"))[0]
    assert CliRunner().invoke(app, [words[1], "--help"]).exit_code == 0
    assert CliRunner().invoke(app, [*json.loads(last("CMD")), "--help"]).exit_code == 0
    own = config.receive.ae_title
    assert any(caller.admits(own, "127.0.0.1") for caller in config.receive.callers)
    assert not any(caller.admits(own, "10.0.0.1") for caller in config.receive.callers)


def test_process_is_not_root() -> None:
    """The image runs as a user of fixed number, which the Dockerfile makes and owns the spool with."""
    uid, gid = last("USER").split(":")
    made = " ".join(rest for name, rest in instructions() if name == "RUN")
    assert int(uid) > 0
    assert f"--uid {uid}" in made
    assert f"--gid {gid}" in made
    assert last("STOPSIGNAL") == "SIGTERM"


def test_compose_needs_a_password_and_keeps_it_out() -> None:
    """Both services take the password from the environment, which must be set, and from nowhere else."""
    services = compose()["services"]
    names = (("bodytag", "BODYTAG_DB_PASSWORD"), ("db", "POSTGRES_PASSWORD"))
    given = [services[service]["environment"][name] for service, name in names]
    assert all(value.startswith("${BODYTAG_DB_PASSWORD:?") for value in given)


def test_compose_waits_for_a_healthy_database() -> None:
    """The node starts after the database answers; both keep their data in named volumes and start again."""
    both = compose()
    node, database = both["services"]["bodytag"], both["services"]["db"]
    assert node["depends_on"]["db"]["condition"] == "service_healthy"
    assert "pg_isready" in database["healthcheck"]["test"]
    assert set(both["volumes"]) == {"spool", "database"}
    for service in (node, database):
        assert service["restart"] == "unless-stopped"
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]


def test_compose_is_accepted_by_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the compose plugin is installed, it takes both files; it needs no engine for that."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")
    files = ["-f", str(DOCKER / "compose.yaml"), "-f", str(DOCKER / "compose.gpu.yaml")]
    monkeypatch.delenv("BODYTAG_DB_PASSWORD", raising=False)
    refused = subprocess.run([docker, "compose", *files, "config"], capture_output=True, text=True)
    assert refused.returncode != 0
    assert "set a password" in refused.stderr
    monkeypatch.setenv("BODYTAG_DB_PASSWORD", PASSWORD)
    subprocess.run([docker, "compose", *files, "config", "--quiet"], check=True)
