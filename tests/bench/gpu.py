"""Networks on a GPU: python -m tests.bench.gpu, for anyone who has one.

Needs pip install 'bodytag[gpu]', or KERAS_BACKEND=jax or torch with that package for the GPU. For the light
network and the paper's it prints images a second by batch size, ms an image, and how much of what the device
reaches in a large matrix product that is; and how many decoding processes it takes to feed it, by transfer
syntax. It runs on a CPU as well, and says so. Nothing of it stands in BENCHMARKS.md until somebody ran it on
a GPU.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from model.classify import SHIPPED
from model.networks import LITE, PAPER, build, default
from model.regions import CT_CLASSES
from model.weights_file import load, restore
from tests.bench.networks import decoding

BATCHES: Final = (16, 64, 256)
MATRIX: Final = 4096
"""Side of the matrices whose product is the arithmetic limit that is compared with."""


@dataclass(frozen=True)
class Speed:
    """Images a second at a batch size, the wall time of one image, and the share of the arithmetic limit."""

    network: str
    batch: int
    ms: float
    share: float


def operations(model: Any) -> int:
    """Return the multiplications and additions of one image: those of convolutions and dense layers."""
    return sum(_operations(layer) for layer in model.layers)


def _operations(layer: Any) -> int:
    kind = type(layer).__name__
    if hasattr(layer, "layers"):
        return operations(layer)
    if kind not in ("Conv2D", "DepthwiseConv2D", "Dense"):
        return 0
    kernel = tuple(int(each) for each in layer.kernel.shape)
    places = prod(int(each) for each in layer.output.shape[1:3]) if kind != "Dense" else 1
    return 2 * prod(kernel) * places


def measured(work: Callable[[], object], times: int) -> float:
    """Return the median seconds of some work, after two times that are not counted."""
    found = []
    for number in range(times + 2):
        began = time.perf_counter()
        work()
        if number >= 2:
            found.append(time.perf_counter() - began)
    return median(found)


def limit(times: int, side: int) -> float:
    """Return the operations a second of a product of two large matrices in single precision."""
    import keras

    rng = np.random.default_rng(0)
    first, second = (
        keras.ops.convert_to_tensor(rng.normal(size=(side, side)).astype(np.float32)) for _ in range(2)
    )
    took = measured(lambda: keras.ops.convert_to_numpy(keras.ops.matmul(first, second)[0, 0]), times)
    return 2.0 * side**3 / took


def speeds(name: str, batches: tuple[int, ...], times: int, peak: float) -> list[Speed]:
    """Measure a network, from inputs in memory to logits in memory."""
    path = SHIPPED["CT"]
    model = restore(path, load(path)) if name == LITE else build(default(name, CT_CLASSES))
    shape, work = model.inputs[0].shape[1:], operations(model)
    found = []
    for batch in batches:
        images = np.random.default_rng(0).normal(size=(batch, *shape)).astype(np.float32)
        took = measured(lambda images=images: model.predict_on_batch(images), times)  # type: ignore[misc]
        found.append(Speed(name, batch, 1000 * took / batch, work * batch / took / peak))
    return found


def report(batches: tuple[int, ...], times: int, side: int) -> str:
    """Return everything as Markdown."""
    peak = limit(times, side)
    lines = [f"{device()}: {peak / 1e12:.2f} Tera-operations a second in a {side} x {side} product.", ""]
    lines += [
        "| network | batch | ms/image | images/s | of the arithmetic limit |",
        "|---|---:|---:|---:|---:|",
    ]
    best: dict[str, float] = {}
    for name in (LITE, PAPER):
        for each in speeds(name, batches, times, peak):
            best[name] = max(best.get(name, 0.0), 1000 / each.ms)
            lines.append(
                f"| {name} | {each.batch} | {each.ms:.3f} | {1000 / each.ms:.0f} | {100 * each.share:.1f} % |"
            )
    with tempfile.TemporaryDirectory() as folder:
        table = decoding(Path(folder), 1)
    lines += ["", "| decoding | images/s of one process | processes that feed " + " | ".join(best) + " |"]
    lines.append("|---|---:|" + "---:|" * len(best))
    for syntax, [sample] in table.samples.items():
        rate = table.images / sample.wall_s
        need = " | ".join(f"{network / rate:.1f}" for network in best.values())
        lines.append(f"| {syntax} | {rate:.0f} | {need} |")
    return "\n".join(lines)


def device() -> str:
    """Name the backend and the devices that Keras finds."""
    import keras

    found = keras.distribution.list_devices()
    where = ", ".join(found) if any("gpu" in str(each).lower() for each in found) else "no GPU, the CPU"
    return f"Keras {keras.__version__} with {keras.backend.backend()}, {where}"


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--matrix", type=int, default=MATRIX)
    plan = parser.parse_args()
    print(report(tuple(plan.batches), plan.times, plan.matrix))


if __name__ == "__main__":
    main()
