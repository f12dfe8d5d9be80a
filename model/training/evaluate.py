"""Scores shipped weights end to end: the Classifier of the node, on sources and subjects never trained on.

    python -m model.training.evaluate --modality CT

`evaluation` are whole sources held out (`use=eval`), `validation` subjects of the training sources.
The temperature is fitted on the validation subjects alone. Writes the figures into the card of the
weights and the tables into MODEL_CARD.md. `--compare earlier.npz` scores other weights beside them, on
the same slices, and writes the paired differences.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from model.classify import SHIPPED, Classifier
from model.read import Image
from model.regions import CLASSES
from model.training import compare, demonstration, provenance, report, split
from model.training.data import DATA, Sample
from model.training.metrics import Outcome, Scored, figures, fit_temperature
from model.training.sampler import part_samples
from model.weights_file import read_card, write_card

PARTS = ("evaluation", "validation")


def images(samples: Sequence[Sample]) -> Iterator[Image]:
    """Yield each sample as the node would read it, with its spacing where that is known; none is padding."""
    for sample in samples:
        values = sample.values()
        yield Image(values, np.ones(values.shape, np.bool_), sample.stack.spacing_mm)


def outcome(classifier: Classifier, modality: str, samples: Sequence[Sample]) -> Outcome:
    """Predict all samples and put truth and subjects beside the probabilities."""
    prediction = classifier.predict(modality, images(samples))
    truth, subjects = tuple(s.label for s in samples), tuple(s.subject for s in samples)
    return Outcome(prediction.classes, truth, subjects, prediction.probabilities)


def score(part: str, found: Outcome, samples: Sequence[Sample]) -> Scored:
    """Return the figures of one part."""
    named = [found.classes[index] for index in found.predicted]
    either = [name in (s.label, s.stack.row.also) for name, s in zip(named, samples, strict=True)]
    people: dict[str, set[str]] = {}
    slices: dict[str, int] = {}
    for sample in samples:
        source = sample.stack.row.source
        people.setdefault(source, set()).add(sample.subject)
        slices[source] = slices.get(source, 0) + 1
    sources = {source: (slices[source], len(people[source])) for source in sorted(slices)}
    return Scored(part, figures(found), float(np.mean(either)), sources)


def compared(modality: str, earlier: Path, path: Path, data: Path) -> str:
    """Return the table of differences between two weights on both parts."""
    before, after = Classifier.load({modality: earlier}), Classifier.load({modality: path})
    rows = {}
    for part in PARTS:
        samples = part_samples(data, modality, CLASSES[modality], split.read(), part)
        old, new = (outcome(one, modality, samples) for one in (before, after))
        rows[part] = compare.differences(old, new)
    return compare.table(rows)


def calibrate(path: Path, found: Outcome) -> float:
    """Fit the temperature on an outcome of the validation part, write it into the card, return it."""
    card = read_card(path)
    # probabilities were divided by the card's present temperature; their logarithms undo the softmax
    logits = np.log(np.maximum(found.probabilities.astype(np.float64), 1e-30)) * float(card["temperature"])
    temperature = round(fit_temperature(logits, found.true_indices, found.subjects), 4)
    write_card(path, {**card, "temperature": temperature})
    return temperature


def evaluate(modality: str, path: Path, data: Path) -> tuple[Scored, ...]:
    """Calibrate the weights at `path` and score both parts; writes the figures into their card."""
    divided = split.read()
    parts = {part: part_samples(data, modality, CLASSES[modality], divided, part) for part in PARTS}
    uncalibrated = Classifier.load({modality: path})
    temperature = calibrate(path, outcome(uncalibrated, modality, parts["validation"]))
    classifier = Classifier.load({modality: path})
    start = time.perf_counter()
    found = {part: outcome(classifier, modality, samples) for part, samples in parts.items()}
    each_ms = 1000 * (time.perf_counter() - start) / max(1, sum(map(len, parts.values())))
    scored = tuple(score(part, found[part], parts[part]) for part in PARTS)
    card = read_card(path)
    origins = provenance.plain(provenance.all_origins(data, modality, divided))
    found_figures = {one.part: report.plain(one.figures) for one in scored}
    write_card(path, {**card, "data": origins, "figures": found_figures})
    print(f"{modality}: temperature {temperature}, {each_ms:.1f} ms an image")
    return scored


def main() -> None:
    """Evaluate as the command line says, and bring MODEL_CARD.md up to date for shipped weights."""
    parser = argparse.ArgumentParser(description="score the CT or the MR model")
    parser.add_argument("--modality", choices=sorted(CLASSES), required=True)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--weights", type=Path, help="the shipped weights unless given")
    parser.add_argument(
        "--card", type=Path, help="the model card to write; MODEL_CARD.md for shipped weights"
    )
    parser.add_argument("--compare", type=Path, help="earlier weights to compare with, slice by slice")
    chosen = parser.parse_args()
    path = chosen.weights or SHIPPED[chosen.modality]
    scored = evaluate(chosen.modality, path, chosen.data)
    shown = demonstration.table(chosen.modality, Classifier.load({chosen.modality: path}), chosen.data)
    text = report.tables(chosen.modality, scored) + "\n\n" + shown
    card = chosen.card or (report.MODEL_CARD if chosen.weights is None else None)
    if card is not None:
        report.insert(card, f"{chosen.modality} figures", text)
        origins = provenance.all_origins(chosen.data, chosen.modality, split.read())
        report.insert(card, f"{chosen.modality} data", provenance.table(origins))
    print(text)
    if chosen.compare is not None:
        changes = compared(chosen.modality, chosen.compare, path, chosen.data)
        if card is not None:
            report.insert(card, f"{chosen.modality} comparison", changes)
        print(changes)


if __name__ == "__main__":
    main()
