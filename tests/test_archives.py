"""Relabelled copies before judges of others: dicom3tools' validators, and Orthanc as the archive."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from model.regions import REGIONS, Region
from node.relabel import write_copy
from tests.builders import Recipe, blob, real_images, real_series, write
from tests.harness import command, free_port, make_node, running, storescu, wait_until
from tests.relabelled import MODIFIER, WORK

ACCEPTED = (
    "Unrecognized defined term <",  # its list of terms is older than Table L-1
    "is only permitted to be empty when actually unknown",  # Laterality: it is unknown
    "Bad group length - Group 0x8 ",  # was wrong before; it moves with its group
)
"""New messages that are no fault of the copy."""

REAL = [*real_images(), *(files[0] for files in real_series().values())]


def messages(program: str, *paths: Path) -> set[str]:
    """Return the errors and warnings that a validator has of files."""
    done = subprocess.run([command(program), *map(str, paths)], capture_output=True, check=False, timeout=120)
    text = (done.stdout + done.stderr).decode("utf-8", errors="replace")
    return {line for line in text.splitlines() if line.startswith(("Error", "Warning"))}


def relabelled(path: Path, target: Path, region: Region) -> bool:
    """Relabel a file with the term of one region, as the forwarder does."""
    work = replace(
        WORK,
        transfer_syntax_uid=str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID),
        term=region.term,
        code_value=region.code.value,
        code_meaning=region.code.meaning,
        paired=region.paired,
        image_region=region.key,
    )
    return write_copy(work, path, target, MODIFIER)


def new_messages(path: Path, copy: Path) -> list[str]:
    """Return what dciodvfy says of the copy, did not say of the original, and is not accepted."""
    added = messages("dciodvfy", copy) - messages("dciodvfy", path)
    return sorted(line for line in added if not any(known in line for known in ACCEPTED))


@pytest.mark.parametrize("path", REAL, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_no_new_message_on_real_images(path: Path, tmp_path: Path) -> None:
    """dciodvfy finds nothing in a relabelled real image that it did not find in the original."""
    copy = tmp_path / "copy.dcm"
    data_set = dcmread(path, stop_before_pixels=True)
    region = next(each for each in REGIONS if each.term != data_set.get("BodyPartExamined"))
    if relabelled(path, copy, region):
        assert new_messages(path, copy) == []
    else:
        assert data_set.get("Modality") not in ("CT", "MR", "CR", "DX", "RG")


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.key)
@pytest.mark.parametrize("laterality", [None, ""])
def test_no_new_message_for_any_term(region: Region, laterality: str | None, tmp_path: Path) -> None:
    """Every term, paired or not, goes onto an image with and without Laterality."""
    recipe = Recipe(n=1, body_part="SKULL", overrides={"Laterality": laterality})
    [path] = write(tmp_path / "in", recipe)
    copy = tmp_path / "copy.dcm"
    assert relabelled(path, copy, region)
    assert new_messages(path, copy) == []


def test_a_series_stays_consistent(tmp_path: Path) -> None:
    """dcentvfy finds the series-level attributes of a relabelled series the same in all instances."""
    files = write(tmp_path / "in", Recipe(n=4))
    copies = [tmp_path / f"{index}.dcm" for index in range(4)]
    for path, copy in zip(files, copies, strict=True):
        assert relabelled(path, copy, REGIONS[0])
    assert messages("dcentvfy", *copies) == messages("dcentvfy", *files)


class Orthanc:
    """Orthanc as Debian packages it, on free ports, with a storage of its own."""

    def __init__(self, folder: Path, overwrite: bool) -> None:
        self.port, self._http = free_port(), free_port()
        folder.mkdir()
        self._config = folder / "orthanc.json"
        settings = {
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "DicomAet": "ARCHIVE",
            "DicomPort": self.port,
            "HttpPort": self._http,
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False,
            "DicomAlwaysAllowStore": True,
            "OverwriteInstances": overwrite,
            "Plugins": [],
        }
        self._config.write_text(json.dumps(settings))

    @contextmanager
    def running(self) -> Iterator["Orthanc"]:
        """Run it until the block ends."""
        with subprocess.Popen(
            ["/usr/sbin/Orthanc", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            wait_until(self._answers, "Orthanc answers", 60)
            yield self
            process.terminate()

    def _answers(self) -> bool:
        try:
            return bool(self.get("system"))
        except OSError:
            return False

    def get(self, path: str) -> Any:
        """Ask its REST interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http}/{path}", timeout=10) as answer:
            return json.load(answer)

    def terms(self) -> list[str]:
        """Return the BodyPartExamined of every instance that it has."""
        tags = [self.get(f"instances/{each}/simplified-tags") for each in self.get("instances")]
        return sorted(each.get("BodyPartExamined", "") for each in tags)


def one_region(_index: int, rows: int, columns: int) -> Any:
    """Draw the same image for every index, so that the series has one region, whichever."""
    return blob(0, rows, columns)


@pytest.mark.parametrize("overwrite", [True, False])
def test_orthanc_shows_the_new_term(overwrite: bool, tmp_path: Path) -> None:
    """An archive gets the new term; one that has the original already keeps that, unless told otherwise."""
    fresh = write(tmp_path / "fresh", Recipe(n=3, body_part="OLD", pixels=one_region))
    known = write(
        tmp_path / "known",
        Recipe(n=2, seed="known", body_part="OLD", pixels=one_region),
    )
    with Orthanc(tmp_path / "orthanc", overwrite).running() as archive:
        assert storescu(archive.port, known, "-aec", "ARCHIVE").returncode == 0
        assert archive.terms() == ["OLD", "OLD"]
        destination = {
            "name": "orthanc",
            "ae_title": "ARCHIVE",
            "host": "127.0.0.1",
            "port": archive.port,
            "relabel": "always",
        }
        node = make_node(tmp_path / "node", destination, classify={"minimum_confidence": 0.0})
        with running(node):
            assert storescu(node.port, fresh + known).returncode == 0
            rows = node.wait_for_state("delivered", 2)
            terms = {row.series_instance_uid: row.term for row in rows}
            assert None not in terms.values()
            new = terms[Recipe().series_uid] or ""
            kept = (terms[Recipe(seed="known").series_uid] or "") if overwrite else "OLD"
            assert archive.terms() == sorted([new] * 3 + [kept] * 2)
