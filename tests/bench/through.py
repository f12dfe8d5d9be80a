"""One CT series from the first image sent to the last copy: the node, and what a site could build instead."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread, uid
from pydicom.dataset import Dataset

from tests.bench.measure import Run, Sample, Table, Watch, cpu_s, interleaved
from tests.bench.peers import run as peers
from tests.builders import Recipe, blob, dataset, write
from tests.harness import Archive, RunningNode, free_port, make_node, running, storescu, wait_until

STABLE_S = 1.0
SENDING = {uid.JPEG2000Lossless: "-xv", uid.ExplicitVRLittleEndian: "-xe"}
"""How storescu is told to propose a transfer syntax."""


def noisy(_index: int, rows: int, columns: int) -> NDArray[np.generic]:
    """Draw the same body each time, with the noise that makes a CT slice hard to compress."""
    noise = np.random.default_rng(1).normal(0.0, 12.0, (rows, columns))
    return np.asarray(np.clip(blob(0, rows, columns) + noise, 0, 4095), np.uint16)


def packed(folder: Path, recipe: Recipe, syntax: str) -> list[Path]:
    """Write a series whose images share one compressed frame; encoding each would take minutes."""
    if syntax == recipe.transfer_syntax:
        return write(folder, recipe)
    one: Dataset = dataset(replace(recipe, transfer_syntax=syntax, pixels=noisy))
    folder.mkdir(parents=True)
    paths = []
    for index in range(recipe.n):
        ds = dataset(replace(recipe, rows=8, columns=8, pixels=blob), index)
        for keyword in ("Rows", "Columns", "BitsStored", "HighBit"):
            setattr(ds, keyword, getattr(one, keyword))
        ds["PixelData"] = one["PixelData"]
        ds.file_meta.TransferSyntaxUID = uid.UID(syntax)
        paths.append(folder / f"{recipe.instance_uid(index)}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


@dataclass
class Course:
    """What else is seen of the node's runs: CPU seconds of its parts, and how soon the first copy came."""

    receiver_cpu_s: list[float] = field(default_factory=list)
    worker_cpu_s: list[float] = field(default_factory=list)
    first_copy_s: list[float] = field(default_factory=list)

    def forget(self) -> None:
        """Leave out what was so far."""
        for each in (self.receiver_cpu_s, self.worker_cpu_s, self.first_copy_s):
            each.clear()

    def told(self) -> str:
        """Say it in a sentence."""
        node, worker = median(self.receiver_cpu_s), median(self.worker_cpu_s)
        return (
            f"Of the CPU time of the node with every slice {node:.2f} s a series are its own and the "
            f"receivers' (receive, gather, relabel, forward) and {worker:.2f} s the worker's (headers, "
            f"decode, prepare, network, rules, record). "
            f"The first copy arrived {median(self.first_copy_s):.2f} s (median) after the series was stable."
        )


@dataclass(frozen=True)
class Through:
    """The table of a section, and the sentences below it."""

    table: Table
    course: Course

    def markdown(self) -> str:
        """Write both."""
        return f"{self.table.markdown()}\n{self.course.told()}\n"


def end_to_end(
    folder: Path, recipe: Recipe, rounds: int, syntax: str = uid.ExplicitVRLittleEndian
) -> Through:
    """Every system in turn, each round with a series of its own; Orthanc where its plugin is installed."""
    course, fresh = Course(), count()
    settings: dict[str, Any] = {"classify": {"minimum_confidence": 0.0}, "series": {"stable_age_s": STABLE_S}}
    with ExitStack() as stack:
        place = folder / f"through-{uid.UID(syntax).keyword}"
        archive = Archive(place / "archive", free_port()).start("+xa", "+B", "-pdu", "131072")
        stack.callback(archive.stop)

        def feed(through: Callable[[list[Path]], Sample]) -> Run:
            def run() -> Sample:
                here = place / f"series{next(fresh)}"
                files = packed(here, replace(recipe, seed=here.name, study_seed=here.name), syntax)
                made = through(files)
                shutil.rmtree(here)
                for path in archive.files():
                    path.unlink()
                return made

            return run

        runs: dict[str, Run] = {}
        for name, classify in (("node", {}), (EVERY, {"every_mm": None})):
            described = make_node(
                place / str(len(runs)),
                archive.destination(relabel="always"),
                receive={"processes": None},  # as many as there are cores
                **{**settings, "classify": {**settings["classify"], **classify}},
            )
            node = stack.enter_context(running(described))
            seen = course if name == EVERY else Course()
            runs[name] = feed(_node(node, archive, recipe.n, syntax, seen))
        network = peers.export(place)
        starts = {peers.DCMTK: peers.storescp} | ({peers.ORTHANC: peers.orthanc} if peers.available() else {})
        for name, start in starts.items():
            peer = stack.enter_context(start(place / name.replace(" ", "-"), network, archive))
            runs[name] = feed(_peer(peer, archive, recipe.n, syntax))
        for run in runs.values():  # the first series starts worker and decoders, loads and compiles
            run()
        course.forget()
        table = interleaved(_title(syntax), _WHAT, recipe.n, rounds, runs, "node")
    return Through(table, course)


