"""Reading, preprocessing and inference, and one series from the first image sent to the last copy."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from pydicom import dcmread

from model.classify import BATCH, SHIPPED, Classifier
from model.networks import NETWORKS, Definition, build, default
from model.preprocess import network_input
from model.read import Image, read_header, read_pixels
from model.regions import CT_CLASSES
from model.weights_file import load
from tests.bench.measure import Sample, Table, Watch, interleaved, own
from tests.builders import Recipe, write
from tests.harness import Archive, RunningNode, free_port, make_node, running, storescu, wait_until


def inference(files: Sequence[Path], rounds: int) -> Table:
    """Every step of the worker for itself, on the same images."""
    images = [read_pixels(read_header(path)) for path in files]
    shipped = load(SHIPPED["CT"]).definition
    classifier = Classifier.load({"CT": SHIPPED["CT"]})
    runs = {
        "read header and pixels": own(lambda: [read_pixels(read_header(path)) for path in files]),
        f"preprocess ({shipped.preprocessing}, {shipped.size} px)": own(
            lambda: [_prepared(image, shipped) for image in images]
        ),
        f"shipped CT weights ({shipped.network}, {shipped.size} px), preprocess included": own(
            lambda: classifier.predict("CT", images)
        ),
    }
    for name in sorted(NETWORKS.keys() - {shipped.network}):
        other = default(name, CT_CLASSES)
        label = f"{name}, {other.size} px, untrained weights, preprocess ({other.preprocessing}) included"
        runs[label] = own(partial(_classify, _untrained(other), other, images))
    what = (
        f"Batches of {BATCH}, TensorFlow on the CPU; the files are in the page cache. One run is one series "
        f"of {len(files)} slices."
    )
    return interleaved("Read, preprocess, classify", what, len(files), rounds, runs)


def _prepared(image: Image, definition: Definition) -> NDArray[np.float32]:
    made = network_input(
        image.values, image.valid, definition.size, image.spacing_mm, definition.preprocessing
    )
    return np.repeat(made, 3, axis=2) if definition.channels == 3 else made


def _untrained(definition: Definition) -> Any:
    import tensorflow as tf

    network = build(definition)
    run = tf.function(lambda batch: network(batch, training=False))
    run(np.zeros((BATCH, definition.size, definition.size, definition.channels), np.float32))  # compile
    return run


def _classify(network: Any, definition: Definition, images: Sequence[Image]) -> None:
    for start in range(0, len(images), BATCH):
        network(np.stack([_prepared(image, definition) for image in images[start : start + BATCH]]))


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
