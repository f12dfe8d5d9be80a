"""Reading, preprocessing and inference, and one series from the first image sent to the last copy."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from pydicom import dcmread

from model.classify import BATCH, SHIPPED, Classifier
from model.networks import PAPER, build, default
from model.preprocess import network_input
from model.read import Image, read_header, read_pixels
from model.regions import CT_CLASSES
from tests.bench.measure import Run, Sample, Table, Watch, interleaved, own
from tests.builders import Recipe, write
from tests.harness import Archive, RunningNode, free_port, make_node, running, storescu, wait_until


def inference(files: Sequence[Path], rounds: int) -> Table:
    """Every step of the worker for itself, on the same images."""
    images = [read_pixels(read_header(path)) for path in files]
    classifier = Classifier.load({"CT": SHIPPED["CT"]})
    paper = _paper()

    def prepare(size: int) -> Run:
        return own(lambda: [_prepared(image, size) for image in images])

    def classify_by_paper() -> None:
        for start in range(0, len(images), BATCH):
            batch = [_prepared(image, 224) for image in images[start : start + BATCH]]
            paper(np.repeat(np.stack(batch), 3, axis=3))

    runs = {
        "read header and pixels": own(lambda: [read_pixels(read_header(path)) for path in files]),
        "preprocess to 128 px": prepare(128),
        "preprocess to 224 px": prepare(224),
        "shipped CT weights (small_residual, 128 px), preprocess included": own(
            lambda: classifier.predict("CT", images)
        ),
        f"{PAPER}, 224 px, untrained weights, preprocess included": own(classify_by_paper),
    }
    what = f"Batches of {BATCH}, TensorFlow on the CPU; the files are in the page cache."
    return interleaved("Read, preprocess, classify", what, len(files), rounds, runs)


def _prepared(image: Image, size: int) -> NDArray[np.float32]:
    return network_input(image.values, image.valid, size)


def _paper() -> Any:
    import tensorflow as tf

    network = build(default(PAPER, CT_CLASSES))
    run = tf.function(lambda batch: network(batch, training=False))
    run(np.zeros((BATCH, 224, 224, 3), np.float32))  # compile
    return run


def end_to_end(folder: Path, recipe: Recipe, rounds: int) -> Table:
    """storescu -> node -> storescp, each round with a series of its own."""
    fresh = count()
    settings: dict[str, Any] = {"classify": {"minimum_confidence": 0.0}, "series": {"stable_age_s": 1}}
    what = (
        "From storescu's start to the last delivery recorded; the archive is storescp. `stable_age_s: 1` "
        "counts, the worker runs already; every copy is relabelled (`relabel: always`, "
        "`minimum_confidence: 0`). CPU time is that of the node and its worker together."
    )
    with ExitStack() as stack:
        archive = Archive(folder / "archive", free_port()).start("+xa", "+B", "-pdu", "131072")
        stack.callback(archive.stop)
        described = make_node(folder / "node", archive.destination(relabel="always"), **settings)
        node = stack.enter_context(running(described))

        def run() -> Sample:
            return _through(node, archive, folder, replace(recipe, seed=f"series{next(fresh)}"))

        # The first series starts the worker.
        _through(node, archive, folder, replace(recipe, n=20, seed="first"))
        return interleaved("One CT series end to end", what, recipe.n, rounds, {"node": run})


def _through(node: RunningNode, archive: Archive, folder: Path, recipe: Recipe) -> Sample:
    files = write(folder / recipe.seed, recipe)
    assert node.process is not None
    before = _cpu_s(node.process.pid)
    watch = Watch()
    assert storescu(node.port, files, "-R", "-pdu", "131072").returncode == 0
    wait_until(lambda: len(archive.files()) == recipe.n, f"{recipe.n} copies arrive")
    node.wait_for_state("delivered", len(node.rows()))
    wall_s = watch.sample().wall_s
    used = {pid: cpu_s - before.get(pid, 0.0) for pid, cpu_s in _cpu_s(node.process.pid).items()}
    copies = [dcmread(path, stop_before_pixels=True) for path in archive.files()]
    assert all("InstanceCoercionDateTime" in copy for copy in copies), "a copy was not relabelled"
    shutil.rmtree(folder / recipe.seed)
    for path in archive.files():
        path.unlink()
    return Sample(wall_s, sum(used.values()))


def _cpu_s(pid: int) -> dict[int, float]:
    """Return the CPU seconds of a process and each of its children so far."""
    root = psutil.Process(pid)
    times = {each.pid: each.cpu_times() for each in (root, *root.children(recursive=True))}
    return {number: float(used.user + used.system) for number, used in times.items()}
