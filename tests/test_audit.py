"""Tests of `make audit`, with answers as pip-audit gives them."""

import json
from pathlib import Path

import pytest

from tests import audit

FOUND: list[dict[str, object]] = [
    {"name": "sound", "version": "1.0", "vulns": []},
    {"name": "weak", "version": "2.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"], "aliases": []}]},
    {"name": "own", "skip_reason": "not found"},
]


def test_what_is_weak_and_what_was_not_looked_up_are_told_apart() -> None:
    """A weak package has its name and the version that mends it; one that nobody knows does not count."""
    count, weak, skipped = audit.read(FOUND)
    assert count == 2
    assert [str(each) for each in weak] == ["weak 2.0: CVE-1, mended in 2.1"]
    assert skipped == ["own: not found"]


@pytest.mark.parametrize(("found", "status"), [(FOUND, 1), (FOUND[:1], 0), (FOUND[2:], 2), (None, 2)])
def test_without_an_answer_it_says_so(
    found: list[dict[str, object]] | None,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody to ask, or nobody who knows a package, is no success."""

    def ask(_: str) -> object:
        if found is None:
            raise audit.NobodyToAsk("no route to host")
        return audit.read(found)

    monkeypatch.setattr(audit, "write_sbom", lambda _: 3)
    monkeypatch.setattr(audit, "ask", ask)
    assert audit.main() == status
    assert ("NOT AUDITED" in capsys.readouterr().out) == (status == 2)


def test_the_sbom_lists_what_is_installed(tmp_path: Path) -> None:
    """CycloneDX, with the packages that the node needs."""
    path = tmp_path / "build" / "sbom.json"
    assert audit.write_sbom(path) > 20
    content = json.loads(path.read_text())
    assert content["bomFormat"] == "CycloneDX"
    assert {"pydicom", "pynetdicom", "fastapi"} <= {each["name"] for each in content["components"]}
