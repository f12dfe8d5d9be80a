"""A network in 8 bits for ONNX Runtime: static quantisation, its ranges from images that were trained on."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from model.classify import SHIPPED, model_input
from model.networks import Definition
from model.onnx_graph import INPUT, exported
from model.runtimes import Infer
from model.training.cases import Part, real
from model.training.data import read_manifest, true_subject, usable
from model.training.split import read as read_split
from model.weights_file import load, restore
from tests.bench.networks import batches

SERIES: Final = 80
IMAGES: Final = 8
"""How many series the ranges are taken from, and how many images of each."""
SEED: Final = 8


class _Samples(CalibrationDataReader):  # type: ignore[misc]
    """Hands out inputs in batches."""

    def __init__(self, inputs: NDArray[np.float32]) -> None:
        self._batches = batches(inputs)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next batch, None at the end."""
        found = next(self._batches, None)
        return None if found is None else {INPUT: found}


def int8(modality: str, data: Path, folder: Path) -> Infer:
    """Quantise the shipped network of a modality: weights by channel, activations between their extremes."""
    weights = load(SHIPPED[modality])
    single, prepared, made = (folder / f"{modality}-{step}.onnx" for step in ("single", "prepared", "int8"))
    single.write_bytes(exported(restore(SHIPPED[modality], weights)))
    quant_pre_process(str(single), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(made),
        _Samples(_trained_on(modality, data, weights.definition)),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )
    session: Any = onnxruntime.InferenceSession(str(made), providers=["CPUExecutionProvider"])

    def infer(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = session.run(None, {INPUT: batch})[0]
        return found

    return infer


def _trained_on(modality: str, data: Path, definition: Definition) -> NDArray[np.float32]:
    split, rng = read_split(), np.random.default_rng(SEED)
    rows = usable(read_manifest(data, modality), ("train",))
    rows = tuple(row for row in rows if true_subject(row.subject) in split.train)
    some = [rows[index] for index in rng.permutation(len(rows))[:SERIES]]
    inputs = []
    for case in real(data, some, modality):
        images = list(Part(case.name, case.name, (case,)).images())
        picked = rng.permutation(len(images))[:IMAGES]
        inputs += [model_input(images[index], definition) for index in picked]
    return np.stack(inputs)
