"""Corrections as labels for training: the CSV file that `bodytag train` reads, in mm of the patient.

The columns are those of model/training/labels.py: `series_uid,region,from_mm,to_mm`. Left out is what
training could not use: regions that the modality's network does not have, corrections without millimetres,
and a Series Instance UID that a second study has, too.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import IO, Final

from sqlalchemy.orm import Session

from db.corrections import Label, labels
from model.regions import CLASSES

COLUMNS: Final = ("series_uid", "region", "from_mm", "to_mm")


@dataclass(frozen=True, slots=True)
class Written:
    """How many series and ranges were written, and how many ranges were left out."""

    series: int
    ranges: int
    left_out: int


def lines(session: Session, carried: bool = True) -> Iterator[tuple[Label, bool]]:
    """Yield the labels and whether training can use each; without `carried` those by hand alone."""
    seen: set[str] = set()
    wanted = (each for each in labels(session) if carried or not each.carried)
    for uid, ranges in groupby(wanted, key=lambda each: each.series_instance_uid):
        usable = uid not in seen
        seen.add(uid)
        for each in ranges:
            yield each, usable and each.region in CLASSES.get(each.modality, ())


def write(session: Session, out: IO[str], carried: bool = True) -> Written:
    """Write the file of labels; numbers as they are kept, so that an image on a border stays there."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    series: set[str] = set()
    ranges = left_out = 0
    for each, usable in lines(session, carried):
        if not usable:
            left_out += 1
            continue
        writer.writerow((each.series_instance_uid, each.region, repr(each.low_mm), repr(each.high_mm)))
        series.add(each.series_instance_uid)
        ranges += 1
    return Written(len(series), ranges, left_out)
