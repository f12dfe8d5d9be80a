"""Tests of the command line, each command as a process, as an admin runs it."""

import csv
import io
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import typer.main
import yaml
from typer.testing import CliRunner

from node.cli.app import app
from tests.builders import Recipe, write
from tests.harness import Archive, RunningNode, free_port, make_node, parsed, running

KNEE = Recipe(seed="cli", n=4, patient_id="CLI1", patient_name="Doe^Jane")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A running node with a living and a dead destination; series wait for `flush`."""
    folder = tmp_path_factory.mktemp("cli")
    archive = Archive(folder / "archive", free_port()).start()
    dead = archive.destination("dead", port=free_port(), retry={"maximum_age_s": 0.1})
    with running(make_node(folder, archive.destination(), dead, series={"stable_age_s": 3600})) as node:
        yield node
    archive.stop()


@pytest.fixture(scope="module")
def delivered(node: RunningNode) -> RunningNode:
    """The same node when it has been sent one series, which one destination took and the other did not."""
    write(node.folder / "in", KNEE)
    sent = node.bodytag("send", str(node.folder / "in"))
    assert sent.returncode == 0, sent.stderr
    assert "4 of 4 stored by BODYTAG" in sent.stdout
    flushed = node.bodytag("flush", KNEE.series_uid)
    assert flushed.returncode == 0, flushed.stderr
    node.wait_for_state("failed")
    return node


def test_help_is_there_for_every_command() -> None:
    """`--help` of the program and of each command exits with 0 and explains itself."""
    whole = subprocess.run(
        [sys.executable, "-m", "node", "--help"], capture_output=True, text=True, check=True
    )
    for command in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert command in whole.stdout
        shown = CliRunner().invoke(app, [command, "--help"])
        assert shown.exit_code == 0, shown.output
        assert "Usage:" in shown.output
        assert len(shown.output.splitlines()) > 8


def test_check_config(node: RunningNode, tmp_path: Path) -> None:
    """A good file is confirmed with the digests of its weights; bad weights are a sentence with the key."""
    good = node.bodytag("check-config", "--json")
    assert good.returncode == 0
    answer = parsed(good.stdout)
    assert answer["destinations"] == ["archive", "dead"]
    assert {len(digest) for digest in answer["weights"].values()} == {64}
    broken = tmp_path / "node.yaml"
    broken.write_text(
        yaml.safe_dump({"receive": {"promiscuous": True}, "classify": {"weights": {"CT": "missing.npz"}}})
    )
    bad = subprocess.run(
        [sys.executable, "-m", "node", "check-config", "-c", str(broken)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert bad.returncode == 2
    assert bad.stderr.startswith("error: classify.weights.CT: the ")
    assert str(tmp_path / "missing") in bad.stderr
    assert len(bad.stderr.splitlines()) == 1


def test_check_config_tries_a_file(tmp_path: Path) -> None:
    """The facts of the file, and of each site rule whether it applies and why not; no file is a sentence."""
    settings = {
        "receive": {"promiscuous": True},
        "site_rules": [{"name": "dental", "when": {"series_description": "dent"}, "set": "SKULL"}],
    }
    path = tmp_path / "node.yaml"
    path.write_text(yaml.safe_dump(settings))
    [image] = write(tmp_path / "in", Recipe(seed="try", n=1))
    command = [sys.executable, "-m", "node", "check-config", "-c", str(path), "--try"]
    tried = subprocess.run([*command, str(image)], capture_output=True, text=True, check=True)
    assert "series_description: Synthetic" in tried.stdout
    assert "site rule 'dental' does not apply: series_description 'Synthetic' does not match" in tried.stdout
    found = subprocess.run([*command, str(image), "--json"], capture_output=True, text=True, check=True)
    assert parsed(found.stdout)["try"]["rules"][0]["applies"] is False
    wrong = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: node.yaml is not a readable DICOM file")


def test_echo(node: RunningNode) -> None:
    """Each destination is asked; one that is dead makes the exit status 1; an unknown one is a mistake."""
    both = node.bodytag("echo", "--json")
    assert both.returncode == 1
    answers = parsed(both.stdout)
    assert answers["archive"] == "success"
    assert "does not answer" in answers["dead"]
    assert node.bodytag("echo", "node").stdout == "node: success\n"
    unknown = node.bodytag("echo", "nobody")
    assert unknown.returncode == 2
    assert unknown.stderr == "error: there is no destination 'nobody'; configured: archive, dead\n"


def test_query_as_json_csv_and_table(delivered: RunningNode) -> None:
    """The three forms show the same series."""
    [row] = parsed(delivered.bodytag("query", "--patient", "doe*", "--json").stdout)
    assert (row["patient_id"], row["instances"], row["state"]) == ("CLI1", 4, "failed")
    assert row["received_at"].endswith("+00:00")
    deliveries = {each["destination"]: each for each in row["deliveries"]}
    assert (deliveries["archive"]["sent"], deliveries["dead"]["failed"]) == (4, 4)
    text = delivered.bodytag("query", "--series", KNEE.series_uid, "--format", "csv").stdout
    [line] = csv.DictReader(io.StringIO(text))
    assert (line["patient_id"], line["state"], line["incoming_body_part"]) == ("CLI1", "failed", "CHEST")
    table = delivered.bodytag("query").stdout
    assert "CLI1" in table
    assert "dead 4 failed" in table


def test_query_explains(delivered: RunningNode) -> None:
    """One line a series says what was decided, by what, and what the tag said; JSON carries it, too."""
    said = delivered.bodytag("query", "--series", KNEE.series_uid, "--explain").stdout
    assert len(said.splitlines()) == 1
    assert "CT Synthetic: " in said
    assert "decided by" in said
    assert "CHEST" in said
    [row] = parsed(delivered.bodytag("query", "--series", KNEE.series_uid, "--explain", "--json").stdout)
    assert row["explanation"] in said


def test_query_filters(delivered: RunningNode) -> None:
    """What does not match is not shown; a region that does not exist is a mistake."""
    for filters in (["--patient", "NOBODY"], ["--modality", "MR"], ["--date-from", "2030-01-01"]):
        assert parsed(delivered.bodytag("query", *filters, "--json").stdout) == []
    assert len(parsed(delivered.bodytag("query", "--state", "failed", "--json").stdout)) == 1
    wrong = delivered.bodytag("query", "--region", "nose")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: there is no region 'nose'")


def test_resend(delivered: RunningNode) -> None:
    """What failed is due again; without a filter nothing is; an unknown destination is a mistake."""
    assert delivered.bodytag("resend").returncode == 2
    assert delivered.bodytag("resend", "--patient", "CLI1", "--to", "nobody").returncode == 2
    again = delivered.bodytag("resend", "--patient", "CLI1", "--to", "dead", "--json")
    assert (again.returncode, parsed(again.stdout)) == (0, {"deliveries": 4})
    delivered.wait_for_state("failed")
    everything = delivered.bodytag("resend", "--series", KNEE.series_uid, "--to", "archive", "--all")
    assert everything.stdout == "4 deliveries are due again\n"
    delivered.wait_for_state("failed")
    nothing = delivered.bodytag("resend", "--patient", "NOBODY", "--json")
    assert (nothing.returncode, parsed(nothing.stdout)) == (1, {"deliveries": 0})


def test_destinations_and_their_deliveries(delivered: RunningNode) -> None:
    """The queues and the results instance by instance are shown; a destination is held back and let go."""
    delivered.wait_for_state("failed")
    shown = {each["name"]: each for each in parsed(delivered.bodytag("destinations", "--json").stdout)}
    assert (shown["archive"]["sent"], shown["dead"]["failed"], shown["dead"]["paused_at"]) == (4, 4, None)
    put_aside = parsed(delivered.bodytag("deliveries", "--state", "failed", "--json").stdout)
    assert {each["destination"] for each in put_aside} == {"dead"}
    assert len(put_aside) == 4
    assert "0x0000" in delivered.bodytag("deliveries", "--to", "archive").stdout
    assert delivered.bodytag("pause", "nobody").returncode == 2
    paused = delivered.bodytag("pause", "dead", "--reason", "it moves")
    assert paused.stdout == "dead is paused\n"
    assert "paused: it moves" in " ".join(delivered.bodytag("destinations").stdout.split())
    assert delivered.bodytag("resume", "dead").stdout == "dead goes on\n"
    assert delivered.bodytag("resume", "dead").stdout == "dead goes on, as before\n"


def test_send_reports_what_was_not_stored(delivered: RunningNode, tmp_path: Path) -> None:
    """A file that is no DICOM, and a peer that is not there, make the exit status 1 and a reason."""
    (tmp_path / "note.txt").write_text("no DICOM")
    refused = delivered.bodytag("send", str(tmp_path))
    assert refused.returncode == 1
    assert "note.txt: is no DICOM file" in refused.stdout
    [path] = write(tmp_path / "one", Recipe(n=1, seed="unsent"))
    dead = delivered.bodytag("send", str(path), "--to", "dead")
    assert dead.returncode == 1
    assert "does not answer" in dead.stderr


def test_flush_without_a_node(tmp_path: Path) -> None:
    """When no node runs, `flush` says so and leaves nothing behind."""
    node = make_node(tmp_path)
    node.config_path.write_text(yaml.safe_dump(node.settings))
    answer = node.bodytag("flush")
    assert answer.returncode == 1
    assert answer.stderr == f"error: no node is running on the spool {tmp_path / 'spool'}\n"
    assert not list((tmp_path / "spool" / "requests").iterdir())


def test_migrate_and_a_database_without_tables(tmp_path: Path) -> None:
    """Before `migrate` a query says what to do; afterwards it finds nothing."""
    node = make_node(tmp_path)
    node.config_path.write_text(yaml.safe_dump(node.settings))
    before = node.bodytag("query")
    assert before.returncode == 2
    assert before.stderr.endswith("run bodytag migrate\n")
    assert node.bodytag("migrate").returncode == 0
    assert parsed(node.bodytag("query", "--json").stdout) == []


def test_classify_needs_no_node(tmp_path: Path) -> None:
    """A folder is classified by its pixels; other files are left out; an empty one is a mistake."""
    write(tmp_path / "series", Recipe(n=3))
    (tmp_path / "series" / "note.txt").write_text("no DICOM")
    arguments = [sys.executable, "-W", "error", "-m", "node", "classify"]
    found = subprocess.run(
        [*arguments, str(tmp_path / "series"), "--json"], capture_output=True, text=True, check=True
    )
    [outcome] = parsed(found.stdout).values()
    assert len(outcome["images"]) == 3
    assert outcome["verdict"]["spans"]
    assert found.stderr == ""
    (tmp_path / "empty").mkdir()
    empty = subprocess.run([*arguments, str(tmp_path / "empty")], capture_output=True, text=True, check=False)
    assert (empty.returncode, empty.stderr) == (2, f"error: there is no DICOM file in {tmp_path / 'empty'}\n")


def test_a_second_node_on_the_spool_ends_with_a_sentence(node: RunningNode) -> None:
    """Two nodes never share a spool; the second says why and exits with 2."""
    second = node.bodytag("serve")
    assert second.returncode == 2
    assert second.stderr.strip().endswith(f"another node is running on the spool {node.folder / 'spool'}")


def test_version(node: RunningNode) -> None:
    """The version is that of the installed package."""
    shown = subprocess.run(
        [sys.executable, "-m", "node", "version", "--json"], capture_output=True, text=True, check=True
    )
    assert parsed(shown.stdout) == {"bodytag": version("bodytag")}
    assert node.port
