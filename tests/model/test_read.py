"""Tests of reading: headers without pixels, odd attribute values, every decode path."""

from pathlib import Path

import cv2
import gdcm
import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from model import codestream
from model.read import read_header, read_pixels
from tests.builders import AXIAL, Recipe, blob, bundled, dataset, real_series, series
from tests.model.images import ENCODINGS, one


def test_header_of_a_real_image() -> None:
    """What a real CT says of itself arrives in plain types."""
    header = read_header(bundled("CT_small.dcm"))
    assert (header.modality, header.rows, header.columns, header.frames) == ("CT", 128, 128, 1)
    assert header.sop_class_uid == uid.CTImageStorage
    assert header.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert header.orientation == AXIAL
    assert header.pixel_spacing_mm == (0.661468, 0.661468)
    assert header.slice_thickness_mm == 5.0
    assert header.pixel_data_bytes == 128 * 128 * 2
    assert header.transfer_syntax_uid == uid.ExplicitVRLittleEndian


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: uid.UID(encoding).keyword)
def test_every_written_encoding_comes_back_exactly(tmp_path: Path, encoding: str) -> None:
    """Lossless encodings give the drawn pixels, and the header counts the encoded bytes in the file."""
    header = one(tmp_path, transfer_syntax=encoding)
    image = read_pixels(header)
    np.testing.assert_array_equal(image.values, blob(0, 64, 64))
    assert image.values.dtype == np.float32
    assert image.valid.all()
    assert image.spacing_mm == (0.8, 0.8)
    assert 0 < header.pixel_data_bytes <= 8192


@pytest.mark.parametrize(
    "name",
    ["RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"],
)
def test_one_real_image_in_every_encoding_is_one_image(name: str) -> None:
    """pydicom's MR_small decodes to the same values from every transfer syntax."""
    plain = read_pixels(read_header(bundled("MR_small.dcm")))
    image = read_pixels(read_header(bundled(f"MR_small_{name}.dcm")))
    np.testing.assert_array_equal(image.values, plain.values)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("693_J2KI.dcm", -3995, 1812),
        ("J2K_pixelrep_mismatch.dcm", -2000, 1896),
        ("JPEG2000.dcm", -30, 245),
        ("JPGExtended.dcm", 0, 264),
        ("JPEGLSNearLossless_08.dcm", 0, 255),
        ("JPEGLSNearLossless_16.dcm", 0, 65535),
        ("image_dfl.dcm", 0, 255),
        ("examples_overlay.dcm", 0, 1123),
    ],
)
def test_real_grey_images_decode_to_their_range(name: str, low: float, high: float) -> None:
    """Lossy and lossless, signed and unsigned, 8 to 16 bits: the range of values in each real file."""
    values = read_pixels(read_header(bundled(name))).values
    assert (values.min(), values.max()) == (low, high)


def test_12_bit_jpeg_has_the_known_pixels() -> None:
    """Two pixels of the 12-bit JPEG Extended file as published with pydicom's tests."""
    values = read_pixels(read_header(bundled("JPGExtended.dcm"))).values
    assert (values[420, 140], values[230, 120]) == (244, 95)


@pytest.mark.parametrize(
    "syntax", [gdcm.TransferSyntax.JPEGLosslessProcess14, gdcm.TransferSyntax.JPEGLosslessProcess14_1]
)
def test_jpeg_lossless(tmp_path: Path, syntax: int) -> None:
    """Both JPEG Lossless processes, as written by GDCM, give back the exact pixels."""
    source, target = series(tmp_path, "MR", 1)[0], tmp_path / "lossless.dcm"
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    header = read_header(target)
    assert header.transfer_syntax_uid in (uid.JPEGLossless, uid.JPEGLosslessSV1)
    np.testing.assert_array_equal(read_pixels(header).values, blob(0, 64, 64))


def test_jpeg_baseline(tmp_path: Path) -> None:
    """An 8-bit baseline JPEG comes back within its compression error."""
    drawn = (blob(0, 64, 64) // 5).astype(np.uint8)
    ds = dataset(Recipe(modality="MR", pixels=lambda *_: drawn))
    _, stream = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 98])
    ds.PixelData = encapsulate([stream.tobytes()])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    ds.save_as(tmp_path / "jpeg.dcm", enforce_file_format=True)
    assert np.abs(read_pixels(read_header(tmp_path / "jpeg.dcm")).values - drawn).max() < 12


