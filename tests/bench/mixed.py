"""A hundred series as a hospital sends them: many short ones of all kinds, four associations at a time."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path

from pydicom import uid

from tests.bench.measure import Sample, Table, Watch, cpu_s, interleaved
from tests.bench.through import STABLE_S, noisy
from tests.builders import CORONAL, SAGITTAL, Recipe, write
from tests.harness import Archive, RunningNode, free_port, make_node, running, storescu, wait_until

SENDERS = 4
SLICE = Recipe(rows=256, columns=256, pixels=noisy, body_part=None)
KINDS = (
    replace(SLICE, n=40, step_mm=2.5),
    replace(SLICE, n=3, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")),
    replace(SLICE, n=20, orientation=CORONAL),
    replace(SLICE, modality="MR", n=24),
    replace(SLICE, modality="MR", n=18, orientation=SAGITTAL, transfer_syntax=uid.RLELossless),
    replace(SLICE, modality="MR", n=24, series_description="DWI"),
    replace(SLICE, modality="DX", n=1, rows=1024, columns=1024),
    replace(SLICE, modality="CR", n=2, rows=1024, columns=1024),
    replace(SLICE, modality="US", n=4),
    replace(SLICE, modality="OT", n=1),
)
"""What comes over and over again."""


def recipes(series: int, seed: str) -> Iterator[Recipe]:
    """Name so many series, each of a study of its own."""
    for number in range(series):
        name = f"{seed}-{number}"
        yield replace(KINDS[number % len(KINDS)], seed=name, study_seed=name, patient_id=name)


def mixed(folder: Path, series: int, rounds: int) -> Table:
    """From the first image sent to the last delivery recorded."""
    fresh = count()
    images = sum(recipe.n for recipe in recipes(series, "count"))
    with ExitStack() as stack:
        archive = Archive(folder / "archive", free_port()).start("+xa", "+B", "-pdu", "131072")
        stack.callback(archive.stop)
        described = make_node(folder / "node", archive.destination(), series={"stable_age_s": STABLE_S})
        node = stack.enter_context(running(described))

        def run() -> Sample:
            return _through(node, archive, folder / f"round{next(fresh)}", series)

        run()  # the first series of each network compiles it
        what = (
            f"{series} series: CT, localizers, coronal CT, axial, sagittal and diffusion MR, radiographs, "
            f"ultrasound, captures; 1 to 40 images each, from {SENDERS} senders. {STABLE_S:g} s for the last "
            "series to become stable counts."
        )
        return interleaved(f"{series} mixed series end to end", what, images, rounds, {"node": run})


def _through(node: RunningNode, archive: Archive, folder: Path, series: int) -> Sample:
    made = [(recipe, write(folder / recipe.seed, recipe)) for recipe in recipes(series, folder.name)]
    assert node.process is not None
    known, before = len(node.rows()), cpu_s(node.process.pid)
    watch = Watch()

    def send(part: list[tuple[Recipe, list[Path]]]) -> None:
        for recipe, files in part:
            packed = ("-xr",) if recipe.transfer_syntax == uid.RLELossless else ()
            done = storescu(node.port, files, "-R", "-pdu", "131072", *packed)
            assert done.returncode == 0, done.stderr

    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(send, (made[first::SENDERS] for first in range(SENDERS))))
    wait_until(lambda: len(node.rows(state="delivered")) == known + series, f"{series} series are delivered")
    wall_s = watch.sample().wall_s
    used = {pid: now - before.get(pid, 0.0) for pid, now in cpu_s(node.process.pid).items()}
    shutil.rmtree(folder)
    for path in archive.files():
        path.unlink()
    return Sample(wall_s, sum(used.values()))
