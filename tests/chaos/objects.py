"""Objects to send: small CT images, thousands a second, made from one template by exchanging UIDs."""

import itertools
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import uid

from tests.builders import Recipe, dataset

_ROOT: Final = "1.2.826.0.1.3680043.10.1338"
_COUNTER: Final = itertools.count(1)
_BASE: Final = 10**12
"""Added to every number, so that all UIDs are of one length and can be exchanged in the encoded bytes."""

_STUDY, _SERIES, _INSTANCE = (f"{_ROOT}.{kind}.{_BASE}" for kind in (7, 8, 9))


def series(folder: Path, count: int) -> list[Path]:
    """Write a new series of at most 1000 instances and return its files, named by SOP Instance UID."""
    number = next(_COUNTER)
    return [write(folder, number, number * 1000 + index) for index in range(count)]


def write(folder: Path, number: int, instance: int, shade: int | None = None) -> Path:
    """Write one instance of the series `number`; `shade` makes its pixels others."""
    folder.mkdir(parents=True, exist_ok=True)
    name = instance_uid(instance)
    content = _template(number % 200 if shade is None else shade)
    for old, new in (
        (_STUDY, f"{_ROOT}.7.{_BASE + number}"),
        (_SERIES, series_uid(number)),
        (_INSTANCE, name),
    ):
        content = content.replace(old.encode(), new.encode())
    path = folder / f"{name}+{number}-{shade}.dcm"
    path.write_bytes(content)
    return path


def next_number() -> int:
    """Return a number that no series has yet."""
    return next(_COUNTER)


def series_uid(number: int) -> str:
    """Return a Series Instance UID."""
    return f"{_ROOT}.8.{_BASE + number}"


def instance_uid(number: int) -> str:
    """Return a SOP Instance UID."""
    return f"{_ROOT}.9.{_BASE + number}"


@cache
def _template(shade: int) -> bytes:
    def pixels(_index: int, rows: int, columns: int) -> NDArray[np.uint16]:
        ramp = np.arange(rows * columns, dtype=np.uint16).reshape(rows, columns)
        return np.asarray(ramp + 10 * shade, np.uint16)

    recipe = Recipe(n=1, rows=48, columns=48, body_part="HAND", pixels=pixels)
    one = dataset(recipe)
    one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID = _STUDY, _SERIES, _INSTANCE
    one.file_meta.MediaStorageSOPInstanceUID = uid.UID(_INSTANCE)
    buffer = BytesIO()
    one.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
