"""A node that receives by several processes, as its users run it: kills, its end, commitment."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from tests.builders import Recipe, series, write
from tests.harness import RunningNode, make_node, running, storescu, wait_until
from tests.test_commitment import Asker, asking_node, references, uids


def ready(node: RunningNode, count: int = 2) -> list[int]:
    """Wait until so many are ready."""
    wait_until(lambda: len(node.receivers()) == count, "all ready")
    return node.receivers()


def node_of(folder: Path, **sections: Any) -> RunningNode:
    """Describe a node with two receiver processes."""
    return make_node(folder, receive={"processes": 2}, **sections)


def acknowledged(done: Any) -> int:
    """Count the answers of Success in what `storescu -v` printed."""
    return str(done.stdout + done.stderr).count("Received Store Response (Success)")


def test_receivers_are_killed_amid_associations(tmp_path: Path) -> None:
    """While four peers send: whatever was answered with Success is registered, and the rest comes anew."""
    recipes = [Recipe(n=150, rows=64, columns=64, seed=str(number)) for number in range(4)]
    parts = [write(tmp_path / recipe.seed, recipe) for recipe in recipes]
    with running(node_of(tmp_path / "node")) as node:
        ready(node)
        with ThreadPoolExecutor(4) as pool:
            sent = [pool.submit(storescu, node.port, part, "-v", "-R") for part in parts]
            for kill in range(2):
                stored = node.config.spool.folder / "instances"
                wait_until(lambda: len([*stored.rglob("*.dcm")]) > 20 + 100 * kill, "some are stored")  # noqa: B023
                os.kill(ready(node)[0], signal.SIGKILL)
        answers = sum(acknowledged(each.result()) for each in sent)
        assert any(each.result().returncode for each in sent)
        wait_until(lambda: sum(row.instances for row in node.rows()) >= answers, "what was answered is known")
        assert [storescu(node.port, part).returncode for part in parts] == [0] * 4
        wait_until(lambda: sum(row.instances for row in node.rows()) == 600, "all are known, each once")
        ready(node)
        log = node.log.read_text()
    assert log.count("a receiver process ended and is started again") == 2
    assert "Traceback" not in log


def test_receivers_end_with_their_node(tmp_path: Path) -> None:
    """A killed node's go at once and acknowledge no more; the next node has what was acknowledged."""
    files = series(tmp_path / "in", n=300, rows=64, columns=64)
    node = node_of(tmp_path / "node", series={"stable_age_s": 3600}).start()
    pids = ready(node)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(storescu, node.port, files, "-v", "-R")
        stored = node.config.spool.folder / "instances"
        wait_until(lambda: len([*stored.rglob("*.dcm")]) > 50, "some are stored")
        node.kill()
        answers = acknowledged(sent.result())
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "they have ended")
    assert 0 < answers < len(files)
    node.settings["series"] = {"stable_age_s": 0.5}
    with running(node):
        wait_until(lambda: sum(row.instances for row in node.rows()) >= answers, "all acknowledged are known")
        assert not [each for each in (node.config.spool.folder / "incoming").rglob("*") if each.is_file()]


def test_commitment_is_asked_for_at_a_receiver_process(tmp_path: Path) -> None:
    """The report comes on the same association; a request that is longer than a packet is taken, too."""
    asker, files = Asker(), series(tmp_path / "in", n=5)
    with running(asking_node(tmp_path / "node", None, processes=2, wait_s=1)) as node:
        ready(node)
        assert storescu(node.port, files).returncode == 0
        asked = references(files)
        assert asker.ask(node, asked, asker.wait) == 0x0000
        kind, report = asker.wait()
        assert kind == 1
        assert uids(report.ReferencedSOPSequence) == sorted(path.stem for path in files)
        missing = [(asked[0][0], f"1.2.826.0.1.3680043.{'1' * 35}.{number}") for number in range(1, 1500)]
        assert asker.ask(node, [*asked, *missing], lambda: asker.wait(2)) == 0x0000
        kind, report = asker.wait(2)
        assert kind == 2
        assert len(report.FailedSOPSequence) == len(missing)
        assert asker.ask(node, asked, action_type=2) == 0x0123
        assert "Traceback" not in node.log.read_text()


def test_reports_come_on_an_association_of_their_own(tmp_path: Path) -> None:
    """The association on which was asked is released before; the node knows so from its process."""
    asker, files = Asker(), series(tmp_path / "in", n=3)
    with asker.listening(), running(asking_node(tmp_path / "node", asker, processes=2)) as node:
        ready(node)
        assert storescu(node.port, files).returncode == 0
        assert asker.ask(node, references(files)) == 0x0000
        kind, _ = asker.wait()
        assert kind == 1
