"""What the spool relies on, tried on a real file system and on one that lacks something."""

import fcntl
import os
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from node.cli.app import app
from node.storage.semantics import lacking


def test_this_file_system_will_do(tmp_path: Path) -> None:
    """The tests' own file system does everything, and nothing is left behind."""
    assert lacking(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("module", "name", "word"), [(os, "link", "link"), (fcntl, "flock", "flock")])
def test_what_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, name: str, word: str
) -> None:
    """A file system without links, or whose locks say yes to everybody, is told by its name."""

    def refuse(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(module, name, refuse if name == "link" else lambda *_: None)
    [told] = lacking(tmp_path)
    assert told.startswith(word)


def test_the_command(tmp_path: Path) -> None:
    """`bodytag doctor --file-system` needs no database and says that all is well."""
    path = tmp_path / "node.yaml"
    path.write_text(yaml.safe_dump({"receive": {"promiscuous": True}}))
    said = CliRunner().invoke(app, ["doctor", "--file-system", "-c", str(path)])
    assert said.exit_code == 0
    assert "does all" in said.output
