"""What runs a network: TensorFlow, or ONNX Runtime or OpenVINO on the same weights. Imported when first used.

TensorFlow always is there, and uses a GPU where it finds one. The other two are made for CPUs and take half
the time there; they get the Keras network as an ONNX graph (model/onnx_graph.py) and compute in single
precision, so that they differ from TensorFlow by rounding alone. OpenVINO would take bfloat16 by itself where
the processor has it; that moves logits by some hundredths, so it is told not to.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from model.graphs import Network
from model.onnx_graph import INPUT, NotExportableError
from model.weights_file import Weights, WeightsError, restore

Runtime = Literal["auto", "tensorflow", "onnxruntime", "openvino"]
Infer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Inputs float32 (n, size, size, channels) -> logits float32 (n, outputs), n from 1 to the batch."""
Table = NDArray[np.float32]
InferAll = Callable[[Mapping[str, Table]], tuple[Table, ...]]
"""Inputs by name -> all outputs in order, of networks with several of either; n as it comes."""

AUTO: Final = "auto"
TENSORFLOW: Final = "tensorflow"
ONNXRUNTIME: Final = "onnxruntime"
OPENVINO: Final = "openvino"
_FOR_CPUS: Final[tuple[Runtime, ...]] = (ONNXRUNTIME, OPENVINO)
"""In the order in which `auto` takes them."""
_ACCELERATORS: Final = ("nvidia[0-9]*", "kfd")
"""Devices of NVIDIA's and AMD's drivers; without one there is no need to ask TensorFlow."""


@dataclass(frozen=True)
class Compiled:
    """A network ready to run, and what runs it, with its version."""

    infer: Infer
    runtime: str


def missing(runtime: Runtime) -> str | None:
    """Return what has to be installed for a runtime, None where it is there."""
    if runtime not in _FOR_CPUS or all(find_spec(name) for name in (runtime, "onnx")):
        return None
    return (
        f"{runtime} is not installed; pip install 'bodytag[{'cpu' if runtime == ONNXRUNTIME else runtime}]'"
    )


def chosen(runtime: Runtime) -> Runtime:
    """Return the runtime that `auto` means on this machine, or the one that is named.

    Raises WeightsError where that one is not installed.
    """
    if runtime != AUTO:
        lacks = missing(runtime)
        if lacks:
            raise WeightsError(lacks)
        return runtime
    there = [each for each in _FOR_CPUS if missing(each) is None]
    return TENSORFLOW if not there or _has_gpu() else there[0]


def compiled(
    path: Path, weights: Weights, batch: int, runtime: Runtime, threads: int | None, shelf: Path | None = None
) -> Compiled:
    """Make the network of verified weights ready; with `auto` by TensorFlow where nothing else can.

    `threads` bounds the CPU cores of one step, 0 or None: all; `shelf` keeps graphs for the next time. Raises
    WeightsError where the weights do not fit their card, give no finite numbers, or cannot be run by the
    runtime that was named.
    """
    definition = weights.definition
    network = Network(weights.digest, definition.as_json(), lambda: restore(path, weights), shelf)
    with without_chatter():
        name = chosen(runtime)
        if name == TENSORFLOW:
            prepare_tensorflow(threads)
        try:
            infer = _RUNNERS[name](network, batch, threads)
        except NotExportableError as error:
            if runtime != AUTO:
                raise WeightsError(f"{runtime} cannot run the weights {path}: {error}") from error
            name = TENSORFLOW
            infer = _tensorflow(network, batch, threads)
        nothing = np.zeros((batch, definition.size, definition.size, definition.channels), np.float32)
        if not np.isfinite(infer(nothing)).all():
            raise WeightsError(f"the weights {path} give no finite numbers")
    return Compiled(infer, f"{name} {version(name)}")


