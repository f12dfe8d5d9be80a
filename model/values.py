"""Stored values -> modality values: Rescale, VOI LUT of radiographs, padding, MONOCHROME1."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Scale:
    """Rescale Slope and Intercept, a slope of 0 or nonsense as 1; and Pixel Padding, None without it."""

    slope: float = 1.0
    intercept: float = 0.0
    padding_value: int | None = None
    padding_limit: int | None = None

    @classmethod
    def of(cls, ds: Dataset) -> "Scale":
        """Read them from a data set."""
        slope = numbers(ds, "RescaleSlope", 1) or (1.0,)
        intercept = numbers(ds, "RescaleIntercept", 1) or (0.0,)
        first, limit = (numbers(ds, name, 1) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
        return cls(
            slope[0] or 1.0,
            intercept[0],
            None if first is None else int(first[0]),
            None if limit is None else int(limit[0]),
        )


def modality_values(
    ds: Dataset, stored: NDArray[np.generic], modality: str, photometric: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return values (rows, columns) in modality units, bright is bright, and where they are no padding.

    The mask is all True where nothing but padding would be left.
    """
    scale = Scale.of(ds)
    values, valid = rescale(scale, stored), ~padding(scale, stored)
    if modality in MODALITIES and valid.any():
        values = shown(ds, values, valid)
    return masked(values, valid, modality, photometric)


def masked(
    values: NDArray[np.float32], valid: NDArray[np.bool_], modality: str, photometric: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return values with bone bright, and the mask without what cannot be an image of that modality."""
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


def padding(scale: Scale, stored: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return where the stored values are declared padding (PS3.3 C.7.5.1.1.2).

    Writers mix up US and SS for the two attributes, so both are read by Pixel Representation.
    """
    if scale.padding_value is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    first = _as_stored(scale.padding_value, stored.dtype)
    limit = first if scale.padding_limit is None else _as_stored(scale.padding_limit, stored.dtype)
    low, high = sorted((first, limit))
    if low == high:
        return np.asarray(stored == low)
    return np.asarray(np.greater_equal(stored, low) & np.less_equal(stored, high))


def _as_stored(number: int, dtype: np.dtype[np.generic]) -> int:
    """Return a number as it would look in `dtype`: 63536 is -2000 among signed 16-bit pixels."""
    modulus = 1 << (8 * dtype.itemsize)
    number %= modulus
    return number - modulus if dtype.kind == "i" and number >= modulus // 2 else number


def rescale(scale: Scale, stored: NDArray[np.generic]) -> NDArray[np.float32]:
    """Apply Rescale Slope (0028,1053) and Intercept (0028,1052), in double precision where it matters."""
    slope, intercept = scale.slope, scale.intercept
    if stored.dtype.itemsize <= 2 and _exact(slope, intercept):
        values = stored.astype(np.float32)
        if slope != 1.0:
            values *= np.float32(slope)
        if intercept != 0.0:
            values += np.float32(intercept)
        return values
    return np.asarray(stored.astype(np.float64) * slope + intercept, dtype=np.float32)


def _exact(slope: float, intercept: float) -> bool:
    """Say whether single precision holds every 16-bit value so scaled: whole numbers below 2 to the 24th."""
    whole = slope.is_integer() and intercept.is_integer()
    return whole and abs(slope) * 65536 + abs(intercept) < 1 << 24


def invert(values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mirror MONOCHROME1 values about the middle of the valid ones, so that bone is bright."""
    seen = values[valid]
    return np.asarray(seen.max() + seen.min() - values, dtype=np.float32)
