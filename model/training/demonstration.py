"""The end of the line: the sample DICOM series through header, gate, decoder and classifier.

Their subjects are in no training part of the split. A series is read as the node reads it; expected
regions come from the samples' manifest, by slice where it gives ranges (in order of position, from
the feet), for the whole series otherwise.
"""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model.classify import Classifier
from model.gate import reason
from model.geometry import positions_mm
from model.read import ImageHeader, read_header, read_pixels
from model.regions import CLASSES

WORDS: Final = {"lumbar spine": "lspine", "abdomen-chest": "abdomen_chest"}
"""Free text of the samples' manifests that is not a region's key with something behind it."""


@dataclass(frozen=True)
class Series:
    """One sample: its folder and the regions expected of each slice, empty where nothing is scored.

    Several regions mean that any of them is right. `everywhere` holds for all slices where the
    manifest gives no ranges.
    """

    folder: Path
    ranges: tuple[tuple[int, int, frozenset[str]], ...]
    everywhere: frozenset[str] = frozenset()

    def expected(self, index: int) -> frozenset[str]:
        """Return the regions that are right for slice `index`, counted from the feet."""
        for first, last, regions in self.ranges:
            if first <= index <= last:
                return regions
        return self.everywhere


@dataclass(frozen=True)
class Shown:
    """What became of one series: images classified, scored, right, the regions found, why others passed."""

    folder: str
    classified: int
    scored: int
    right: int
    found: dict[str, int]
    passed: dict[str, int]


def regions_of(text: str, modality: str) -> frozenset[str]:
    """Return the regions that a manifest's free text names, none for a transition."""
    if "transition" in text:
        return frozenset()
    named = (part.strip() for part in text.split("(")[0].replace("+", "/").split("/"))
    known = {WORDS.get(name, name) for name in named}
    return frozenset(known.intersection(CLASSES[modality]))


def series(data: Path, modality: str) -> tuple[Series, ...]:
    """Read the samples' manifest of one modality."""
    folder = data / "dicom" / modality.lower()
    found = []
    with folder.with_suffix(".csv").open(newline="", encoding="utf-8") as lines:
        for line in csv.DictReader(lines):
            if "labels" in line:
                plain = json.loads(line["labels"])
                ranges = tuple((int(a), int(b), regions_of(str(text), modality)) for a, b, text in plain)
                found.append(Series(data / "dicom" / line["folder"], ranges))
            else:
                found.append(Series(folder / line["dir"], (), regions_of(line["region"], modality)))
    return tuple(found)


def show(classifier: Classifier, modality: str, sample: Series) -> Shown:
    """Classify what the gate lets through and compare it with what is expected."""
    headers = [read_header(path) for path in sorted(sample.folder.rglob("*")) if path.is_file()]
    reasons = [reason(header) for header in headers]
    passed = Counter(why for why in reasons if why is not None)
    ordered = _from_the_feet([h for h, why in zip(headers, reasons, strict=True) if why is None])
    prediction = classifier.predict(modality, (read_pixels(header) for header in ordered))
    names = [prediction.classes[index] for index in prediction.probabilities.argmax(axis=1)]
    wanted = [sample.expected(index) for index in range(len(names))]
    scored = [(name, want) for name, want in zip(names, wanted, strict=True) if want]
    right = sum(name in want for name, want in scored)
    return Shown(sample.folder.name, len(names), len(scored), right, dict(Counter(names)), dict(passed))


def _from_the_feet(headers: Sequence[ImageHeader]) -> list[ImageHeader]:
    if not headers:
        return []
    positions = positions_mm(headers)
    return [headers[index] for index in positions.argsort(kind="stable")]


def table(modality: str, classifier: Classifier, data: Path) -> str:
    """Return the Markdown table of all sample series of a modality."""
    lines = ["| series | images classified | right of scored | found | passed on |", "|---|---|---|---|---|"]
    for sample in series(data, modality):
        shown = show(classifier, modality, sample)
        score = f"{shown.right} of {shown.scored}" if shown.scored else "-"
        found, passed = _counted(shown.found), _counted(shown.passed)
        lines.append(f"| {shown.folder} | {shown.classified} | {score} | {found} | {passed} |")
    return f"#### {modality}. End of the line: sample DICOM series, before any rule\n\n" + "\n".join(lines)


def _counted(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {n}" for name, n in ordered) or "-"
