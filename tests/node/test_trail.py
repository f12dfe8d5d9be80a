"""The audit trail's lines of what began, what a kill left, what retention removed and what was transcoded."""

from pathlib import Path

from db.session import Database
from node.auditing.audit import Trail
from node.auditing.ledger import Ledger
from node.intake.intake import Transfer, note_found
from node.settings.config import SpoolSection
from node.storage.retention import Keeper
from node.storage.spool import SeriesKey, Spool
from tests.node.hostile import audited
from tests.node.test_retention import RUNS_ON, delivered
from tests.relabelled import WORK

SOURCE = {"ae_title": "CT1", "address": "10.0.0.1"}


def test_a_transfer_that_a_kill_ends_has_its_beginning(tmp_path: Path) -> None:
    """The first instance of each study writes a line at once; the end has the same name of the transfer."""
    path = tmp_path / "audit.jsonl"
    transfer = Transfer(Trail(path), SOURCE, "BODYTAG")
    for series in ("1.2.1", "1.2.1", "1.2.2"):
        transfer.store(SeriesKey("1.2", series))
    transfer.store(SeriesKey("1.3", "1.3.1"))
    transfer.refuse()
    begun = audited(path)
    assert [(each["code"], each["study"]) for each in begun] == [("110102", "1.2"), ("110102", "1.3")]
    assert all(each["source"] == SOURCE for each in begun)
    transfer.end()
    ended = audited(path)[2:]
    assert [(each["study"], each["instances"], each["refused"]) for each in ended] == [
        ("1.2", 3, 1),
        ("1.3", 1, 0),
    ]
    assert len({each["transfer"] for each in audited(path)}) == 1


def test_what_lay_in_the_spool_is_told_at_start(tmp_path: Path) -> None:
    """Each series has a line with the number of instances."""
    path = tmp_path / "audit.jsonl"
    note_found(Trail(path), "BODYTAG", {SeriesKey("1.2", "1.2.1"): 4})
    [line] = audited(path)
    assert (line["series"], line["instances"]) == (["1.2.1"], 4)
    assert line["reason"] == "found in the spool at start"


def test_retention_says_what_it_removed(tmp_path: Path, spool: Spool, database: Database) -> None:
    """A line for the series that went, none for what stays."""
    path = tmp_path / "audit.jsonl"
    delivered(spool, database, 1)
    delivered(spool, database, 2, arrives=False)
    Keeper(SpoolSection(keep_days=0), spool, database, Trail(path)).expire(RUNS_ON)
    [line] = audited(path)
    assert (line["code"], line["study"], line["series"]) == ("110105", "1.2.1", ["1.2.1.1"])
    assert line["instances"] == 1


def test_transcoded_instances_are_counted(tmp_path: Path) -> None:
    """The line of a delivery says how many went in another transfer syntax; none is no word."""
    path = tmp_path / "audit.jsonl"
    ledger = Ledger(Trail(path), "BODYTAG", "archive")
    ledger.delivered(WORK)
    ledger.delivered(WORK, transcoded=True)
    ledger.write()
    ledger.delivered(WORK)
    ledger.write()
    first, second = audited(path)
    assert (first["instances"], first["transcoded"]) == (2, 1)
    assert "transcoded" not in second
