"""Tests of Enhanced multi-frame objects: frames are slices with their own geometry, decoded one at a time."""

import tracemalloc
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from pydicom import dcmread, uid
from pydicom.pixels.utils import pixel_array

from model import frames as frame_reading
from model.frames import read_headers
from model.gate import reason
from model.geometry import order, positions_mm
from model.read import UndecodableError, read_header, read_pixels
from tests.builders import CORONAL, Recipe, blob, bundled, published, real_series, write
from tests.multiframe import Enhanced, enhanced, write_enhanced

ENCODINGS = (
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless,
    uid.JPEGLSLossless, uid.JPEG2000Lossless,
)  # fmt: skip


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("shared", [True, False])
def test_each_frame_has_its_own_geometry(modality: str, shared: bool, tmp_path: Path) -> None:
    """Position, orientation, spacing and type come from shared and per-frame functional groups."""
    recipe = Recipe(modality=modality, n=4, step_mm=-2.5)
    headers = read_headers(write_enhanced(tmp_path, Enhanced(recipe, shared_geometry=shared)))
    assert [header.frame.index for header in headers if header.frame] == [0, 1, 2, 3]
    assert [header.position for header in headers] == [(-25.0, -25.0, -100.0 - 2.5 * i) for i in range(4)]
    assert {header.orientation for header in headers} == {recipe.orientation}
    assert {header.pixel_spacing_mm for header in headers} == {(0.8, 0.8)}
    assert {header.slice_thickness_mm for header in headers} == {2.5}
    assert {header.image_type for header in headers} == {("ORIGINAL", "PRIMARY", "VOLUME", "NONE")}
    assert {header.sop_instance_uid for header in headers} == {recipe.instance_uid(0)}
    assert [reason(header) for header in headers] == [None] * 4
    assert list(order(positions_mm(headers))) == [3, 2, 1, 0]


@pytest.mark.parametrize("syntax", ENCODINGS, ids=lambda each: uid.UID(each).keyword)
@pytest.mark.parametrize("lengths", ["defined", "undefined"])
def test_each_frame_is_decoded_by_itself(syntax: str, lengths: str, tmp_path: Path) -> None:
    """In every encoding a frame has the pixels that were drawn, with the slope and intercept of its own."""
    what = Enhanced(
        Recipe(n=3, transfer_syntax=syntax), slopes=(1, 2, 0.5), undefined_lengths=lengths == "undefined"
    )
    for index, header in enumerate(read_headers(write_enhanced(tmp_path, what))):
        expected = blob(index, 64, 64) * (1.0, 2.0, 0.5)[index] - 1024
        np.testing.assert_allclose(read_pixels(header).values, expected)


@pytest.mark.parametrize(("table", "fragments"), [("basic", 1), ("basic", 3), ("extended", 1), ("none", 1)])
def test_frames_are_found_by_any_offset_table(table: str, fragments: int, tmp_path: Path) -> None:
    """Basic and Extended Offset Table, none at all, and frames of several fragments."""
    recipe = Recipe(n=4, transfer_syntax=uid.JPEG2000Lossless)
    path = write_enhanced(tmp_path, Enhanced(recipe, table=table, fragments=fragments))
    headers = read_headers(path)
    assert len(headers) == 4
    for index, header in enumerate(headers):
        assert header.frame
        assert len(header.frame.spans) == fragments
        np.testing.assert_allclose(read_pixels(header).values, blob(index, 64, 64) - 1024.0)


def test_padding_of_frames_is_no_image(tmp_path: Path) -> None:
    """Pixel Padding Value holds for each frame, as signed numbers do."""
    path = write_enhanced(tmp_path, Enhanced(Recipe(n=2), overrides={"PixelPaddingValue": 12}))
    valid = read_pixels(read_headers(path)[1]).valid
    assert not valid.all()
    assert (blob(1, 64, 64)[~valid] == 12).all()


@pytest.mark.parametrize(
    "what",
    [
        Enhanced(Recipe(n=3), overrides={"NumberOfFrames": 4}),
        Enhanced(Recipe(n=3), overrides={"PerFrameFunctionalGroupsSequence": []}),
        Enhanced(Recipe(n=3, transfer_syntax=uid.DeflatedExplicitVRLittleEndian)),
        Enhanced(Recipe(n=3, transfer_syntax=uid.RLELossless), table="none", fragments=2),
    ],
)
def test_frames_that_cannot_be_told_apart_are_passed_on(what: Enhanced, tmp_path: Path) -> None:
    """Groups that do not fit, deflated data sets and unclear fragments give one header, and a reason."""
    headers = read_headers(write_enhanced(tmp_path, what))
    assert [reason(header) for header in headers] == ["multi-frame object without slices"]
    with pytest.raises(UndecodableError):
        read_pixels(headers[0])


