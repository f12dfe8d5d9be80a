"""The manifests of the training data, and the images they describe.

A row is a volume, a glob of images or one image; `labels` gives inclusive ranges of slices. A slice
outside every range has no label and is not used; boundary ranges are not scored.
"""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

DATA: Final = Path("../shared/data")
"""Where the data lies, relative to the repository's root; every command takes `--data`."""

BORDER_MM: Final = 20.0
"""How near another region must be for a slice to count as lying at a border."""

UNSCORED: Final = frozenset({"head_neck_boundary", "calf_foot_boundary"})
AXIAL: Final = ("axial", "mixed", "oblique")
"""Planes across the body; `mixed` are sets whose single planes are not known."""
UPRIGHT: Final = ("sagittal", "coronal")
"""Planes along the body, which the MR model sees as well."""


@dataclass(frozen=True)
class Row:
    """One line of a manifest. `ranges` are (first, last, region) with inclusive slice indices."""

    modality: str
    file: str
    source: str
    subject: str
    plane: str
    ranges: tuple[tuple[int, int, str], ...]
    also: str
    hounsfield: bool
    confidence: str
    licence: str
    use: str
    contrast: str = ""
    sequence: str = ""

    @property
    def axial(self) -> bool:
        """Whether the plane lies across the body: axial, or up to 45 degrees off."""
        return self.plane.startswith(AXIAL)

    @property
    def upright(self) -> bool:
        """Whether the plane lies along the body: sagittal or coronal."""
        return self.plane.startswith(UPRIGHT)

    def label(self, index: int) -> str | None:
        """Return the region of slice `index`, None for a transition or an unscored boundary."""
        for first, last, region in self.ranges:
            if first <= index <= last:
                return None if region in UNSCORED else region
        return None


@dataclass(frozen=True)
class Stack:
    """The images of a row, each (rows, columns); neighbours are neighbours in the body if `volume`.

    `spacing_mm` is that of rows and columns, `positions_mm` the height of each image along the body
    (float64, one for each image); None where the source does not tell.
    """

    row: Row
    images: tuple[NDArray[np.generic], ...]
    volume: bool
    spacing_mm: tuple[float, float] | None = None
    positions_mm: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Sample:
    """One labelled slice of a stack; `beside` is the region that begins nearby, and how near, 0..1."""

    stack: Stack
    index: int
    label: str
    beside: tuple[str, float] | None = None

    @property
    def subject(self) -> str:
        """The true subject, alike in every source that holds it."""
        return true_subject(self.stack.row.subject)

    def values(self) -> NDArray[np.float32]:
        """Return the image as float32 (rows, columns)."""
        return self.stack.images[self.index].astype(np.float32)


SAME: Final = {"VHF": "VisibleHumanFemale"}
"""One body under two names: the head of the Visible Human Female came from another repository."""


def true_subject(name: str) -> str:
    """Return one name per person: manifests prefix it by the repository, and one person has two names."""
    last = name if name.startswith("unknown") or name.endswith("/unknown") else name.rsplit("/", 1)[-1]
    return SAME.get(last, last)


def read_manifest(data: Path, modality: str) -> tuple[Row, ...]:
    """Return all rows of a modality's manifest. Raises FileNotFoundError with the path where it is absent."""
    path = data / f"{modality.lower()}.csv"
    if not path.is_file():
        raise FileNotFoundError(f"no manifest at {path}; give the data folder with --data")
    with path.open(newline="", encoding="utf-8") as lines:
        return tuple(_row(modality, line) for line in csv.DictReader(lines))


def _row(modality: str, line: dict[str, str]) -> Row:
    ranges = tuple((int(first), int(last), str(key)) for first, last, key in json.loads(line["labels"]))
    return Row(
        modality=modality,
        file=line["file"],
        source=line["source"],
        subject=line["subject"],
        plane=line["plane"],
        ranges=ranges,
        also=(line.get("also") or "").strip(),
        hounsfield=(line.get("hounsfield") or "").startswith("yes"),
        confidence=line["confidence"],
        licence=line["licence"],
        use=line["use"],
        contrast=(line.get("contrast") or "").strip(),
        sequence=(line.get("sequence") or "").strip(),
    )


def load(data: Path, row: Row) -> Stack:
    """Read a row's images. Raises FileNotFoundError where the manifest names what is not there."""
    if row.file.endswith(".npz"):
        with np.load(data / row.file, allow_pickle=False) as arrays:
            key = next(key for key in ("hu", "u8", "vol", "img") if key in arrays.files)
            volume = arrays[key]
            spacing = arrays["spacing"] if "spacing" in arrays.files else None
            heights = np.asarray(arrays["z_mm"], np.float64) if "z_mm" in arrays.files else None
        if spacing is None:
            return Stack(row, tuple(volume), volume=key != "img")
        if heights is None:
            heights = np.arange(len(volume), dtype=np.float64) * float(spacing[0])
        return Stack(row, tuple(volume), True, (float(spacing[1]), float(spacing[2])), heights)
    images = tuple(_grey(path) for path in files(data, row))
    if not images:
        raise FileNotFoundError(f"no file matches {data / row.file}")
    return Stack(row, images, volume=False)


def files(data: Path, row: Row) -> list[Path]:
    """Return the files of a row, in the order of its images."""
    return sorted(data.glob(row.file)) if "*" in row.file else [data / row.file]


def _grey(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise FileNotFoundError(f"no readable image at {path}")
    return np.asarray(image, np.uint8)


def samples(stacks: Iterable[Stack], classes: tuple[str, ...]) -> tuple[Sample, ...]:
    """Return every labelled slice whose region is one of `classes`."""
    found = []
    for stack in stacks:
        labels = [stack.row.label(index) for index in range(len(stack.images))]
        for index, label in enumerate(labels):
            if label is not None and label in classes:
                found.append(Sample(stack, index, label, _beside(stack, labels, index)))
    return tuple(found)


def _beside(stack: Stack, labels: list[str | None], index: int) -> tuple[str, float] | None:
    """Return the nearest other region within BORDER_MM of a slice, and how near it is, 1 at no distance."""
    if stack.positions_mm is None or len(set(labels)) < 2:
        return None
    away = np.abs(stack.positions_mm - stack.positions_mm[index])
    near = [(float(away[i]), label) for i, label in enumerate(labels)
            if label not in (None, labels[index]) and away[i] < BORDER_MM]  # fmt: skip
    if not near:
        return None
    distance, label = min(near)
    return str(label), 1.0 - distance / BORDER_MM


def usable(rows: Iterable[Row], uses: Iterable[str], upright: bool = False) -> tuple[Row, ...]:
    """Return the rows of these uses, axial or `upright`, without the labels that the manifest calls low."""
    wanted = frozenset(uses)
    known = (row for row in rows if row.use in wanted and row.confidence != "low")
    return tuple(row for row in known if (row.upright if upright else row.axial))
