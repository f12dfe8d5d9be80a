"""Thin slices looked at every so many mm, against every slice: accuracy on subjects not trained on.

`python -m tests.bench.thinning` prints the table. Most volumes of the data folder were thinned when they were
gathered, so each is judged with its own slices and, to have thin ones everywhere, filled up to 1 mm by linear
interpolation of the pixels: what lies in between is blurred, and the truth of a made slice is that of its
neighbours where they agree.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.classify import SHIPPED, Classifier
from model.read import Image
from model.regions import ABDOMEN_CHEST
from model.runtimes import AUTO, Engine
from model.training.cases import EVALUATION, VALIDATION, Case, part
from model.training.run import load
from model.training.split import read as read_split
from model.training.stages import SeriesOutput
from node.cli.judging import ruled
from node.settings.config import Config
from rules.thin import chosen, spread

EVERY_MM: Final = (2.0, 3.0, 4.0, 5.0, 8.0, 12.0)
STEP_MM: Final = 1.0
DATA: Final = Path("../shared/data")
RUNS: Final = Path("model/training/runs")
MODALITIES: Final = ("CT", "MR")
LEAST: Final = 3
"""Slices of a series that is thinned at all."""


@dataclass(frozen=True, eq=False)
class Judged:
    """One series with the truth of each slice (None: not scored) and what the network says of it."""

    case: Case
    truth: tuple[str | None, ...]
    output: SeriesOutput


def filled(case: Case) -> tuple[NDArray[np.float64], list[NDArray[np.float32]], tuple[str | None, ...]]:
    """Return positions, pixels and truths of a series at STEP_MM or finer."""
    assert case.positions_mm is not None
    positions, pixels, truth = [], [], []
    for index, place in enumerate(case.positions_mm):
        positions.append(float(place))
        pixels.append(case.pixels[index].astype(np.float32))
        truth.append(case.truth[index])
        if index + 1 == len(case.pixels) or case.pixels[index].shape != case.pixels[index + 1].shape:
            continue
        following = float(case.positions_mm[index + 1])
        missing = max(0, round((following - place) / STEP_MM) - 1)
        same = case.truth[index] if case.truth[index] == case.truth[index + 1] else None
        for number in range(1, missing + 1):
            share = np.float32(number / (missing + 1))
            positions.append(float(place + share * (following - place)))
            pixels.append(pixels_between(case, index, share))
            truth.append(same)
    return np.array(positions), pixels, tuple(truth)


def pixels_between(case: Case, index: int, share: np.float32) -> NDArray[np.float32]:
    """Return a slice made of the one at `index` and the next one."""
    first, second = (case.pixels[each].astype(np.float32) for each in (index, index + 1))
    return np.asarray(first * (1 - share) + second * share, np.float32)


def judged(classifier: Classifier, cases: Sequence[Case], fill: bool) -> Iterator[Judged]:
    """Ask the network for every slice of each series, once."""
    for case in cases:
        if case.positions_mm is None or len(case.pixels) < LEAST or not case.scored:
            continue
        positions, pixels, truth = case.positions_mm, list(case.pixels), case.truth
        if fill:
            positions, pixels, truth = filled(case)  # type: ignore[assignment]
        images = (_image(each, case) for each in pixels)
        said = classifier.predict(classifier.modalities[0], images)
        output = SeriesOutput(said.classes, said.probabilities, positions, said.energy, said.maximum_energy)
        yield Judged(case, truth, output)


def _image(pixels: NDArray[np.generic], case: Case) -> Image:
    values = pixels.astype(np.float32)
    return Image(values, np.ones(values.shape, np.bool_), case.spacing_mm)


def thinned(output: SeriesOutput, every_mm: float | None) -> tuple[SeriesOutput, int]:
    """Return what the node would have of a series if it looked every so many mm, and at how many slices."""
    assert output.positions_mm is not None
    assert output.energy is not None
    picked = chosen(output.positions_mm, every_mm)
    made = SeriesOutput(
        output.classes,
        spread(picked, output.probabilities[picked], output.positions_mm),
        output.positions_mm,
        spread(picked, output.energy[picked, np.newaxis], output.positions_mm)[:, 0],
        output.maximum_energy,
    )
    return (made if every_mm else output), len(picked)


def right(one: Judged, every_mm: float | None) -> tuple[NDArray[np.float64], int]:
    """Return 1 for each scored slice that is named rightly by the shipped rules, and the slices looked at."""
    output, looked_at = thinned(one.output, every_mm)
    regions = ruled(Config.standalone().rules)(output).regions
    hits = [_credit(truth, said) for truth, said in zip(one.truth, regions, strict=True) if truth]
    return np.array(hits, np.float64), looked_at


def _credit(truth: str, said: str) -> bool:
    return said in ("abdomen", "chest") if truth == ABDOMEN_CHEST else said == truth


def table(outputs: Mapping[str, Sequence[Judged]]) -> str:
    """Write what is lost by each distance, in points and slices."""
    lines = ["| every | " + " | ".join(f"{name}: slices looked at | points lost" for name in outputs) + " |"]
    lines.append("|---|" + "---:|---:|" * len(outputs))
    whole = {name: [right(one, None) for one in found] for name, found in outputs.items()}
    for every_mm in EVERY_MM:
        cells = []
        for name, found in outputs.items():
            cells.append(_cell(found, whole[name], every_mm))
        lines.append(f"| {every_mm:g} mm | {' | '.join(cells)} |")
    facts = [
        f"{name}: {sum(len(hits) for hits, _ in whole[name])} scored slices of {len(found)} series, "
        f"{len({one.case.subject for one in found})} subjects, "
        f"{100 * np.concatenate([hits for hits, _ in whole[name]]).mean():.2f} % right with every slice"
        for name, found in outputs.items()
    ]
    return "\n".join([*lines, "", "; ".join(facts) + "."])


def _cell(found: Sequence[Judged], whole: Sequence[tuple[NDArray[np.float64], int]], every_mm: float) -> str:
    thin = [right(one, every_mm) for one in found]
    lost = np.concatenate([all_of - some for (all_of, _), (some, _) in zip(whole, thin, strict=True)])
    share = sum(count for _, count in thin) / sum(count for _, count in whole)
    return f"{100 * share:.0f} % | {100 * lost.mean():.2f} ({(lost > 0).sum()} lost, {(lost < 0).sum()} won)"


@dataclass(frozen=True)
class Thinning:
    """The section of the document."""

    text: str

    def markdown(self) -> str:
        """Write it."""
        what = (
            "Slices that are named rightly by the shipped network and rules when it looks every so many mm "
            "(`classify.every_mm`), against every slice, paired; subjects and sources not trained on. No "
            "time is measured. `python -m tests.bench.thinning --help` says how volumes are brought to 1 mm."
        )
        return f"## Thin slices\n\n{what}\n\n{self.text}\n"


def thinning(data: Path = DATA) -> Thinning:
    """Judge the parts that nobody trained on; say so where the data is not there."""
    if not all((data / f"{modality.lower()}.csv").is_file() for modality in MODALITIES):
        return Thinning("The data folder is not there: not measured.")
    return Thinning("\n\n".join(f"{modality}:\n\n{_judged(data, modality)}" for modality in MODALITIES))


def _judged(data: Path, modality: str) -> str:
    classifier = Classifier.load({modality: SHIPPED[modality]}, Engine(AUTO))
    choice = load(RUNS / f"{modality.lower()}.yaml").choice
    outputs = {}
    for name in (VALIDATION, EVALUATION):
        cases = part(data, modality, name, read_split(), choice).cases
        for fill in (False, True) if name == VALIDATION else (False,):
            title = f"{name}, {'at 1 mm' if fill else 'as it is'}"
            outputs[title] = tuple(judged(classifier, cases, fill))
    return table(outputs)


def main() -> None:
    """Print the section."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.thinning", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    print(thinning(parser.parse_args().data).markdown())


if __name__ == "__main__":
    main()
