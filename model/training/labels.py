"""The CSV of labels of a user's own DICOM folder: which region lies where in a series, in patient mm.

Columns `series_uid,region,from_mm,to_mm` and, optionally, `subject`. The millimetres are those of the
patient coordinate system (PS3.3 C.7.6.2.1.1) along its z axis, which grows towards the head: the third
value of Image Position (Patient), negative as often as not. A range holds from its lower to its upper
end; which is written first does not matter.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model.regions import MR_CLASSES
from model.training.data import UNSCORED

COLUMNS: Final = ("series_uid", "region", "from_mm", "to_mm")
KEYS: Final = frozenset(MR_CLASSES) | UNSCORED


class FolderError(ValueError):
    """A folder or its labels cannot be used; the message is one sentence with the file and the line."""


@dataclass(frozen=True)
class Range:
    """One line of the file: a region from `low_mm` to `high_mm` along z, and the line's number."""

    region: str
    low_mm: float
    high_mm: float
    line: int


@dataclass(frozen=True)
class Labels:
    """The ranges of each series by Series Instance UID, without contradictions, and its subject if given."""

    ranges: Mapping[str, tuple[Range, ...]]
    subjects: Mapping[str, str]


def read(path: Path) -> Labels:
    """Read a file of labels. Raises FolderError with the line, FileNotFoundError where there is none."""
    if not path.is_file():
        raise FileNotFoundError(f"there are no labels at {path}")
    ranges: defaultdict[str, list[Range]] = defaultdict(list)
    subjects: dict[str, str] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise FolderError(f"{path}: the first line must name the column {missing[0]}")
            for plain in reader:
                where = f"{path}: line {reader.line_num}"
                uid, found = _line(plain, reader.line_num, where)
                _add(found, ranges[uid], where)
                _name(subjects, uid, (plain.get("subject") or "").strip(), where)
    except (csv.Error, UnicodeDecodeError) as error:
        raise FolderError(f"{path}: is no CSV file in UTF-8: {error}") from error
    return Labels({uid: tuple(found) for uid, found in ranges.items()}, subjects)


def _line(plain: Mapping[str, str | None], number: int, where: str) -> tuple[str, Range]:
    uid, region, first, last = ((plain.get(name) or "").strip() for name in COLUMNS)
    if not uid:
        raise FolderError(f"{where}: series_uid is empty")
    if region not in KEYS:
        raise FolderError(f"{where}: there is no region '{region}'; there are {', '.join(sorted(KEYS))}")
    low, high = sorted((_millimetres(first, "from_mm", where), _millimetres(last, "to_mm", where)))
    return uid, Range(region, low, high, number)


def _millimetres(text: str, column: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FolderError(f"{where}: {column} must be a number of millimetres, not '{text}'")
    return value


def _add(found: Range, others: list[Range], where: str) -> None:
    """Append a range; two regions may touch, but not overlap."""
    for other in others:
        overlap = min(found.high_mm, other.high_mm) - max(found.low_mm, other.low_mm)
        if other.region != found.region and overlap > 0:
            raise FolderError(
                f"{where}: {found.region} overlaps {other.region} of line {other.line} by {overlap:g} mm"
            )
    others.append(found)


def _name(subjects: dict[str, str], uid: str, name: str, where: str) -> None:
    if name and subjects.setdefault(uid, name) != name:
        raise FolderError(f"{where}: series {uid} has the subject {subjects[uid]} in an earlier line")
