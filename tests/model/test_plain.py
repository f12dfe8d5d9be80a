"""Pixels read straight from the file: the same values as the long way round, and no others are read so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid

from model.read import NotDicomError, UndecodableError, read_header, read_pixels
from tests.builders import Recipe, published, real_images, real_series, write

REAL = [*real_images(), *published(), *(path for paths in real_series().values() for path in paths[:2])]


def assert_alike(path: Path) -> bool:
    """Read a file both ways; say whether there were two."""
    header = read_header(path)
    if header.plain is None:
        return False
    found, expected = read_pixels(header), read_pixels(replace(header, plain=None))
    assert np.array_equal(found.values, expected.values)
    assert np.array_equal(found.valid, expected.valid)
    assert found.values.dtype == np.float32
    return True


def test_real_images_have_the_same_values() -> None:
    """Of all real files that are read straight, values and masks are bit for bit those of pydicom."""
    read = 0
    for path in REAL:
        try:
            read += assert_alike(path)
        except (NotDicomError, UndecodableError):
            continue
    assert read >= 3


@settings(max_examples=40, deadline=None)
@given(
    syntax=st.sampled_from([uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian]),
    stored=st.integers(9, 16),
    signed=st.booleans(),
    slope=st.sampled_from(["1", "0", "-3", "0.37", "127", "300", "1e9", "nonsense"]),
    intercept=st.sampled_from(["-1024", "0.5", "0", "16000000"]),
    padding=st.sampled_from([None, 0, 20000]),
    photometric=st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
)
def test_odd_scales_have_the_same_values(
    tmp_path_factory: pytest.TempPathFactory,
    syntax: str,
    stored: int,
    signed: bool,
    slope: str,
    intercept: str,
    padding: int | None,
    photometric: str,
) -> None:
    """Whatever slope, intercept, padding and bits: rounding, masks and signs are those of the long way."""
    pixels = np.random.default_rng(stored).integers(0, 65536, (32, 48)).astype(np.uint16)
    overrides: dict[str, object] = {
        "BitsStored": stored, "HighBit": stored - 1, "PixelRepresentation": int(signed),
        "RescaleIntercept": intercept, "PixelPaddingValue": padding, "PhotometricInterpretation": photometric,
    }  # fmt: skip
    if slope != "nonsense":
        overrides["RescaleSlope"] = slope
    recipe = Recipe(n=1, transfer_syntax=syntax, pixels=lambda *_: pixels, overrides=overrides)
    [path] = write(tmp_path_factory.mktemp("odd"), recipe)
    assert assert_alike(path)


@pytest.mark.parametrize(
    "overrides",
    [
        {"SamplesPerPixel": 3},
        {"PixelRepresentation": None},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"NumberOfFrames": 2},
        {"BitsStored": 17},
        {"Rows": 128},
    ],
)
def test_what_is_unusual_goes_the_long_way(tmp_path: Path, overrides: dict[str, object]) -> None:
    """Colour, frames, missing or impossible attributes and short pixel data are left to pydicom."""
    [path] = write(tmp_path, Recipe(n=1, overrides=overrides))
    assert read_header(path).plain is None


def test_a_file_that_became_shorter_is_undecodable(tmp_path: Path) -> None:
    """What was cut off after its header was read is an error with a sentence, not a half image."""
    [path] = write(tmp_path, Recipe(n=1))
    header = read_header(path)
    assert header.plain is not None
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UndecodableError):
        read_pixels(header)
