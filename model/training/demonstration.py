"""The sample DICOM series, and what regions are expected of them.

Their subjects are in no training part of the split. Expected regions come from the samples' manifest,
by slice where it gives ranges (in order of position, from the feet), for the whole series otherwise.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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

    @property
    def anywhere(self) -> frozenset[str]:
        """The regions that are right for some slice."""
        return self.everywhere.union(*(regions for _, _, regions in self.ranges))


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
