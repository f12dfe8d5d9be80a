"""`bodytag notify`, as an admin uses it: a trial by every way, and which arrived."""

import json
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from node.cli.app import app
from tests.harness import free_port
from tests.node.delivering import web_peer
from tests.node.notifying import mail_server


def configuration(folder: Path, **notify: Any) -> list[str]:
    """Write a configuration; return the options that name it."""
    path = folder / "node.yaml"
    path.write_text(yaml.safe_dump({"receive": {"promiscuous": True}, "notify": notify}), encoding="utf-8")
    return ["-c", str(path)]


def test_every_way_is_tried(tmp_path: Path) -> None:
    """A way that fails does not keep the next from being tried; the exit status tells."""
    with web_peer() as peer, mail_server(tmp_path, secure=False) as server:
        mail = {"host": "127.0.0.1", "security": "none", "sender": "a@b.example", "to": ["c@d.example"]}
        hooks = [{"name": "pager", "url": peer.url}]
        options = configuration(tmp_path, email=mail | {"port": server.port}, webhooks=hooks)
        done = CliRunner().invoke(app, ["notify", *options])
        assert (done.exit_code, done.stdout) == (0, "email: sent\nwebhook pager: sent\n")
        options = configuration(tmp_path, email=mail | {"port": free_port()}, webhooks=hooks)
        half = CliRunner().invoke(app, ["notify", *options, "--json"])
    assert half.exit_code == 1
    assert [each["sent"] for each in json.loads(half.stdout)] == [False, True]
    assert len(peer.bodies) == 2
    assert len(server.envelopes) == 1
    assert json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[0])["command"] == "notify"


def test_without_a_way_it_says_so(tmp_path: Path) -> None:
    """Nobody is told, so the trial fails."""
    done = CliRunner().invoke(app, ["notify", *configuration(tmp_path)])
    assert done.exit_code == 1
    assert "neither email nor webhooks" in done.stderr
