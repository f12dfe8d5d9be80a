"""Tests of reading what is damaged, hostile or no DICOM: two errors, each one sentence."""

import struct
from contextlib import suppress
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.encaps import encapsulate

from model import read
from model.read import NotDicomError, UndecodableError, read_header, read_pixels
from tests.builders import Recipe, dataset, series
from tests.model.images import ENCODINGS, one


@pytest.mark.parametrize(
    "content", [b"", b"DICM", b"\0" * 128 + b"DICM", b"hello" * 100, b"\0" * 128 + b"DICM" + b"\xff" * 99]
)
def test_what_is_no_dicom_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """Empty files, text and a bare prefix raise one sentence that names the file."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(NotDicomError, match=r"^notes\.txt is not a readable DICOM file: .*\.$"):
        read_header(path)


def test_a_deflate_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set that inflates beyond the cap is not read."""
    path = series(tmp_path, "MR", 1, transfer_syntax=uid.DeflatedExplicitVRLittleEndian)[0]
    monkeypatch.setattr(read, "MAXIMUM_INFLATED_BYTES", 4096)
    with pytest.raises(NotDicomError, match="inflates to more than"):
        read_header(path)


def test_missing_file_is_an_os_error(tmp_path: Path) -> None:
    """A file that is gone is not called damaged."""
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "gone.dcm")


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: uid.UID(encoding).keyword)
def test_truncated_pixel_data_is_undecodable(tmp_path: Path, encoding: str) -> None:
    """A file that breaks off in its pixel data says so in one sentence, in every encoding."""
    path = series(tmp_path, "MR", 1, transfer_syntax=encoding)[0]
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises((UndecodableError, NotDicomError), match=r"\.$"):
        read_pixels(read_header(path))


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        ({"PixelData": None}, "no pixel data"),
        ({"PixelData": b""}, "no pixel data"),
        ({"Rows": None}, "no pixel data"),
        ({"Rows": 128}, "8192 bytes where 16384 are needed"),
        ({"Rows": 60000, "Columns": 60000}, "more than the 67108864"),
        ({"NumberOfFrames": 4}, "4 frames"),
        ({"SamplesPerPixel": 3}, "3 samples"),
        ({"BitsAllocated": 7}, "cannot be decoded"),
        ({"PixelRepresentation": None}, "cannot be decoded"),
    ],
)
def test_headers_that_do_not_fit_the_pixels(tmp_path: Path, overrides: dict[str, object], match: str) -> None:
    """Missing, short, too large, coloured and contradictory pixel data are refused."""
    with pytest.raises(UndecodableError, match=match):
        read_pixels(one(tmp_path, overrides=overrides))


def test_a_stream_larger_than_its_header_is_never_decoded(tmp_path: Path) -> None:
    """A JPEG 2000 stream that declares another size than Rows and Columns is refused unread."""
    path = series(tmp_path, "MR", 1, transfer_syntax=uid.JPEG2000Lossless)[0]
    ds = pydicom.dcmread(path)
    ds.Rows = 32
    ds.save_as(path)
    with pytest.raises(UndecodableError, match=r"stream says \(64, 64\), the header \(32, 64\)"):
        read_pixels(read_header(path))


def test_unknown_transfer_syntax_has_no_decoder(tmp_path: Path) -> None:
    """MPEG-4 in a CT is refused by name."""
    path = series(tmp_path, "MR", 1, transfer_syntax=uid.RLELossless)[0]
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = uid.MPEG4HP41
    ds.save_as(path)
    with pytest.raises(
        UndecodableError, match=r"no decoder for transfer syntax 1\.2\.840\.10008\.1\.2\.4\.102"
    ):
        read_pixels(read_header(path))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_raise_the_two_errors_only(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever bytes are flipped or cut, reading ends in an image or in one of the two named errors."""
    encoding = data.draw(st.sampled_from(ENCODINGS))
    source = tmp_path / f"{uid.UID(encoding).keyword}.dcm"
    if not source.exists():
        dataset(Recipe(rows=40, columns=40, transfer_syntax=encoding)).save_as(
            source, enforce_file_format=True
        )
    content = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.dcm"
    path.write_bytes(
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    with suppress(NotDicomError, UndecodableError):
        header = read_header(path)
        image = read_pixels(header)
        assert image.values.shape == image.valid.shape == (header.rows, header.columns)


def test_rle_segments_that_run_over_do_not_panic(tmp_path: Path) -> None:
    """A segment with more bytes than the image has is cut off; one with fewer is undecodable in one line."""
    run = bytes([129, 7])  # 128 times 7
    whole, over, under = run * 32, run * 31 + bytes([126]) + b"x" * 127 + bytes([3, 1, 2, 3, 4]), run * 31
    for name, segment in (("over", over), ("under", under)):
        ds = dataset(Recipe(modality="MR"))
        offsets = struct.pack("<16I", 2, 64, 64 + len(whole), *[0] * 13)
        ds.PixelData = encapsulate([offsets + whole + segment])
        ds["PixelData"].is_undefined_length = True
        ds.file_meta.TransferSyntaxUID = uid.RLELossless
        ds.save_as(tmp_path / name, enforce_file_format=True)
    assert read_pixels(read_header(tmp_path / "over")).values.max() == 7 * 256 + ord("x")
    with pytest.raises(UndecodableError, match=r"^The pixel data cannot be decoded: [^\n]*\.$"):
        read_pixels(read_header(tmp_path / "under"))
