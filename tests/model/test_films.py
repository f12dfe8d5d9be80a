"""Radiographs on their way to the network: vocabulary, VOI LUT, MONOCHROME1, bit depths, evened tones."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from model.gate import reason
from model.networks import MOBILE, build, default
from model.preprocess import RADIOGRAPH, network_input
from model.radiographs import GROUPS, PART_KEYS, PARTS, WHOLES, groups_of, model_of, part_of
from model.read import read_header, read_pixels
from model.regions import BY_KEY
from model.tone import evened
from tests.builders import series
from tests.model.images import one


def ramp(_: int, rows: int, columns: int) -> NDArray[np.uint16]:
    """Draw 12 bits from dark on the left to bright on the right."""
    return np.broadcast_to(np.linspace(0, 4095, columns), (rows, columns)).astype(np.uint16)


def film(folder: Path, **overrides: object) -> NDArray[np.float32]:
    """Write one CR image with these attributes and read its values."""
    header = one(folder, "CR", pixels=ramp, orientation=None, overrides=overrides)
    return read_pixels(header).values


def test_every_part_has_its_groups_and_regions() -> None:
    """Each part belongs to groups that there are, and what is no region lies in regions."""
    assert {group for part in PART_KEYS for group in groups_of(part)} == set(GROUPS)
    assert all(part.key in BY_KEY or part.key in WHOLES for part in PARTS)
    assert all(key in BY_KEY for keys in WHOLES.values() for key in keys)
    assert all(part_of(group) in (*PART_KEYS, None) for group in GROUPS)
    assert [model_of(name) for name in ("CR", "DX", "RG", "CT")] == ["XR", "XR", "XR", "CT"]


def test_monochrome1_is_mirrored(tmp_path: Path) -> None:
    """The same stored values come out the other way round."""
    plain = film(tmp_path / "a")
    mirrored = film(tmp_path / "b", PhotometricInterpretation="MONOCHROME1")
    assert plain[0, 0] < plain[0, -1]
    assert mirrored[0, 0] > mirrored[0, -1]


def test_a_window_is_applied(tmp_path: Path) -> None:
    """What lies beyond the window is alike, what lies inside is not."""
    values = film(tmp_path, WindowCenter=2000, WindowWidth=2000)
    assert np.ptp(values[0, :12]) == pytest.approx(0.0)
    assert np.ptp(values[0, 20:40]) > 0
    assert values[0, -1] > values[0, 0]


@pytest.mark.parametrize(("center", "width"), [(-5000, 10), (60000, 100), (2000, 0), (4000, 2)])
def test_a_window_that_shows_nothing_is_left_out(tmp_path: Path, center: int, width: int) -> None:
    """A window beside the values, or none at all, does not blank the image."""
    values = film(tmp_path, WindowCenter=center, WindowWidth=width)
    assert len(np.unique(values[0])) > 30


def test_a_voi_lut_is_applied(tmp_path: Path) -> None:
    """A LUT that turns the values round is followed; a damaged one is not."""
    [path] = series(tmp_path, "CR", 1, pixels=ramp, orientation=None)
    ds = dcmread(path)
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 12]
    item.add_new("LUTData", "OW", np.arange(4095, -1, -1, dtype=np.uint16).tobytes())
    ds.VOILUTSequence = Sequence([item])
    ds.save_as(path, enforce_file_format=True)
    values = read_pixels(read_header(path)).values
    assert values[0, 0] > values[0, -1]
    item.add_new("LUTData", "OW", b"")
    ds.save_as(path, enforce_file_format=True)
    values = read_pixels(read_header(path)).values
    assert values[0, 0] < values[0, -1]


def test_films_need_no_plane_and_may_have_eight_bits(tmp_path: Path) -> None:
    """CR, DX and RG pass the gate; a scanogram is a film, a phantom is none."""
    for modality in ("CR", "DX"):
        assert reason(one(tmp_path / modality, modality, orientation=None)) is None
    cases: list[tuple[dict[str, object], str | None]] = [
        ({"Modality": "RG"}, None),
        ({"BitsStored": 8, "HighBit": 7}, None),
        ({"SeriesDescription": "Scanogram legs"}, None),
        ({"SeriesDescription": "QC phantom"}, "calibration or quality control"),
        ({"SOPClassUID": uid.SecondaryCaptureImageStorage}, "secondary capture"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "colour"),
    ]
    for number, (overrides, expected) in enumerate(cases):
        header = one(tmp_path / str(number), "CR", orientation=None, overrides=overrides)
        assert reason(header) == expected


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 500.0), st.floats(-5000.0, 5000.0))
def test_units_and_offsets_change_nothing(slope: float, offset: float) -> None:
    """A detector of other units gives the same tones."""
    values = np.random.default_rng(0).gamma(2.0, 100.0, (40, 50)).astype(np.float32)
    valid = np.ones(values.shape, np.bool_)
    other = (values.astype(np.float64) * slope + offset).astype(np.float32)
    assert np.allclose(evened(values, valid), evened(other, valid), atol=0.05)


@pytest.mark.parametrize("power", [0.6, 1.0, 1.6])
def test_bent_tones_come_near_to_each_other(power: float) -> None:
    """Film curves are taken out: the mean of what is exposed lies near the middle."""
    values = np.random.default_rng(1).uniform(0.15, 1.0, (60, 60)).astype(np.float32) ** power
    found = evened(values, np.ones(values.shape, np.bool_))
    assert abs(float(found.mean())) < 0.4
    assert np.all(np.diff(found.ravel()[np.argsort(values.ravel())]) >= 0)


def test_nothing_to_even_gives_zeros() -> None:
    """An image of one value, and one without a valid pixel, become zeros; padding becomes black."""
    flat = np.full((20, 20), 7.0, np.float32)
    assert not evened(flat, np.ones(flat.shape, np.bool_)).any()
    assert not evened(flat, np.zeros(flat.shape, np.bool_)).any()
    values = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    valid = np.ones(values.shape, np.bool_)
    valid[:, -3:] = False
    values[:, -3:] = np.nan
    assert np.all(evened(values, valid)[:, -3:] == -2.0)


def test_a_shutter_changes_little() -> None:
    """A black shutter round the body leaves nearly the same input."""
    rng = np.random.default_rng(2)
    v, u = np.ogrid[-1:1:120j, -1:1:120j]
    body = (np.exp(-(u**2 + v**2)) * (1.0 + 0.3 * np.sin(14 * u)) + rng.normal(0, 0.01, (120, 120))) * 3000
    plain = body.astype(np.float32)
    shuttered = np.pad(plain, 40)
    made = [
        network_input(values, np.ones(values.shape, np.bool_), 64, None, RADIOGRAPH)
        for values in (plain, shuttered)
    ]
    assert np.corrcoef(made[0].ravel(), made[1].ravel())[0, 1] > 0.95


def test_mobilenet_has_two_heads() -> None:
    """The paper's router is there by name, at 512 pixels, with groups and parts as outputs."""
    definition = default(MOBILE, GROUPS)
    assert (definition.size, definition.channels) == (512, 3)
    import dataclasses

    small = dataclasses.replace(definition, size=64, parts=PART_KEYS)
    assert build(small).output_shape == (None, len(GROUPS) + len(PART_KEYS))
    assert small.heads == ((0, 5), (5, 5 + len(PART_KEYS)))


def test_large_films_are_reduced_first() -> None:
    """A film of 12 megapixels gives nearly the input of its small copy; padding stays out of it."""
    v, u = np.ogrid[-1:1:1600j, -1:1:1400j]
    large = (3000 * np.exp(-(u**2 + v**2)) * (1.2 + np.sin(9 * u))).astype(np.float32)
    small = large[::8, ::8]
    valid = np.ones(large.shape, np.bool_)
    large[:, :100], valid[:, :100] = 60000.0, False
    made = network_input(large, valid, 64, None, RADIOGRAPH)
    plain = network_input(small, np.ones(small.shape, np.bool_), 64, None, RADIOGRAPH)
    assert np.corrcoef(made.ravel(), plain.ravel())[0, 1] > 0.95
