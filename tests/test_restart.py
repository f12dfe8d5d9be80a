"""Kills: a node or worker that dies at any stage loses nothing and sends nothing twice with new content."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from db.queries import SeriesRow
from node.relabelling.part10 import meta_end
from tests.builders import Recipe, blob, write
from tests.harness import DEADLINE_S, Archive, RunningNode, free_port, make_node, storescu, wait_until


def same(_index: int, rows: int, columns: int) -> NDArray[np.uint16]:
    """Draw the same image for every index, so that the whole series is one region, whichever."""
    return blob(0, rows, columns)


RECIPE = Recipe(n=30, rows=128, columns=128, body_part="HAND", pixels=same)


class Line:
    """A node and an archive that keeps every copy it gets, repeated ones in files of their own."""

    def __init__(self, folder: Path) -> None:
        self.files = write(folder / "in", RECIPE)
        self.archive = Archive(folder / "archive", free_port())
        self.node: RunningNode = make_node(
            folder / "node",
            self.archive.destination(relabel="always"),
            classify={"minimum_confidence": 0.0},
        )

    def send(self) -> None:
        """Send the series; every instance must be acknowledged."""
        result = storescu(self.node.port, self.files)
        assert result.returncode == 0, result.stderr

    def start_archive(self, *options: str) -> None:
        """Start the archive so that a copy received again does not overwrite the one before."""
        self.archive.start("+xa", "+uf", *options)

    def finish(self) -> SeriesRow:
        """Wait for the delivery of everything, and hold what arrived against what was sent."""
        [row] = self.node.wait_for_state("delivered")
        assert row.instances == len(self.files)
        assert row.deliveries[0].sent == len(self.files)
        sent = {path.stem: dcmread(path).PixelData for path in self.files}
        copies: dict[str, set[bytes]] = {}
        for path in self.archive.files():
            copy = dcmread(path)
            assert copy.PixelData == sent[copy.SOPInstanceUID]
            copies.setdefault(copy.SOPInstanceUID, set()).add(path.read_bytes()[meta_end(path) :])
        assert set(copies) == set(sent)
        assert all(len(contents) == 1 for contents in copies.values()), "a copy was sent with other content"
        expected = row.term or "HAND"
        assert {dcmread(path).BodyPartExamined for path in self.archive.files()} == {expected}
        return row

    def kill_and_restart(self) -> None:
        """Kill the node as a power cut would, and start it again on the same spool and database."""
        self.node.kill()
        self.node.start()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    """A line whose processes end with the test."""
    line = Line(tmp_path)
    yield line
    line.archive.stop()
    if line.node.process is not None and line.node.process.poll() is None:
        line.node.stop()


def working(line: Line) -> int:
    """Wait until a worker is there and return its process number."""
    return int(wait_until(line.node.workers, "a worker runs")[0])


def frozen(line: Line) -> int:
    """Wait until a worker is there, and stop it so that the series stays as it is."""
    worker = working(line)
    os.kill(worker, signal.SIGSTOP)
    return worker


def test_killed_while_the_series_gathers(line: Line) -> None:
    """Instances that are only in the spool are found again."""
    line.node.settings["series"]["stable_age_s"] = 3600
    line.node.start()
    line.send()
    assert not line.node.rows()
    line.node.settings["series"]["stable_age_s"] = 0.2
    line.start_archive()
    line.kill_and_restart()
    line.finish()


def test_killed_while_receiving(line: Line) -> None:
    """After a kill in the middle of an association the sender sends again, and all is there once."""
    line.node.start()
    titles = ["-aec", "BODYTAG", "127.0.0.1", str(line.node.port)]
    with subprocess.Popen(["storescu", *titles, *map(str, line.files)], stderr=subprocess.DEVNULL) as sender:
        spool = line.node.folder / "spool" / "instances"
        wait_until(lambda: len(list(spool.glob("*/*/*.dcm"))) >= 5, "some instances are stored")
        line.node.kill()
        sender.wait(DEADLINE_S)
    line.start_archive()
    line.node.start()
    line.send()
    line.finish()


def test_killed_while_stable(line: Line) -> None:
    """A series that waits for its worker is classified by the next one."""
    line.node.start()
    line.send()
    worker = frozen(line)
    line.node.wait_for_state("stable")
    line.start_archive()
    line.kill_and_restart()
    os.kill(worker, signal.SIGKILL)
    line.finish()


def test_killed_after_the_decision(line: Line) -> None:
    """A decided series whose destination was down is delivered with the same decision."""
    line.node.start()
    line.send()
    [before] = line.node.wait_for_state("classified")
    assert before.term is not None
    line.start_archive()
    line.kill_and_restart()
    after = line.finish()
    assert (after.decided_at, after.term) == (before.decided_at, before.term)


def test_killed_while_delivering(line: Line) -> None:
    """Killed between the first copy and the last, it goes on; what goes twice is the same."""
    line.start_archive()
    line.node.start()
    line.send()
    wait_until(lambda: len(line.archive.files()) >= 3, "three copies arrived")
    line.kill_and_restart()
    line.finish()


def test_killed_again_and_again(line: Line) -> None:
    """Five kills at moments that come as they come lose nothing."""
    line.start_archive()
    line.node.start()
    line.send()
    for number in range(5):
        wait_until(lambda: len(line.archive.files()) >= number, f"{number} copies arrived")  # noqa: B023
        line.kill_and_restart()
    line.finish()


def test_killed_worker_is_replaced(line: Line) -> None:
    """A worker killed at its work is followed by another, and the series gets its verdict."""
    line.start_archive()
    line.node.start()
    worker = frozen(line)
    line.send()
    line.node.wait_for_state("stable")
    os.kill(worker, signal.SIGKILL)
    row = line.finish()
    assert row.classified == len(line.files)
    assert row.rule is not None


def test_a_series_that_kills_every_worker_is_delivered_unlabelled(line: Line) -> None:
    """After the second death the series is recorded with the reason, and goes on as it came."""
    line.start_archive()
    line.node.start()
    line.send()

    def given_up() -> bool:
        for worker in line.node.workers():
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        return bool(line.node.rows(state="delivered"))

    wait_until(given_up, "the series goes on without a verdict")
    row = line.finish()
    assert row.reason is not None
    assert "signal SIGKILL" in row.reason
    assert (row.term, row.classified, row.deliveries[0].policy) == (None, 0, "keep")


def test_a_hanging_worker_is_replaced(line: Line) -> None:
    """A worker that shows no sign of life is killed, and another one does the work."""
    # Nothing is compiled while the clock ticks: on a busy machine that alone may take so long.
    line.node.settings["classify"] = {"hang_timeout_s": 15, "preload": ["CT"], "ct_series": "off"}
    line.start_archive()
    line.node.start()
    line.send()
    line.finish()
    hanging = frozen(line)
    again = write(line.node.folder / "again", Recipe(seed="again", n=3))
    assert storescu(line.node.port, again).returncode == 0
    row = line.node.wait_for_state("delivered", 2)[0]
    assert hanging not in line.node.workers()
    assert "no sign of life for 15 s" in line.node.log.read_text()
    assert (row.instances, row.classified) == (3, 3)
