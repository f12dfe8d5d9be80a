"""A user's own folder of DICOM files with labels, read as the node would read it, for training.

Series of axial CT or MR images that the gate lets through are ordered by position. A slice has the
region of the range in which the centre of its image lies; a slice outside every range, or exactly
where two regions meet, has none. Nothing of the patient is kept: a subject is a hash.
"""

import hashlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pydicom
from numpy.typing import NDArray

from model.attributes import text
from model.frames import read_headers
from model.gate import reason
from model.geometry import centre_z_mm, order, positions_mm, step_mm
from model.read import ImageHeader, NotDicomError, UndecodableError, read_pixels
from model.regions import CLASSES
from model.standing import lengthwise
from model.training import labels as tables
from model.training.data import UNSCORED, Row, Stack
from model.training.labels import FolderError, Labels, Range
from model.training.split import SHARE, Split

__all__ = ["FolderError", "Series", "divide", "load", "scan", "training"]

SIDE: Final = 256
"""Longer side, in pixels, to which images are reduced: augmentation draws them smaller still."""
GREYS: Final = 4095.0
"""MR values are scaled to 0..GREYS, one factor a series, as the manifests' are."""


@dataclass(frozen=True)
class Series:
    """The images of one series, from feet to head, by their headers, and the region of each, if any.

    `subject` and `patient` are hashes, of what the labels or else the PatientID say, and of the
    PatientID; `source` is the folder's name.
    """

    headers: tuple[ImageHeader, ...]
    regions: tuple[str | None, ...]
    positions_mm: NDArray[np.float64]
    subject: str
    patient: str
    source: str

    @property
    def labelled(self) -> int:
        """How many of the images have a region that is trained."""
        return sum(region is not None and region not in UNSCORED for region in self.regions)


def scan(folder: Path, table: Path, modality: str) -> tuple[Series, ...]:
    """Read the headers of a folder and the labels: every series of a modality that the node would classify.

    Series without labels are among them. Raises FolderError where labels and images do not fit,
    NotADirectoryError where there is no folder.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"there is no folder {folder}")
    labels = tables.read(table)
    everything = _headers(folder)
    for uid, ranges in labels.ranges.items():
        if uid not in everything:
            raise FolderError(f"{table}: line {ranges[0].line}: there is no series {uid} in {folder}")
    found = []
    for uid, headers in everything.items():
        mine = [header for header in headers if header.modality == modality]
        usable = [header for header in mine if reason(header) is None and not lengthwise(header)]
        ranges = labels.ranges.get(uid, ())
        if ranges and mine and not usable:
            why = reason(mine[0]) or "its images lie along the body, where heights tell no region"
            raise FolderError(f"{table}: line {ranges[0].line}: series {uid} is not classified: {why}")
        if usable and uid:  # images without a UID need not belong together
            found.append(_series(usable, ranges, _persons(usable[0], labels), (folder.name, table)))
    return tuple(found)


def _headers(folder: Path) -> dict[str, list[ImageHeader]]:
    series: defaultdict[str, list[ImageHeader]] = defaultdict(list)
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        try:
            found = read_headers(path)
        except NotDicomError:
            continue
        series[found[0].series_instance_uid] += found
    return dict(series)


def _persons(header: ImageHeader, labels: Labels) -> tuple[str, str]:
    """Return the hashes of subject and patient; a series without PatientID has its study's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = pydicom.dcmread(header.path, specific_tags=["PatientID"], stop_before_pixels=True)
    patient = text(ds, "PatientID") or header.study_instance_uid
    return _hash(labels.subjects.get(header.series_instance_uid, patient)), _hash(patient)


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _series(
    headers: Sequence[ImageHeader],
    ranges: tuple[Range, ...],
    persons: tuple[str, str],
    names: tuple[str, Path],
) -> Series:
    along = positions_mm(headers)
    places = order(along)
    ordered = tuple(headers[index] for index in places)
    heights = [centre_z_mm(header) for header in ordered]
    _check(ranges, heights, ordered[0], names[1])
    regions = tuple(_region(ranges, height) for height in heights)
    return Series(ordered, regions, along[places], *persons, names[0])


