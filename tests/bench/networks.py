"""Decoding by transfer syntax, preprocessing, and every network by every runtime, each for itself."""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import uid

from model.classify import BATCH, SHIPPED, Classifier, model_input
from model.gate import reason
from model.networks import LITE, Definition, build, default
from model.radiographs import MODEL as RADIOGRAPHS
from model.read import read_header, read_pixels
from model.regions import CT_CLASSES
from model.runtimes import AUTO, BFLOAT16, ONNXRUNTIME, OPENVINO, TENSORFLOW, Engine, Infer, compiled, missing
from model.weights_file import Weights, load
from tests.bench.measure import Run, Table, interleaved, own
from tests.bench.through import noisy
from tests.builders import Recipe, write
from tests.harness import command

SYNTAXES: Final[Mapping[str, str]] = {
    "uncompressed": uid.ExplicitVRLittleEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "RLE": uid.RLELossless,
    "JPEG-LS": uid.JPEGLSLossless,
    "JPEG lossless": uid.JPEGLosslessSV1,
    "JPEG 2000 lossless": uid.JPEG2000Lossless,
}
ENGINES: Final = {
    TENSORFLOW: Engine(TENSORFLOW),
    ONNXRUNTIME: Engine(ONNXRUNTIME),
    OPENVINO: Engine(OPENVINO),
    f"{OPENVINO}, {BFLOAT16}": Engine(OPENVINO, precision=BFLOAT16),
}
FEW: Final = 20
"""Images of a run where each takes long."""


def decoding(folder: Path, rounds: int) -> Table:
    """One file of each transfer syntax, read and decoded to values in Hounsfield units, in one process."""
    runs: dict[str, Run] = {}
    for name, syntax in SYNTAXES.items():
        path = _encoded(folder, name, syntax)
        header = read_header(path)
        assert header.transfer_syntax_uid == syntax
        runs[name] = own(partial(_repeated, partial(read_pixels, header)))
    what = (
        "512 x 512, 16 bits, a body with noise; from file to float32 values with mask, header already read. "
        "One process; a worker has as many as its share of the cores."
    )
    return interleaved("Decode", what, FEW, rounds, runs, "uncompressed")


def _repeated(work: Callable[[], object]) -> None:
    for _ in range(FEW):
        work()


def _encoded(folder: Path, name: str, syntax: str) -> Path:
    recipe = Recipe(n=1, rows=512, columns=512, seed=name, pixels=noisy, transfer_syntax=syntax)
    if syntax != uid.JPEGLosslessSV1:
        return write(folder / name, recipe)[0]
    [plain] = write(folder / name, Recipe(n=1, rows=512, columns=512, seed=name, pixels=noisy))
    packed = plain.with_name("packed.dcm")
    subprocess.run([command("dcmcjpeg"), "+e1", str(plain), str(packed)], check=True)
    return packed


def preparing(files: Sequence[Path], rounds: int) -> Table:
    """From file to the network's input, step by step."""
    some = files[: 3 * FEW]
    headers = [read_header(path) for path in some]
    images = [read_pixels(header) for header in headers]
    shipped = load(SHIPPED["CT"]).definition
    runs = {
        "read header": own(lambda: [read_header(path) for path in some]),
        "decode (uncompressed)": own(lambda: [read_pixels(header) for header in headers]),
        f"preprocess ({shipped.preprocessing}, {shipped.size} px)": own(
            lambda: [model_input(image, shipped) for image in images]
        ),
    }
    return interleaved(
        "Read and preprocess", "One process, files in the page cache.", len(some), rounds, runs
    )


def radiographs(folder: Path, rounds: int) -> Table:
    """Real films, from file to both heads of the shipped network, as the node runs it, one by one."""
    headers = [one for one in map(read_header, sorted(folder.glob("*.dcm"))) if reason(one) is None]
    classifier = Classifier.load({RADIOGRAPHS: SHIPPED[RADIOGRAPHS]}, Engine(AUTO))
    definition = classifier.definition(RADIOGRAPHS)
    images = [read_pixels(header) for header in headers]
    inputs = [model_input(image, definition) for image in images]
    classifier.judge(RADIOGRAPHS, inputs)
    pixels = sorted(round(header.rows * header.columns / 1e6, 1) for header in headers)
    runs = {
        "decode": own(lambda: [read_pixels(header) for header in headers]),
        "prepare": own(lambda: [model_input(image, definition) for image in images]),
        "network": own(lambda: [classifier.judge(RADIOGRAPHS, [one]) for one in inputs]),
    }
    what = (
        f"{len(headers)} real films of {pixels[0]} to {pixels[-1]} megapixels ({folder.as_posix()}), JPEG "
        f"2000 among them; single images, the network by {classifier.runtime(RADIOGRAPHS)} on all cores."
    )
    return interleaved("Radiographs", what, len(headers), rounds, runs)


def inference(name: str, rounds: int, batches: int = 2) -> Table:
    """One network by every runtime that is installed, on the same inputs."""
    weights = _weights(name)
    definition = weights.definition
    rng = np.random.default_rng(0)
    shape = (BATCH * batches, definition.size, definition.size, definition.channels)
    inputs = rng.normal(0.0, 1.0, shape).astype(np.float32)
    runs: dict[str, Run] = {}
    for title, engine in ENGINES.items():
        if missing(engine.runtime) is None:
            infer = compiled(Path("ct.npz"), weights, BATCH, engine).infer
            runs[title] = own(partial(_inferred, infer, inputs))
    what = (
        f"Batches of {BATCH} at {definition.size} px, all cores; preprocessing left out. Single precision "
        f"but for the last row; a processor without bfloat16 takes single precision there, too."
    )
    return interleaved(f"Inference, {name}", what, len(inputs), rounds, runs, TENSORFLOW)


def _inferred(infer: Infer, inputs: NDArray[np.float32]) -> None:
    for batch in batches(inputs):
        infer(batch)


def batches(inputs: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield inputs (n, size, size, channels) a few at a time."""
    for first in range(0, len(inputs), BATCH):
        yield inputs[first : first + BATCH]


def _weights(name: str) -> Weights:
    """Return the shipped CT weights for the light network, and untrained ones for the others."""
    if name == LITE:
        return load(SHIPPED["CT"])
    definition: Definition = default(name, CT_CLASSES)
    arrays: tuple[Any, ...] = tuple(build(definition).get_weights())
    return Weights(definition, "CT", 1.0, "d" * 64, arrays, {})
