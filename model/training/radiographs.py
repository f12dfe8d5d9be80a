"""The radiographs of the training data: their manifest, their labels, who of them is kept for validation.

One image a row of `xr.csv`. A fifth of the subjects of each source, by a digest of their name, is kept for
validation; most sources do not tell their subjects apart, then each image counts as a subject.
"""

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.radiographs import PART_KEYS

MANIFEST: Final = "xr.csv"
MODALITY: Final = "XR"
SHARE: Final = 5
"""One of so many subjects is kept for validation."""

PART_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "skull": ("skull",), "cervical": ("cspine",), "thoracic": ("tspine",), "thoracolumbar": ("tlspine",),
    "lumbar": ("lspine",), "whole_spine": ("spine",), "chest": ("chest",), "abdomen": ("abdomen",),
    "chest_abdomen": ("abdomen", "chest"), "pelvis_hip": ("pelvis",), "femur": ("thigh",), "knee": ("knee",),
    "leg": ("calf",), "ankle": ("ankle",), "foot": ("foot",), "shoulder": ("shoulder",),
    "clavicle": ("shoulder",), "humerus": ("arm",), "elbow": ("elbow",), "forearm": ("forearm",),
    "wrist": ("wrist",), "hand": ("hand",), "finger": ("hand",), "hand_wrist": ("hand", "wrist"), "misc": (),
}  # fmt: skip
"""The manifest's parts; the second name is another that a reader could as well give."""


SCOLIOSIS: Final = frozenset({"aasce_cadma", "rfspine_image"})
"""Sources whose films of the whole spine go from the first thoracic vertebra to the last lumbar ones."""


@dataclass(frozen=True)
class Radiograph:
    """One row: `part` is None where it is none of PART_KEYS, `also` a second part that is right, or ""."""

    file: str
    source: str
    subject: str
    group: str
    part: str | None
    also: str
    confidence: str
    licence: str

    @cached_property
    def validation(self) -> bool:
        """Whether the subject is kept for validation."""
        return int(hashlib.sha256(f"{self.source}/{self.subject}".encode()).hexdigest(), 16) % SHARE == 0

    @property
    def scored(self) -> bool:
        """Whether the label is sure enough to judge by."""
        return self.confidence != "low"

    def pixels(self, data: Path) -> NDArray[np.uint8]:
        """Return the image, uint8 (rows, columns); raises FileNotFoundError where it cannot be read."""
        image = cv2.imread(str(data / self.file), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise FileNotFoundError(f"no readable image at {data / self.file}")
        return np.asarray(image, np.uint8)


def read(data: Path) -> tuple[Radiograph, ...]:
    """Return all rows that may be used; FileNotFoundError where there is no manifest."""
    path = data / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"no manifest at {path}; give the data folder with --data")
    with path.open(newline="", encoding="utf-8") as lines:
        return tuple(_row(line) for line in csv.DictReader(lines) if line["use"] == "train")


def _row(line: dict[str, str]) -> Radiograph:
    parts = PART_NAMES.get(line["part"], ())
    if parts == ("spine",) and line["source"] in SCOLIOSIS:
        parts = ("spine", "tlspine")
    return Radiograph(
        line["file"], line["source"], line["subject"], line["group"],
        parts[0] if parts else None, parts[1] if len(parts) > 1 else "",
        line["confidence"], line["licence"],
    )  # fmt: skip


def training(rows: Iterable[Radiograph], without: Iterable[str]) -> tuple[Radiograph, ...]:
    """Return the rows that train: no subject of the validation, no source left out."""
    left_out = frozenset(without)
    return tuple(row for row in rows if not row.validation and row.source not in left_out)


def validation(rows: Iterable[Radiograph], without: Iterable[str] = ()) -> tuple[Radiograph, ...]:
    """Return the rows of validation: other subjects of the sources that train."""
    left_out = frozenset(without)
    return tuple(row for row in rows if row.validation and row.scored and row.source not in left_out)


def known_part(row: Radiograph) -> bool:
    """Whether the second head is taught and judged on a row."""
    return row.part in PART_KEYS
