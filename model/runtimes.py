"""What runs a network: TensorFlow, or ONNX Runtime or OpenVINO on the same weights. Imported when first used.

TensorFlow always is there, and uses a GPU where it finds one. The other two are made for CPUs and take half
the time there; they get the Keras network as an ONNX graph (model/onnx_graph.py) and compute in single
precision, so that they differ from TensorFlow by rounding alone. OpenVINO would take bfloat16 by itself where
the processor has it; that moves logits by some hundredths, so it is told not to unless a site wants it.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
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

Precision = Literal["single", "bfloat16"]

AUTO: Final = "auto"
TENSORFLOW: Final = "tensorflow"
ONNXRUNTIME: Final = "onnxruntime"
OPENVINO: Final = "openvino"
SINGLE: Final = "single"
BFLOAT16: Final = "bfloat16"
_FOR_CPUS: Final[tuple[Runtime, ...]] = (ONNXRUNTIME, OPENVINO)
"""In the order in which `auto` takes them."""
_ACCELERATORS: Final = ("nvidia[0-9]*", "kfd")
"""Devices of NVIDIA's and AMD's drivers; without one there is no need to ask TensorFlow."""


@dataclass(frozen=True, slots=True)
class Engine:
    """How networks are to be run; `threads` bounds the CPU cores of one step, 0 or None: all.

    `precision` bfloat16 is OpenVINO's alone, on processors that have it. `shelf` is a folder where graphs are
    kept for the next time (model/graphs.py), None: nowhere.
    """

    runtime: Runtime = TENSORFLOW
    threads: int | None = None
    precision: Precision = SINGLE
    shelf: Path | None = None


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


def unfit(runtime: Runtime, precision: Precision) -> str | None:
    """Return why a runtime cannot compute in a precision, None where it can."""
    if precision == SINGLE or runtime in (AUTO, OPENVINO):
        return None
    return f"{runtime} computes in single precision alone; bfloat16 is for openvino, or auto"


def chosen(engine: Engine) -> Runtime:
    """Return the runtime that `auto` means on this machine, or the one that is named.

    For bfloat16 `auto` means OpenVINO where the processor has it. Raises WeightsError where a runtime that is
    named is not installed, or cannot compute so.
    """
    if engine.runtime != AUTO:
        lacks = missing(engine.runtime) or unfit(engine.runtime, engine.precision)
        if lacks:
            raise WeightsError(lacks)
        return engine.runtime
    there = [each for each in _FOR_CPUS if missing(each) is None]
    if not there or _has_gpu():
        return TENSORFLOW
    return OPENVINO if OPENVINO in there and _precision(engine) == BFLOAT16 else there[0]


def compiled(path: Path, weights: Weights, batch: int, engine: Engine) -> Compiled:
    """Make the network of verified weights ready; with `auto` by TensorFlow where nothing else can.

    Raises WeightsError where the weights do not fit their card, give no finite numbers, or cannot be run by
    the runtime that was named.
    """
    definition = weights.definition
    network = Network(weights.digest, definition.as_json(), lambda: restore(path, weights), engine.shelf)
    with without_chatter():
        name = chosen(engine)
        if name == TENSORFLOW:
            prepare_tensorflow(engine.threads)
        try:
            infer = _RUNNERS[name](network, batch, engine)
        except NotExportableError as error:
            name = _instead(path, engine, error)
            infer = _tensorflow(network, batch, engine)
        nothing = np.zeros((batch, definition.size, definition.size, definition.channels), np.float32)
        if not np.isfinite(infer(nothing)).all():
            raise WeightsError(f"the weights {path} give no finite numbers")
    precise = [BFLOAT16] if name == OPENVINO and _precision(engine) == BFLOAT16 else []
    return Compiled(infer, " ".join([name, version(name), *precise]))


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


def compiled_whole(path: Path, network: Network, engine: Engine) -> InferAll:
    """Make a network with several inputs or outputs ready; `auto` falls back to TensorFlow.

    Raises WeightsError where the runtime that was named cannot run the weights of `path`.
    """
    with without_chatter():
        try:
            return _WHOLE[chosen(engine)](network, engine)
        except NotExportableError as error:
            _instead(path, engine, error)
            return _tensorflow_whole(network, engine)


def _instead(path: Path, engine: Engine, error: NotExportableError) -> Runtime:
    """Return what runs a network that cannot be exported; raises WeightsError where another was named."""
    if engine.runtime != AUTO:
        raise WeightsError(f"{engine.runtime} cannot run the weights {path}: {error}") from error
    return TENSORFLOW


def _has_gpu() -> bool:
    if not any(found for pattern in _ACCELERATORS for found in Path("/dev").glob(pattern)):
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _tensorflow(network: Network, batch: int, _engine: Engine) -> Infer:
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


def _tensorflow_whole(network: Network, _engine: Engine) -> InferAll:
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


def _onnxruntime(network: Network, _batch: int, engine: Engine) -> Infer:
    session = _session(network, engine)

    def infer(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {INPUT: images})[0], np.float32)

    return infer


def _onnxruntime_whole(network: Network, engine: Engine) -> InferAll:
    session = _session(network, engine)

    def infer(inputs: Mapping[str, Table]) -> tuple[Table, ...]:
        said = session.run(None, _named(inputs))
        return tuple(np.asarray(each, np.float32) for each in said)

    return infer


def _session(network: Network, engine: Engine) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = engine.threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it burns what decoders need
    return onnxruntime.InferenceSession(network.onnx(), options, providers=["CPUExecutionProvider"])


def _openvino(network: Network, _batch: int, engine: Engine) -> Infer:
    ready = _ready(network, engine)

    def infer(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array(ready(images)[0], np.float32)

    return infer


def _openvino_whole(network: Network, engine: Engine) -> InferAll:
    ready = _ready(network, engine)

    def infer(inputs: Mapping[str, Table]) -> tuple[Table, ...]:
        said = ready(_named(inputs))
        return tuple(np.array(said[number], np.float32) for number in range(len(ready.outputs)))

    return infer


def _ready(network: Network, engine: Engine) -> Any:
    import openvino

    core = openvino.Core()
    precision = "bf16" if _precision(engine) == BFLOAT16 else "f32"
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    if engine.threads:
        settings["INFERENCE_NUM_THREADS"] = engine.threads
    return core.compile_model(core.read_model(network.onnx()), "CPU", settings)


def _precision(engine: Engine) -> Precision:
    """Return the precision that OpenVINO computes in: bfloat16 only where the processor has it."""
    return BFLOAT16 if engine.precision == BFLOAT16 and _has_bfloat16() else SINGLE


@cache
def _has_bfloat16() -> bool:
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _named(inputs: Mapping[str, Table]) -> dict[str, Table]:
    """Return the inputs by what they are called in the ONNX file, where a single one has no own name."""
    return {INPUT: next(iter(inputs.values()))} if len(inputs) == 1 else dict(inputs)


_RUNNERS: Final[dict[str, Callable[[Network, int, Engine], Infer]]] = {
    TENSORFLOW: _tensorflow,
    ONNXRUNTIME: _onnxruntime,
    OPENVINO: _openvino,
}
_WHOLE: Final[dict[str, Callable[[Network, Engine], InferAll]]] = {
    TENSORFLOW: _tensorflow_whole,
    ONNXRUNTIME: _onnxruntime_whole,
    OPENVINO: _openvino_whole,
}