def test_too_many_frames_are_not_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the cap of frames an object is passed on."""
    path = write_enhanced(tmp_path, Enhanced(Recipe(n=3)))
    monkeypatch.setattr(frame_reading, "MAXIMUM_FRAMES", 2)
    assert len(read_headers(path)) == 1


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (Recipe(n=2, orientation=CORONAL), "coronal plane"),
        (Recipe(n=2, orientation=None), "no image orientation"),
        (Recipe(n=2, series_description="Topogram"), "localizer"),
    ],
)
def test_the_gate_judges_frames_as_it_does_images(recipe: Recipe, expected: str, tmp_path: Path) -> None:
    """Planes and kinds that are not classified as images are not classified as frames."""
    headers = read_headers(write_enhanced(tmp_path, Enhanced(recipe)))
    assert [reason(header) for header in headers] == [expected] * 2


def test_the_type_of_a_frame_counts(tmp_path: Path) -> None:
    """A localizer among the frames is one by its Frame Type."""
    ds = enhanced(Enhanced(Recipe(n=2)))
    [shared] = ds.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence
    del ds.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence
    for frame, name in zip(ds.PerFrameFunctionalGroupsSequence, ("VOLUME", "LOCALIZER"), strict=True):
        frame.CTImageFrameTypeSequence = [deepcopy(shared)]
        frame.CTImageFrameTypeSequence[0].FrameType = ["ORIGINAL", "PRIMARY", name, "NONE"]
    ds.save_as(tmp_path / "mixed.dcm", enforce_file_format=True)
    assert [reason(header) for header in read_headers(tmp_path / "mixed.dcm")] == [None, "localizer"]


def test_memory_holds_one_frame_at_a_time(tmp_path: Path) -> None:
    """Decoding the frames of an object of 64 MiB takes the memory of a few frames of it."""
    recipe = Recipe(n=1, rows=512, columns=512)
    ds = enhanced(Enhanced(recipe))
    [frame] = ds.PerFrameFunctionalGroupsSequence
    ds.PerFrameFunctionalGroupsSequence = [frame] * 128
    ds.NumberOfFrames = 128
    ds.PixelData = ds.PixelData * 128
    ds.save_as(tmp_path / "large.dcm", enforce_file_format=True)
    del ds
    headers = read_headers(tmp_path / "large.dcm")
    tracemalloc.start()
    try:
        totals = [float(read_pixels(header).values.sum()) for header in headers[::8]]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(set(totals)) == 1
    assert peak < 24 << 20


def test_highdicoms_legacy_conversion_is_read(tmp_path: Path) -> None:
    """The frames of a Legacy Converted Enhanced CT have pixels and places of the images it was made of."""
    files = write(tmp_path / "classic", Recipe(n=4))
    converted = LegacyConvertedEnhancedCTImage(
        legacy_datasets=[dcmread(path) for path in files],
        series_instance_uid=uid.generate_uid(),
        series_number=2,
        sop_instance_uid=uid.generate_uid(),
        instance_number=1,
    )
    converted.save_as(tmp_path / "converted.dcm", enforce_file_format=True)
    classic = {header.position: header for header in map(read_header, files)}
    headers = read_headers(tmp_path / "converted.dcm")
    assert {header.position for header in headers} == classic.keys()
    for header in headers:
        assert reason(header) is None
        expected = read_pixels(classic[header.position]).values
        np.testing.assert_array_equal(read_pixels(header).values, expected)


def test_single_frame_images_are_read_as_before() -> None:
    """A classic image is one header, the same as `read_header` gives, and has no frame."""
    path = bundled("CT_small.dcm")
    assert read_headers(path) == (read_header(path),)
    assert read_header(path).frame is None


def test_loops_without_functional_groups_are_passed_on() -> None:
    """A real multi-frame object of another kind is one header with a reason."""
    for name, paths in real_series().items():
        if name == "mr/chest_heart_multiframe":
            assert {reason(header) for path in paths for header in read_headers(path)} == {"8 bits or fewer"}
    [header] = read_headers(bundled("liver_1frame.dcm"))
    assert (reason(header) or "").startswith("SOP class without a model")


@pytest.mark.parametrize("cut", [10, 300, 3000])
def test_cut_off_objects_do_not_raise(cut: int, tmp_path: Path) -> None:
    """A file that ends too early gives frames that cannot be decoded, or one header with a reason."""
    what = Enhanced(Recipe(n=3, transfer_syntax=uid.JPEGLSLossless))
    path = write_enhanced(tmp_path, what)
    path.write_bytes(path.read_bytes()[:-cut])
    for header in read_headers(path):
        if reason(header) is None:
            with pytest.raises(UndecodableError):
                read_pixels(replace(header, pixel_data_bytes=1))


def test_a_real_enhanced_ct_is_read() -> None:
    """pydicom's Enhanced CT, whose functional groups have undefined lengths: places, types and pixels."""
    [path] = [path for path in published() if path.name == "eCT_Supplemental.dcm"]
    headers = read_headers(path)
    assert [header.position for header in headers] == [(99.5, -301.5, -159.0), (99.5, -301.5, -149.0)]
    assert {header.image_type[2:] for header in headers} == {("PERFUSION", "RCBF")}
    assert {reason(header) for header in headers} == {"perfusion map"}
    whole = pixel_array(path)
    for index, header in enumerate(headers):
        assert header.frame
        expected = whole[index] * header.frame.slope + header.frame.intercept
        np.testing.assert_allclose(read_pixels(header).values, expected)


@pytest.mark.filterwarnings("ignore")
def test_real_enhanced_mr_without_groups_is_passed_on() -> None:
    """pydicom's Enhanced MR lost its functional groups: its ten frames have no place."""
    for path in published():
        if path.name.startswith("emri"):
            assert [reason(header) for header in read_headers(path)] == ["multi-frame object without slices"]
