"""The doctor: finds what does not fit between spool and database, mends it, and loses nothing by it."""

import json
from pathlib import Path

import pytest
import yaml
from sqlalchemy import text
from typer.testing import CliRunner

from db.checkup import file_rows
from db.deliveries import due
from db.queries import Filters, series_rows
from db.session import Database
from node.cli.app import app
from node.clock import utc_now
from node.storage.doctor import Doctor
from node.storage.spool import Spool
from tests.node.test_retention import delivered, put


def kinds(doctor: Doctor) -> list[str]:
    """Name what is found."""
    return sorted(each.kind for each in doctor.examine())


def test_a_sound_node_has_no_findings(spool: Spool, database: Database) -> None:
    """Delivered, waiting and unregistered instances are all right."""
    delivered(spool, database, 1)
    delivered(spool, database, 2, arrives=False)
    assert kinds(Doctor(spool, database, running=False, thorough=True)) == []
    put(spool, 3)
    assert kinds(Doctor(spool, database, running=True)) == ["waiting"]


def test_missing_files(spool: Spool, database: Database) -> None:
    """A missing file that was delivered is noted; one that was not is a loss, shown, and no longer tried."""
    delivered(spool, database, 1).unlink()
    delivered(spool, database, 2, arrives=False).unlink()
    doctor = Doctor(spool, database, running=False)
    findings = doctor.examine()
    assert [(each.kind, each.lost) for each in findings] == [("missing", False), ("missing", True)]
    assert all(doctor.mend(each).mended for each in findings)
    assert kinds(doctor) == []
    with database.reading() as session:
        assert due(session, "archive", utc_now(), 9) == ()
        rows = {row.series_instance_uid: row for row in series_rows(session, Filters())}
    assert [rows["1.2.1.1"].state, rows["1.2.2.1"].state] == ["delivered", "failed"]
    assert [rows["1.2.1.1"].conflicts, rows["1.2.2.1"].conflicts] == [0, 1]


@pytest.mark.parametrize("harm", ["cut", "bit", "no DICOM"])
def test_damaged_files_are_set_aside(spool: Spool, database: Database, harm: str) -> None:
    """A file that is shorter, other or none at all is moved to `damaged`; one bit shows when it is read."""
    path = delivered(spool, database, 1)
    content = path.read_bytes()
    changed = {"cut": content[:-1], "bit": content[:-1] + b"\x07", "no DICOM": b"x"}[harm]
    path.write_bytes(changed)
    assert kinds(Doctor(spool, database, running=False)) == ([] if harm == "bit" else ["damaged"])
    doctor = Doctor(spool, database, running=False, thorough=True)
    [finding] = doctor.examine()
    doctor.mend(finding)
    assert not path.exists()
    assert (spool.folder / "damaged" / "1.2.1" / "1.2.1.1" / path.name).read_bytes() == changed
    assert kinds(doctor) == []


def test_leftovers_go_and_strangers_are_set_aside(spool: Spool, database: Database) -> None:
    """Half-written files go, what is no instance is moved; beside a running node both may be at work."""
    (spool.folder / "incoming" / "half").write_bytes(b"x")
    (spool.outgoing("archive") / "7.dcm").write_bytes(b"x")
    (spool.folder / "reports" / "1.2.dcm").write_bytes(b"x")
    put(spool, 1)
    stranger = spool.instances / "1.2.1" / "1.2.1.1" / "stranger.dcm"
    stranger.write_bytes(b"x")
    assert kinds(Doctor(spool, database, running=True)) == ["unreadable", "waiting"]
    doctor = Doctor(spool, database, running=False)
    assert kinds(doctor) == ["leftover", "leftover", "leftover", "unreadable", "waiting"]
    for each in doctor.examine():
        doctor.mend(each)
    assert kinds(doctor) == ["waiting"]
    assert not stranger.exists()


def test_counts_and_states_are_mended(spool: Spool, database: Database) -> None:
    """A wrong number of files, and states that contradict the deliveries, come right."""
    delivered(spool, database, 1)
    delivered(spool, database, 2, arrives=False)
    with database.session() as session:
        session.execute(text("UPDATE series SET files = 7 WHERE id = 1"))
        session.execute(text("UPDATE series SET state = 'classified' WHERE id = 1"))
        session.execute(text("UPDATE series SET state = 'delivered' WHERE id = 2"))
    doctor = Doctor(spool, database, running=False)
    assert kinds(doctor) == ["miscounted", "stuck", "stuck"]
    for each in doctor.examine():
        doctor.mend(each)
    assert kinds(doctor) == []
    with database.reading() as session:
        assert [row.state for row in series_rows(session, Filters())] == ["classified", "delivered"]
        assert len(list(file_rows(session))) == 2


def test_the_command(spool: Spool, database: Database, tmp_path: Path) -> None:
    """It says what it finds with status 1, mends only without a node beside it, and then finds nothing."""
    delivered(spool, database, 1).unlink()
    settings = {
        "receive": {"promiscuous": True},
        "spool": {"folder": "spool"},
        "database": {"url": "sqlite:///test.sqlite"},
    }
    config = tmp_path / "node.yaml"
    config.write_text(yaml.safe_dump(settings))
    call = ["doctor", "-c", str(config)]
    with spool.lock():
        found = CliRunner().invoke(app, [*call, "--json"])
        assert (found.exit_code, json.loads(found.stdout)[0]["kind"]) == (1, "missing")
        refused = CliRunner().invoke(app, [*call, "--repair"])
        assert refused.exit_code == 2
        assert "stop it, then repair" in refused.output
    mended = CliRunner().invoke(app, [*call, "--repair"])
    assert (mended.exit_code, "1 findings, 1 mended" in mended.stdout) == (0, True)
    sound = CliRunner().invoke(app, call)
    assert (sound.exit_code, sound.stdout) == (0, "spool and database fit each other\n")
