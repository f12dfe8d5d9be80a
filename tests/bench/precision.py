"""What bfloat16 costs: the slices that the shipped networks name rightly, beside single precision.

`python -m tests.bench --only precision` writes the section.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.classify import SHIPPED, Classifier
from model.prediction import Prediction
from model.runtimes import BFLOAT16, OPENVINO, SINGLE, Engine, Precision, missing
from model.training.cases import EVALUATION, VALIDATION, Part, part
from model.training.evaluate import outcome
from model.training.sampler import Choice
from model.training.split import read as read_split
from model.training.stages import NETWORK, SeriesOutput, Stage
from node.cli.judging import ruled
from node.settings.config import Config
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
            "by OpenVINO in single precision and in bfloat16 (`classify.precision`), the same images. *Right "
            "in one alone* counts slices after the rules, *moved* is the largest change of a probability. No "
            "time is measured here; the tables of the networks have it."
        )
        return f"## Precision\n\n{what}\n\n{self.text}\n"


def precision(data: Path = DATA) -> Precise:
    """Judge every part by both; say so where data, runtime or processor lack something."""
    if not (data / "ct.csv").is_file() or missing(OPENVINO):
        return Precise("The data folder or OpenVINO is not there: not measured.")
    heads = ["", "slices", "network: single %", "bfloat16 %", "rules: single %", "bfloat16 %",
             "right in one alone", "moved"]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    lines += [f"| {' | '.join(row)} |" for modality in MODALITIES for row in _rows(data, modality)]
    return Precise("\n".join(lines))


def _rows(data: Path, modality: str) -> Iterator[Sequence[str]]:
    loaded = [_loaded(modality, precise) for precise in (SINGLE, BFLOAT16)]
    assert loaded[1].runtime(modality).endswith(BFLOAT16), "this processor has no bfloat16"
    for name in (VALIDATION, EVALUATION):
        one = part(data, modality, name, read_split(), Choice())
        said = [each.predict(modality, one.images()) for each in loaded]
        rights = [[_right(modality, one, each, stage) for each in said] for stage in (NETWORK, _RULED)]
        moved = float(np.abs(said[0].probabilities - said[1].probabilities).max())
        otherwise = int((rights[1][0] != rights[1][1]).sum())
        shares = [f"{100 * right.mean():.2f}" for pair in rights for right in pair]
        yield [f"{modality}, {name}", str(len(rights[0][0])), *shares, str(otherwise), f"{moved:.3f}"]


def _loaded(modality: str, precise: Precision) -> Classifier:
    return Classifier.load({modality: SHIPPED[modality]}, Engine(OPENVINO, precision=precise))


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
