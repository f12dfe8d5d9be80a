"""Stored values -> modality values: Rescale, VOI LUT of radiographs, padding, MONOCHROME1."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_voi_lut

from model.attributes import BROKEN, numbers
from model.radiographs import MODALITIES

IMPOSSIBLE_HU: Final = -1500.0
"""Below this a CT value is padding, declared or not: air is -1000, noise takes it to about -1200.
Scanners write -2000 or -3024 outside the scan circle, often without Pixel Padding Value, and lossy
compression blurs the value so that it no longer matches."""


def modality_values(
    ds: Dataset, stored: NDArray[np.generic], modality: str, photometric: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return values (rows, columns) in modality units, bright is bright, and where they are no padding.

    The mask is all True where nothing but padding would be left.
    """
    values = rescale(ds, stored)
    valid = ~padding(ds, stored)
    if modality in MODALITIES and valid.any():
        values = shown(ds, values, valid)
    if modality == "CT":
        valid &= values > IMPOSSIBLE_HU
    if not valid.any():
        valid = np.ones_like(valid)
    if photometric == "MONOCHROME1":
        values = invert(values, valid)
    return values, valid


SATURATED: Final = 0.7
"""A window that leaves this share of the pixels black, or white, shows something else than the image."""


def shown(ds: Dataset, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a radiograph as its VOI LUT or window (PS3.3 C.11.2) would show it, linear and sigmoid alike.

    The first of several; a LUT goes before a window. What cannot be applied, or leaves nothing to see, is
    left out: files without a sensible window are common.
    """
    try:
        whole = values.astype(np.int64) if "VOILUTSequence" in ds else values
        found = np.asarray(apply_voi_lut(whole, ds), np.float32)
    except BROKEN:
        return values
    seen = found[valid]
    low, high = float(seen.min()), float(seen.max())
    blank = not np.isfinite(seen).all() or high <= low
    if blank or max(float(np.mean(seen == low)), float(np.mean(seen == high))) > SATURATED:
        return values
    return found


def padding(ds: Dataset, stored: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return where the stored values are declared padding (PS3.3 C.7.5.1.1.2).

    Writers mix up US and SS for the two attributes, so both are read by Pixel Representation.
    """
    first = _stored_number(ds, "PixelPaddingValue", stored.dtype)
    if first is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    limit = _stored_number(ds, "PixelPaddingRangeLimit", stored.dtype)
    low, high = sorted((first, first if limit is None else limit))
    values = stored.astype(np.int64)
    return np.asarray((values >= low) & (values <= high))


def _stored_number(ds: Dataset, keyword: str, dtype: np.dtype[np.generic]) -> int | None:
    """Return a number as it would look in `dtype`: 63536 is -2000 among signed 16-bit pixels."""
    found = numbers(ds, keyword, 1)
    if found is None:
        return None
    number, modulus = int(found[0]), 1 << (8 * dtype.itemsize)
    number %= modulus
    return number - modulus if dtype.kind == "i" and number >= modulus // 2 else number


def rescale(ds: Dataset, stored: NDArray[np.generic]) -> NDArray[np.float32]:
    """Apply Rescale Slope (0028,1053) and Intercept (0028,1052); a slope of 0 or nonsense counts as 1."""
    slope = numbers(ds, "RescaleSlope", 1) or (1.0,)
    intercept = numbers(ds, "RescaleIntercept", 1) or (0.0,)
    return np.asarray(stored.astype(np.float64) * (slope[0] or 1.0) + intercept[0], dtype=np.float32)


def invert(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mirror MONOCHROME1 values about the middle of the valid ones, so that bone is bright."""
    seen = values[valid]
    return np.asarray(seen.max() + seen.min() - values, dtype=np.float32)