def prepare_tensorflow(threads: int | None) -> None:
    """Import TensorFlow, which takes seconds; its threads can be bounded only before it has run anything."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    if threads is not None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)


@contextmanager
def without_chatter() -> Iterator[None]:
    """Silence what the runtimes print past any logger while they load; errors still raise."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def compiled_whole(path: Path, network: Network, runtime: Runtime, threads: int | None) -> InferAll:
    """Make a network with several inputs or outputs ready; `auto` falls back to TensorFlow.

    Raises WeightsError where the runtime that was named cannot run the weights of `path`.
    """
    with without_chatter():
        name = chosen(runtime)
        try:
            return _WHOLE[name](network, threads)
        except NotExportableError as error:
            if runtime != AUTO:
                raise WeightsError(f"{runtime} cannot run the weights {path}: {error}") from error
            return _tensorflow_whole(network, threads)


def _has_gpu() -> bool:
    if not any(found for pattern in _ACCELERATORS for found in Path("/dev").glob(pattern)):
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _tensorflow(network: Network, batch: int, _threads: int | None) -> Infer:
    """Compile for one batch size, which shorter batches are filled up to."""
    import tensorflow as tf

    model = network.restore()
    shape = (batch, *model.inputs[0].shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])  # type: ignore[untyped-decorator]
    def run(images: Any) -> Any:
        return model(images, training=False)

    def infer(images: NDArray[np.float32]) -> NDArray[np.float32]:
        missing = np.zeros((batch - len(images), *shape[1:]), np.float32)
        filled = np.concatenate([images, missing]) if len(missing) else images
        return np.asarray(run(tf.constant(filled)).numpy(), np.float32)[: len(images)]

    return infer


def _tensorflow_whole(network: Network, _threads: int | None) -> InferAll:
    import tensorflow as tf

    model = network.restore()

    @tf.function  # type: ignore[untyped-decorator]
    def run(inputs: Any) -> Any:
        return model(inputs, training=False)

    def infer(inputs: Mapping[str, Table]) -> tuple[Table, ...]:
        given = {name: tf.constant(value) for name, value in inputs.items()}
        # a network of one input takes it without a name
        said = run(next(iter(given.values())) if len(given) == 1 else given)
        return tuple(np.asarray(each.numpy(), np.float32) for each in said)

    return infer


def _onnxruntime(network: Network, _batch: int, threads: int | None) -> Infer:
    session = _session(network, threads)

    def infer(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {INPUT: images})[0], np.float32)

    return infer


def _onnxruntime_whole(network: Network, threads: int | None) -> InferAll:
    session = _session(network, threads)

    def infer(inputs: Mapping[str, Table]) -> tuple[Table, ...]:
        said = session.run(None, _named(inputs))
        return tuple(np.asarray(each, np.float32) for each in said)

    return infer


def _session(network: Network, threads: int | None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it burns what decoders need
    return onnxruntime.InferenceSession(network.onnx(), options, providers=["CPUExecutionProvider"])


def _openvino(network: Network, _batch: int, threads: int | None) -> Infer:
    ready = _ready(network, threads)

    def infer(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array(ready(images)[0], np.float32)

    return infer


def _openvino_whole(network: Network, threads: int | None) -> InferAll:
    ready = _ready(network, threads)

    def infer(inputs: Mapping[str, Table]) -> tuple[Table, ...]:
        said = ready(_named(inputs))
        return tuple(np.array(said[number], np.float32) for number in range(len(ready.outputs)))

    return infer


def _ready(network: Network, threads: int | None) -> Any:
    import openvino

    core = openvino.Core()
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    return core.compile_model(core.read_model(network.onnx()), "CPU", settings)


def _named(inputs: Mapping[str, Table]) -> dict[str, Table]:
    """Return the inputs by what they are called in the ONNX file, where a single one has no own name."""
    return {INPUT: next(iter(inputs.values()))} if len(inputs) == 1 else dict(inputs)


_RUNNERS: Final[dict[str, Callable[[Network, int, int | None], Infer]]] = {
    TENSORFLOW: _tensorflow,
    ONNXRUNTIME: _onnxruntime,
    OPENVINO: _openvino,
}
_WHOLE: Final[dict[str, Callable[[Network, int | None], InferAll]]] = {
    TENSORFLOW: _tensorflow_whole,
    ONNXRUNTIME: _onnxruntime_whole,
    OPENVINO: _openvino_whole,
}
