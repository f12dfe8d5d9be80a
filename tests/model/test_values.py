"""Tests of modality values: rescale, declared and undeclared padding, MONOCHROME1, unused bits."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.read import ImageHeader, read_header, read_pixels
from tests.builders import Recipe, blob, dataset, series


def one(folder: Path, modality: str = "MR", **options: object) -> ImageHeader:
    """Write one image and read its header."""
    return read_header(series(folder, modality, 1, **options)[0])


def signed(*_: int) -> NDArray[np.int16]:
    """Draw a signed ramp with a padded first row."""
    ramp = np.arange(64 * 64, dtype=np.int16).reshape(64, 64) - 500
    ramp[0] = -2000
    return ramp


@pytest.mark.parametrize("value", [-2000, 63536])
def test_padding_of_signed_pixels_in_either_vr(tmp_path: Path, value: int) -> None:
    """-2000 as SS and its bit pattern 63536 as US both mask the same pixels."""
    path = tmp_path / "padded.dcm"
    ds = dataset(Recipe(modality="MR", pixels=signed))
    ds.add_new("PixelPaddingValue", "SS" if value < 0 else "US", value)
    ds.save_as(path, enforce_file_format=True)
    valid = read_pixels(read_header(path)).valid
    assert not valid[0].any()
    assert valid[1:].all()


def test_padding_range_is_inclusive_in_either_order(tmp_path: Path) -> None:
    """Everything from the padding value to the range limit is padding."""
    for index, (first, last) in enumerate(((0, 30), (30, 0))):
        overrides = {"PixelPaddingValue": first, "PixelPaddingRangeLimit": last}
        image = read_pixels(one(tmp_path / str(index), overrides=overrides))
        np.testing.assert_array_equal(image.valid, blob(0, 64, 64) > 30)


def test_an_image_of_padding_alone_is_all_valid(tmp_path: Path) -> None:
    """Where nothing else is left, the mask masks nothing."""
    overrides = {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 65535}
    assert read_pixels(one(tmp_path, overrides=overrides)).valid.all()


def test_undeclared_padding_of_ct_is_not_valid(tmp_path: Path) -> None:
    """A CT value below every tissue and gas is padding without being declared; in MR it is a value."""
    overrides = {"RescaleIntercept": "0", "RescaleSlope": "1"}
    assert not read_pixels(one(tmp_path / "ct", "CT", pixels=signed, overrides=overrides)).valid[0].any()
    assert read_pixels(one(tmp_path / "mr", "MR", pixels=signed)).valid.all()


def test_rescale(tmp_path: Path) -> None:
    """Slope and intercept are applied; a slope of zero or nonsense counts as one."""
    for index, (slope, expected) in enumerate((("2", 2.0), ("0", 1.0), ("", 1.0))):
        header = one(tmp_path / str(index), overrides={"RescaleSlope": slope, "RescaleIntercept": "-7"})
        np.testing.assert_allclose(read_pixels(header).values, blob(0, 64, 64) * expected - 7)


def test_monochrome1_is_inverted_about_its_valid_values(tmp_path: Path) -> None:
    """Dark becomes bright; the range of the valid pixels stays the same."""
    plain = read_pixels(one(tmp_path / "two")).values
    overrides = {"PhotometricInterpretation": "MONOCHROME1"}
    inverted = read_pixels(one(tmp_path / "one", overrides=overrides)).values
    np.testing.assert_allclose(inverted, plain.max() + plain.min() - plain)


def test_bits_above_bits_stored_are_ignored(tmp_path: Path) -> None:
    """Old overlays in the unused high bits do not reach the values."""
    dirty = blob(0, 64, 64) | np.uint16(0xF000)
    header = one(tmp_path, pixels=lambda *_: dirty, overrides={"BitsStored": 12, "HighBit": 11})
    np.testing.assert_array_equal(read_pixels(header).values, blob(0, 64, 64))