EVERY = "node, every slice"
_WHAT = (
    f"From storescu's start to the last copy in the archive, which is storescp; {STABLE_S:g} s for the "
    "series to become stable counts, everything runs already. The node relabels every copy (`relabel: "
    "always`, `minimum_confidence: 0`), syncs, and keeps verdicts and deliveries; its CPU time is that of "
    "all its processes, of which as many receive as there are cores. Orthanc syncs, too: its plugin runs the "
    "same exported network by ONNX Runtime, modifies the series and sends it on. storescp runs a script at "
    "the end of the study: the same network, dcmodify, storescu; it does not sync. Configurations are in "
    "tests/bench/peers. As installed the node looks at a slice every 4 mm (`classify.every_mm`), the "
    "others at every one."
)


def _title(syntax: str) -> str:
    return f"One CT series end to end, {'JPEG 2000' if syntax == uid.JPEG2000Lossless else 'uncompressed'}"


def _node(
    node: RunningNode, archive: Archive, n: int, syntax: str, course: Course
) -> Callable[[list[Path]], Sample]:
    def run(files: list[Path]) -> Sample:
        assert node.process is not None
        root, before = node.process.pid, cpu_s(node.process.pid)
        watch = Watch()
        send(node.port, files, syntax)
        sent_s = watch.sample().wall_s
        wait_until(archive.files, "the first copy arrives")
        first_s = watch.sample().wall_s
        wait_until(lambda: len(archive.files()) == n, f"{n} copies arrive")
        wall_s = watch.sample().wall_s
        node.wait_for_state("delivered", len(node.rows()))
        used = {pid: now - before.get(pid, 0.0) for pid, now in cpu_s(root).items()}
        copies = [dcmread(path, stop_before_pixels=True) for path in archive.files()]
        assert all("InstanceCoercionDateTime" in copy for copy in copies), "a copy was not relabelled"
        course.first_copy_s.append(first_s - sent_s - STABLE_S)
        receiving = sum(used.get(pid, 0.0) for pid in (root, *node.receivers()))
        course.receiver_cpu_s.append(receiving)
        course.worker_cpu_s.append(sum(used.values()) - receiving)
        return Sample(wall_s, sum(used.values()))

    return run


def _peer(peer: peers.Peer, archive: Archive, n: int, syntax: str) -> Callable[[list[Path]], Sample]:
    def run(files: list[Path]) -> Sample:
        before, watch = peer.cpu_s(), Watch()
        send(peer.port, files, syntax)
        wait_until(lambda: len(archive.files()) == n, f"{n} copies arrive")
        wall_s = watch.sample().wall_s
        copies = [dcmread(path, stop_before_pixels=True) for path in archive.files()]
        assert all(copy.get("BodyPartExamined") for copy in copies), "a copy was not relabelled"
        peer.settled()
        return Sample(wall_s, peer.cpu_s() - before)

    return run


def send(port: int, files: Sequence[Path], syntax: str) -> None:
    """Send files by one storescu."""
    done = storescu(port, files, "-R", "-pdu", "131072", *_proposed(syntax))
    assert done.returncode == 0, done.stderr


def _proposed(syntax: str) -> Iterator[str]:
    if syntax == uid.JPEG2000Lossless:
        yield SENDING[uid.JPEG2000Lossless]