def _check(ranges: tuple[Range, ...], heights: Sequence[float], header: ImageHeader, table: Path) -> None:
    for found in ranges:
        where = f"{table}: line {found.line}"
        if found.region not in CLASSES[header.modality] and found.region not in UNSCORED:
            raise FolderError(f"{where}: {found.region} is no region of {header.modality}")
        if not any(found.low_mm <= height <= found.high_mm for height in heights):
            raise FolderError(
                f"{where}: no image lies between {found.low_mm:g} and {found.high_mm:g} mm; those of the "
                f"series lie between {min(heights):g} and {max(heights):g} mm"
            )


def _region(ranges: tuple[Range, ...], height_mm: float) -> str | None:
    covering = {each.region for each in ranges if each.low_mm <= height_mm <= each.high_mm}
    return covering.pop() if len(covering) == 1 else None


def load(series: Series) -> Stack:
    """Decode a series, reduced in size and as int16; images that cannot be decoded are left out.

    Raises FolderError where that leaves none.
    """
    images, kept = [], []
    for index, header in enumerate(series.headers):
        try:
            image = read_pixels(header)
        except UndecodableError:
            continue
        air = image.values[image.valid].min()
        images.append(_reduced(np.where(image.valid, image.values, air)))
        kept.append(index)
    if not images:
        uid = series.headers[0].series_instance_uid
        raise FolderError(f"no image of series {uid} in {series.source} can be decoded")
    first = series.headers[kept[0]]
    row = _row(series, [series.regions[index] for index in kept], first.modality)
    along = series.positions_mm[kept]
    whole = step_mm(along) is not None and len({image.shape for image in images}) == 1
    return Stack(row, _integers(images, first.modality), whole, _spacing(first, images[0]), along)


def _reduced(values: NDArray[np.float32]) -> NDArray[np.float32]:
    scale = SIDE / max(values.shape)
    if scale >= 1:
        return values
    shape = tuple(max(1, round(side * scale)) for side in values.shape)
    return np.asarray(cv2.resize(values, shape[::-1], interpolation=cv2.INTER_AREA), np.float32)


def _integers(images: Sequence[NDArray[np.float32]], modality: str) -> tuple[NDArray[np.int16], ...]:
    """Return Hounsfield units as they are, MR values scaled."""
    factor = 1.0
    if modality == "MR":
        factor = GREYS / max(1e-6, *(float(np.abs(image).max()) for image in images))
    return tuple(np.clip(np.rint(image * factor), -32768, 32767).astype(np.int16) for image in images)


def _spacing(header: ImageHeader, image: NDArray[np.float32]) -> tuple[float, float] | None:
    if header.pixel_spacing_mm is None:
        return None
    down, right = header.pixel_spacing_mm
    return down * header.rows / image.shape[0], right * header.columns / image.shape[1]


def _row(series: Series, regions: Sequence[str | None], modality: str) -> Row:
    ranges, first = [], 0
    for region, run in groupby(regions):
        last = first + len(list(run)) - 1
        if region is not None:
            ranges.append((first, last, region))
        first = last + 1
    return Row(
        modality=modality,
        file=series.headers[0].series_instance_uid,
        source=series.source,
        subject=series.subject,
        plane="axial",
        ranges=tuple(ranges),
        also="",
        hounsfield=modality == "CT",
        confidence="high",
        licence="",
        use="train",
    )


def divide(found: Iterable[Series]) -> Split:
    """Split the subjects of folders by their hash: about one in five is kept for validation.

    A subject stays on its side whatever joins it later.
    """
    subjects = frozenset(series.subject for series in found)
    held_out = frozenset(name for name in subjects if int(name, 16) / 16.0 ** len(name) < SHARE)
    return Split(subjects - held_out, held_out, frozenset())


def training(found: Sequence[Series], split: Split) -> tuple[Series, ...]:
    """Return the series to train on, without those of any patient in validation.

    One patient may have a subject of its own in the labels and none in a series without labels.
    """
    kept_out = {series.patient for series in found if series.subject in split.validation and series.labelled}
    mine = [series for series in found if series.subject in split.train]
    return tuple(series for series in mine if series.labelled or series.patient not in kept_out)
