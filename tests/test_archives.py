"""Relabelled copies in archives of others: what goes in by C-STORE comes out of Orthanc and dcmtk."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.relabelling.report import SOP_CLASS_UID
from tests.builders import Recipe, blob, write
from tests.harness import Archive, RunningNode, command, free_port, make_node, running, storescu, wait_until
from tests.multiframe import Enhanced, write_enhanced
from tests.orthanc import Orthanc


def one_region(_index: int, rows: int, columns: int) -> Any:
    """Draw the same image for every index, so that the series has one region, whichever."""
    return blob(0, rows, columns)


def recipe(seed: str, n: int) -> Recipe:
    """Describe a series with an old tag and one region."""
    return Recipe(seed=seed, n=n, body_part="OLD", pixels=one_region)


def sure(folder: Path, *destinations: dict[str, Any]) -> RunningNode:
    """Describe a node that is never in doubt."""
    return make_node(folder, *destinations, classify={"minimum_confidence": 0.0})


def term_of(node: RunningNode, described: Recipe) -> str:
    """Return the term that a series got; it must have got one."""
    [row] = node.rows(series=described.series_uid)
    assert row.term
    return row.term


@pytest.mark.parametrize("overwrite", [True, False])
def test_orthanc_shows_the_new_term(overwrite: bool, tmp_path: Path) -> None:
    """An archive gets the new term; one that has the original already keeps that, unless told otherwise.

    Classic and Enhanced objects of one study, and the reports on them, read back over REST.
    """
    fresh, known, many = recipe("fresh", 3), recipe("known", 2), recipe("many", 4)
    files = write(tmp_path / "fresh", fresh) + write(tmp_path / "known", known)
    files.append(write_enhanced(tmp_path / "many", Enhanced(many, ("U", "38266002"))))
    with Orthanc(tmp_path / "orthanc", overwrite).running() as archive:
        assert storescu(archive.port, files[3:5], "-aec", "ARCHIVE").returncode == 0
        assert archive.terms() == ["OLD", "OLD"]
        place = {"name": "orthanc", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": archive.port}
        node = sure(tmp_path / "node", place | {"relabel": "always", "report": True})
        with running(node):
            assert storescu(node.port, files).returncode == 0
            node.wait_for_state("delivered", 6)
            kept = term_of(node, known) if overwrite else "OLD"
            assert archive.terms() == sorted([term_of(node, fresh)] * 3 + [kept] * 2 + [term_of(node, many)])
            [enhanced] = [each for each in archive.tags() if each.get("NumberOfFrames") == "4"]
            [shared] = enhanced["SharedFunctionalGroupsSequence"]
            [anatomy] = shared["FrameAnatomySequence"]
            assert anatomy["AnatomicRegionSequence"][0]["CodeValue"] != "38266002"
            assert {each["SOPClassUID"] for each in archive.tags("SR")} == {SOP_CLASS_UID}
            assert len(archive.tags("SR")) == 3


def test_originals_and_a_new_series_in_one_orthanc(tmp_path: Path) -> None:
    """An archive that keeps what it has holds both: the originals, and the copies as another series."""
    known = recipe("known", 3)
    files = write(tmp_path / "known", known)
    with Orthanc(tmp_path / "orthanc", overwrite=False).running() as archive:
        assert storescu(archive.port, files, "-aec", "ARCHIVE").returncode == 0
        place = {"name": "orthanc", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": archive.port}
        node = sure(tmp_path / "node", place | {"relabel": "always", "new_series": True})
        with running(node):
            assert storescu(node.port, files).returncode == 0
            node.wait_for_state("delivered", 1)
            assert archive.terms() == sorted(["OLD"] * 3 + [term_of(node, known)] * 3)
            assert len(archive.get("studies")) == 1
            assert len(archive.get("series")) == 2
            sources = {
                each["SourceImageSequence"][0]["ReferencedSOPInstanceUID"]
                for each in archive.tags()
                if each["BodyPartExamined"] != "OLD"
            }
            assert sources == {known.instance_uid(index) for index in range(3)}
            assert node.bodytag("resend", "--all", "--series", known.series_uid).returncode == 0
            wait_until(lambda: node.rows()[0].state == "delivered", "it is delivered again")
            assert len(archive.get("instances")) == 6


def test_each_destination_gets_what_it_asks_for(tmp_path: Path) -> None:
    """One series, four destinations of dcmtk: as received, relabelled, as a new series, and with a report."""
    asked: dict[str, dict[str, Any]] = {
        "never": {"relabel": "never"},
        "always": {"relabel": "always"},
        "anew": {"relabel": "always", "new_series": True},
        "report": {"relabel": "never", "report": True},
    }
    archives = {name: Archive(tmp_path / name, free_port()).start("+B") for name in asked}
    places = [archives[name].destination(name, **wanted) for name, wanted in asked.items()]
    classic, many = recipe("classic", 2), recipe("many", 3)
    files = [*write(tmp_path / "in", classic), write_enhanced(tmp_path / "in", Enhanced(many))]
    with running(sure(tmp_path / "node", *places)) as node:
        assert storescu(node.port, files).returncode == 0
        node.wait_for_state("delivered", 4)
        term = term_of(node, classic)
    for archive in archives.values():
        archive.stop()
    received = {name: by_uid(archives[name]) for name in asked}
    originals = {path.stem: dcmread(path) for path in files}
    assert received["never"] == originals
    assert received["always"].keys() == originals.keys()
    assert received["anew"].keys().isdisjoint(originals.keys())
    assert len(received["anew"]) == 3
    changed = [*received["always"].values(), *received["anew"].values()]
    assert {each.BodyPartExamined for each in changed} == {term}
    reports = [each for uid, each in received["report"].items() if uid not in originals]
    assert {each.SOPClassUID for each in reports} == {SOP_CLASS_UID}
    assert len(reports) == 2
    for name, found in received.items():
        assert sorted(each.PixelData for each in found.values() if "PixelData" in each) == sorted(
            each.PixelData for each in originals.values()
        ), name
        assert dumped(archives[name]) == 0


def by_uid(archive: Archive) -> dict[str, Dataset]:
    """Read what an archive received."""
    return {str(data_set.SOPInstanceUID): data_set for data_set in map(dcmread, archive.files())}


def dumped(archive: Archive) -> int:
    """Have dcmtk parse everything that an archive received, whole; return how many files it did not like."""
    results = [
        subprocess.run([command("dcmdump"), "-q", "+E", str(path)], capture_output=True, check=False)
        for path in archive.files()
    ]
    return sum(each.returncode != 0 or each.stderr != b"" for each in results)
