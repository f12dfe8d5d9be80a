"""Uncompressed 16-bit pixels straight from the file: most images, at a third of a data set's cost.

Only what leaves no doubt is read so; the rest goes the long way round (model/read.py), with the same values.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset

from model.attributes import numbers
from model.values import Scale

SYNTAXES: Final = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian)
_GREY: Final = ("MONOCHROME1", "MONOCHROME2")
KEYWORDS: Final = ("RescaleSlope", "RescaleIntercept", "PixelPaddingValue", "PixelPaddingRangeLimit")
"""What a header has to be asked for besides what describes the image."""


@dataclass(frozen=True)
class Plain:
    """Where the pixels of an image lie in its file and how they are read."""

    offset: int
    signed: bool
    bits_stored: int
    scale: Scale


def plain(
    ds: Dataset, shape: tuple[int, int], bits: tuple[int, int], offset: int, length: int
) -> Plain | None:
    """Return how to read the one grey frame of a parsed data set; None where pydicom shall say.

    `shape` is (rows, columns), `bits` (allocated, stored), `offset` and `length` are those of the pixel data.
    """
    allocated, stored = bits
    if not offset or allocated != 16 or not 1 <= stored <= 16 or length < 2 * shape[0] * shape[1]:
        return None
    one = "NumberOfFrames" not in ds or numbers(ds, "NumberOfFrames", 1) == (1.0,)
    signed = numbers(ds, "PixelRepresentation", 1)
    grey = ds.get("PhotometricInterpretation") in _GREY and numbers(ds, "SamplesPerPixel", 1) == (1.0,)
    if not one or not grey or signed not in ((0.0,), (1.0,)):
        return None
    return Plain(offset, signed == (1.0,), stored, Scale.of(ds))


def stored_values(path: Path, how: Plain, rows: int, columns: int) -> NDArray[np.int16 | np.uint16]:
    """Return the stored values (rows, columns), unused high bits left out (PS3.5 8.1.1).

    Raises OSError where the file cannot be read, ValueError where it became shorter.
    """
    raw = np.fromfile(path, np.dtype("<i2" if how.signed else "<u2"), rows * columns, offset=how.offset)
    values = raw.reshape(rows, columns)
    unused = 16 - how.bits_stored
    return (values << unused) >> unused if unused else values
