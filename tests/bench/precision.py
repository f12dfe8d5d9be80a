"""What fewer bits cost: the slices that the shipped networks name rightly, beside single precision.

`python -m tests.bench --only precision` prints the section.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.classify import BATCH, SHIPPED, model_input, predicted
from model.prediction import Prediction
from model.runtimes import BFLOAT16, ONNXRUNTIME, OPENVINO, Engine, Infer, Precision, compiled, missing
from model.training.cases import EVALUATION, VALIDATION, Part, part
from model.training.evaluate import outcome
from model.training.sampler import Choice
from model.training.split import read as read_split
from model.training.stages import NETWORK, SeriesOutput, Stage
from model.weights_file import Weights, load
from node.cli.judging import ruled
from node.settings.config import Config
from tests.bench.int8 import int8
from tests.bench.networks import batches
from tests.bench.thinning import DATA

MODALITIES: Final = ("CT", "MR")
_RULED: Final = Stage("shipped", "rules as shipped", ruled(Config.standalone().rules), resolves=True)


@dataclass(frozen=True)
class Precise:
    """The section of the document."""

    text: str

    def markdown(self) -> str:
        """Write it."""
        what = (
            "Slices of subjects that were never trained on, named rightly by the shipped networks and rules, "
            "the same images each time: by OpenVINO in single precision and in bfloat16 "
            "(`classify.precision`), and by ONNX Runtime in 8 bits, which the node does not offer (static "
            "quantisation, its ranges from 80 series that were trained on; tests/bench/int8.py). *Otherwise* "
            "counts slices that after the rules are right in single precision and not so, or the other way "
            "round; *moved* is the largest change of a probability. CPU time is that of the network alone."
        )
        return f"## Precision\n\n{what}\n\n{self.text}\n"


def precision(data: Path = DATA) -> Precise:
    """Judge every part by each; say so where data, runtime or processor lack something."""
    if not (data / "ct.csv").is_file() or missing(OPENVINO) or missing(ONNXRUNTIME):
        return Precise("The data folder or a runtime is not there: not measured.")
    heads = ["", "slices", "", "network %", "rules %", "otherwise", "moved", "CPU ms/image"]
    lines = [f"| {' | '.join(heads)} |", "|---|---:|---|---:|---:|---:|---:|---:|"]
    with TemporaryDirectory() as folder:
        for modality in MODALITIES:
            lines += [f"| {' | '.join(row)} |" for row in _rows(data, modality, Path(folder))]
    return Precise("\n".join(lines))


def _rows(data: Path, modality: str, folder: Path) -> Iterator[Sequence[str]]:
    weights = load(SHIPPED[modality])
    ways = {
        "single": _openvino(modality, weights, "single"),
        "bfloat16": _openvino(modality, weights, "bfloat16"),
        "int8": int8(modality, data, folder),
    }
    for name in (VALIDATION, EVALUATION):
        one = part(data, modality, name, read_split(), Choice())
        inputs = np.stack([model_input(image, weights.definition) for image in one.images()])
        before: tuple[Prediction, NDArray[np.bool_]] | None = None
        for way, infer in ways.items():
            said, spent_ms = _asked(infer, inputs, weights)
            network, ruled_right = (_right(modality, one, said, stage) for stage in (NETWORK, _RULED))
            single, single_right = before = before or (said, ruled_right)
            moved = float(np.abs(single.probabilities - said.probabilities).max())
            shares = [f"{100 * right.mean():.2f}" for right in (network, ruled_right)]
            otherwise = str(int((single_right != ruled_right).sum()))
            about = (f"{modality}, {name}", str(len(network))) if way == "single" else ("", "")
            yield [*about, way, *shares, otherwise, f"{moved:.3f}", f"{spent_ms:.2f}"]


def _asked(infer: Infer, inputs: NDArray[np.float32], weights: Weights) -> tuple[Prediction, float]:
    """Return what a network says of inputs, and its CPU milliseconds for each."""
    begun = time.process_time()
    logits = np.concatenate([infer(batch) for batch in batches(inputs)])
    return predicted(logits, weights), 1000 * (time.process_time() - begun) / len(inputs)


def _openvino(modality: str, weights: Weights, precise: Precision) -> Infer:
    made = compiled(SHIPPED[modality], weights, BATCH, Engine(OPENVINO, precision=precise))
    assert made.runtime.endswith(BFLOAT16) == (precise == BFLOAT16), "this processor has no bfloat16"
    return made.infer


def _right(modality: str, one: Part, said: Prediction, stage: Stage) -> NDArray[np.bool_]:
    """Return for each scored image whether a stage names it rightly."""
    ends = np.cumsum([len(case.pixels) for case in one.cases])[:-1]
    assert said.energy is not None
    pieces = zip(one.cases, np.split(said.probabilities, ends), np.split(said.energy, ends), strict=True)
    decided = [
        stage.decide(
            SeriesOutput(said.classes, table, case.positions_mm, energy, said.maximum_energy, case.lengthwise)
        )
        for case, table, energy in pieces
    ]
    return outcome(modality, one.cases, decided, stage).right