def test_every_decoder_named_is_installed() -> None:
    """Each transfer syntax of the table has its one decoder available in this environment."""
    for syntax, plugin in codestream.PLUGINS.items():
        assert plugin in get_decoder(uid.UID(syntax)).available_plugins, syntax


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("keyword", "vr", "value", "field", "expected"),
    [
        ("ImagePositionPatient", "DS", "1\\2", "position", None),
        ("ImagePositionPatient", "DS", "1,5\\2\\3", "position", None),
        ("ImagePositionPatient", "DS", "1e300\\0\\0", "position", None),
        ("ImagePositionPatient", "DS", "", "position", None),
        ("ImageOrientationPatient", "DS", "a\\b\\c\\d\\e\\f", "orientation", None),
        ("PixelSpacing", "DS", "0\\0", "pixel_spacing_mm", None),
        ("PixelSpacing", "DS", "0.5", "pixel_spacing_mm", None),
        ("PixelSpacing", "LO", "0.5\\0.6", "pixel_spacing_mm", (0.5, 0.6)),
        ("SliceThickness", "DS", "thick", "slice_thickness_mm", None),
        ("SliceThickness", "DS", "nan", "slice_thickness_mm", None),
        ("NumberOfFrames", "IS", "1A", "frames", 1),
        ("NumberOfFrames", "IS", "0", "frames", 1),
        ("SeriesDescription", "LO", "a\\b", "series_description", "a\\b"),
        ("SeriesDescription", "UN", "scout", "series_description", "scout"),
        ("ImageType", "CS", "derived ", "image_type", ("DERIVED",)),
        ("Modality", "CS", "ct", "modality", "CT"),
        ("InstanceNumber", "IS", "", "instance_number", 0),
    ],
)
def test_odd_values_count_as_missing(
    tmp_path: Path, keyword: str, vr: str, value: str, field: str, expected: object
) -> None:
    """Wrong counts, wrong VRs, commas, letters and infinities never raise and never become numbers."""
    path = tmp_path / "odd.dcm"
    ds = dataset(Recipe())
    raw = value.encode() + b" " * (len(value) % 2)
    tag = pydicom.tag.Tag(keyword)
    ds[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(raw), raw, 0, False, True)
    ds.save_as(path, enforce_file_format=True)
    assert getattr(read_header(path), field) == expected


def test_uids_fall_back_on_the_file_meta_information(tmp_path: Path) -> None:
    """An anonymiser that emptied the data set's UIDs left those of the file meta information."""
    overrides = {"SOPClassUID": "", "SOPInstanceUID": ""}
    ds = dataset(Recipe(overrides=overrides))
    ds.file_meta.MediaStorageSOPClassUID = uid.CTImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = uid.UID("1.2.3.4")
    ds.preamble = b"\0" * 128
    ds.save_as(tmp_path / "bare.dcm")
    header = read_header(tmp_path / "bare.dcm")
    assert (header.sop_class_uid, header.sop_instance_uid) == (uid.CTImageStorage, "1.2.3.4")


def test_reading_a_header_leaves_the_pixels_on_disk(tmp_path: Path) -> None:
    """The header of a file with 64 MiB of pixel data is read through a few KiB."""
    path = series(tmp_path, "MR", 1)[0]
    ds = pydicom.dcmread(path)
    ds.Rows = ds.Columns = 5792
    ds.PixelData = bytes(2 * 5792 * 5792)
    ds.save_as(path)
    before = _bytes_read()
    header = read_header(path)
    assert header.pixel_data_bytes == 2 * 5792 * 5792
    assert _bytes_read() - before < 1 << 20


def _bytes_read() -> int:
    """Count what this process has read so far, by the kernel's account."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not real_series(), reason="the data folder is not there")
def test_real_series_decode() -> None:
    """The first image of every real series has finite values in a plausible range, or many frames."""
    for name, paths in real_series().items():
        header = read_header(paths[0])
        if header.frames > 1:
            continue
        image = read_pixels(header)
        assert image.values.shape == (header.rows, header.columns), name
        assert np.isfinite(image.values).all(), name
        assert -1500 < image.values[image.valid].min() < image.values[image.valid].max() < 40000, name
