"""What is told, in a sentence, of a configuration or a command that several machines cannot work with."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from node import service
from node.cli.app import app
from node.settings.config import Config, ConfigError, load
from node.storage.spool import Spool, SpoolError

GOOD: dict[str, Any] = {
    "receive": {"promiscuous": True},
    "dispatch": "celery",
    "database": {"url": "postgresql://db/bodytag"},
    "scaling": {"broker": "amqp://bodytag:secret@broker"},
}


def written(folder: Path, **changes: Any) -> Path:
    """Write a configuration."""
    path = folder / "node.yaml"
    path.write_text(yaml.safe_dump(GOOD | changes))
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"scaling": {}}, "scaling.broker: dispatch: celery needs the address of a broker"),
        ({"scaling": {"broker": "http://a"}}, "begins with amqp://"),
        ({"database": {"url": "sqlite:///a.sqlite"}}, "database.url: dispatch: celery needs PostgreSQL"),
        ({"spool": {"quota": "1GiB"}}, "spool.quota: several receivers cannot keep to one"),
        ({"scaling": GOOD["scaling"] | {"urgent": [{}]}}, "would make everything urgent"),
        ({"scaling": GOOD["scaling"] | {"urgent": [{"verdict": ["HEAD"]}]}}, "is not known yet"),
        ({"dispatch": "threads"}, "dispatch"),
    ],
)
def test_wrong_configurations(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    """Each mistake is one sentence that names the key and not the password."""
    with pytest.raises(ConfigError, match=sentence) as told:
        load(written(tmp_path, **changes))
    assert "secret" not in str(told.value)


def test_one_machine_has_no_roles(tmp_path: Path) -> None:
    """A role is refused where the configuration knows one machine alone."""
    path = written(tmp_path, dispatch="local", database={"url": "sqlite:///a.sqlite"})
    said = CliRunner().invoke(app, ["serve", "--role", "worker", "-c", str(path)])
    assert said.exit_code == 2
    assert "--role worker is for several machines" in said.output


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Celery the sentence says what to install."""
    monkeypatch.setattr(service, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install bodytag\[scale\]"):
        service.serve(Config.model_validate(GOOD))


def test_one_machine_loads_nothing_of_it() -> None:
    """A node that runs on one machine imports neither Celery nor anything that is for several."""
    ask = "import sys, node.cli.app; print([n for n in ('celery', 'node.scaling') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_spool_is_shared_or_taken(tmp_path: Path) -> None:
    """Processes with names share a spool, which then is no single node's; and the other way round."""
    named = [Spool(tmp_path, 0, process=name) for name in ("one", "two")]
    with named[0].lock(), named[1].lock(), pytest.raises(SpoolError):
        Spool(tmp_path, 0).lock()
    with Spool(tmp_path, 0).lock(), pytest.raises(SpoolError):
        named[0].lock()


def test_the_dead_are_cleared_after(tmp_path: Path) -> None:
    """What a dead process left under way goes, and what a living one has under way stays."""
    dead, alive = (Spool(tmp_path, 0, process=name) for name in ("dead", "alive"))
    for spool, name in ((dead, "dead"), (alive, "alive")):
        (tmp_path / "incoming" / name / "half").write_bytes(b"")
        (spool.outgoing("archive") / "7.dcm").write_bytes(b"")
    assert alive.clear_unfinished_of("dead") == 2
    assert not (tmp_path / "incoming/dead").exists()
    assert (tmp_path / "incoming/alive/half").exists()
    assert (tmp_path / "outgoing/archive/alive/7.dcm").exists()
