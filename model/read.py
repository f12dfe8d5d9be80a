"""DICOM file -> header without pixels, and header -> pixels in modality units with a mask of valid ones."""

import warnings
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.pixels.utils import pixel_array
from pydicom.tag import BaseTag

from model import codestream
from model.attributes import BROKEN, cause, integer, numbers, text, texts
from model.geometry import Orientation, Position
from model.plain import KEYWORDS, SYNTAXES, Plain, plain, stored_values
from model.radiographs import MODALITIES
from model.values import masked, modality_values, padding, rescale

MAXIMUM_PIXELS: Final = 64 * 1024 * 1024
"""Rows x Columns above which nothing is decoded; of several frames one is decoded at a time."""
MAXIMUM_INFLATED_BYTES: Final = 512 * 1024 * 1024
"""A deflated data set (PS3.5 A.5) that grows beyond this is not read at all."""
MAXIMUM_MM: Final = 1e6

_PIXEL_DATA: Final = 0x7FE00010
_META_START: Final = 128 + 4 + 12
"""Preamble, prefix and the group length element, whose value counts the bytes from here (PS3.10 7.1)."""
_KEYWORDS: Final = (
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID",
    "StudyInstanceUID", "FrameOfReferenceUID", "Modality", "SeriesDescription", "ProtocolName",
    "SequenceName", "BodyPartExamined", "InstanceNumber", "CardiacNumberOfImages", "SliceThickness",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns",
    "NumberOfFrames", "BitsAllocated", "BitsStored", "SamplesPerPixel", "PhotometricInterpretation",
    "PixelRepresentation", *KEYWORDS,
)  # fmt: skip
_UNDEFINED_LENGTH: Final = 0xFFFFFFFF


class NotDicomError(ValueError):
    """The file is no readable DICOM Part 10 file; the message is one sentence."""


class UndecodableError(ValueError):
    """The pixel data cannot be turned into an image; the message is one sentence."""


@dataclass(frozen=True)
class Frame:
    """Which frame of a multi-frame object a header speaks of, and how its pixels are read by themselves.

    `index` counts from 0. `spans` are (offset in the file, bytes) of the pieces of its pixel data. `slope`,
    `intercept` and the padding are those of Rescale and Pixel Padding; `signed` is Pixel Representation.
    """

    index: int
    spans: tuple[tuple[int, int], ...]
    signed: bool
    slope: float
    intercept: float
    padding_value: float | None
    padding_limit: float | None


@dataclass(frozen=True)
class ImageHeader:
    """What an instance says of itself, as far as reading, the gate and geometry need it.

    Texts are stripped and "" where missing or unreadable, numbers None (geometry) or 0 (the rest).
    `image_type` is upper case. `pixel_spacing_mm` is (between rows, between columns).
    `pixel_data_bytes` is what is there in the file, 0 where there is no pixel data. With a `frame` the header
    is that of one frame of `frames`, and its type, plane, spacing and pixels are the frame's own. `plain`
    says how the simplest pixels are read.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    frame_of_reference_uid: str
    transfer_syntax_uid: str
    modality: str
    image_type: tuple[str, ...]
    rows: int
    columns: int
    frames: int
    bits_allocated: int
    bits_stored: int
    samples_per_pixel: int
    photometric: str
    position: Position | None
    orientation: Orientation | None
    pixel_spacing_mm: tuple[float, float] | None
    slice_thickness_mm: float | None
    pixel_data_bytes: int
    series_description: str
    protocol_name: str
    sequence_name: str
    body_part: str
    instance_number: int
    cardiac_images: int
    frame: Frame | None = None
    plain: Plain | None = None


@dataclass(frozen=True)
class Parsed:
    """A data set before its pixel data, how many bytes of these there are, and where they begin."""

    data_set: Dataset
    pixel_data_bytes: int
    pixel_data_offset: int


@dataclass(frozen=True)
class Image:
    """One decoded image.

    `values` is float32 (rows, columns) after Rescale Slope and Intercept, bright where MONOCHROME2
    is bright; `valid` is bool (rows, columns), False on padding, all True if nothing else is there.
    `spacing_mm` is (between rows, between columns).
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    spacing_mm: tuple[float, float] | None


def read_header(path: Path) -> ImageHeader:
    """Read a file up to its pixel data, which is measured but not loaded.

    Odd attribute values (wrong VR, empty, not a number) count as missing. Raises NotDicomError
    where the file is no Part 10 file or its structure is broken, OSError where it cannot be opened.
    """
    found = parse(path, _KEYWORDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _header(path, found)


def parse(path: Path, keywords: Collection[str]) -> Parsed:
    """Read the named attributes of a file; raises as `read_header` does."""
    tags = [cast(int, tag_for_keyword(keyword)) for keyword in keywords]
    size = path.stat().st_size
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _parse(path, file, size, tags)
        except BROKEN as error:
            raise NotDicomError(f"{path.name} is not a readable DICOM file: {cause(error)}.") from error


def _parse(path: Path, file: BinaryIO, size: int, tags: Sequence[int]) -> Parsed:
    if size < 132 or not file.read(132).endswith(b"DICM"):
        raise InvalidDicomError("it has no DICM prefix")
    file.seek(0)
    meta = read_file_meta_info(path)
    deflated = meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian
    if deflated:
        _check_inflation(path, int(meta.get("FileMetaInformationGroupLength", 0)))
    found = start = 0

    def at_pixels(tag: BaseTag, _vr: str | None, length: int) -> bool:
        nonlocal found, start
        if int(tag) == _PIXEL_DATA:
            rest = length if deflated else size - file.tell()
            found = rest if length == _UNDEFINED_LENGTH else min(length, rest)
            start = 0 if deflated else file.tell()
        return int(tag) >= _PIXEL_DATA

    ds = read_partial(file, stop_when=at_pixels, specific_tags=list(tags))
    if not ds and not found:
        raise InvalidDicomError("it holds no image attributes")
    return Parsed(ds, found, start)


def _check_inflation(path: Path, group_length: int) -> None:
    """Refuse a deflate bomb: inflate piecewise up to the cap and throw the result away."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    with path.open("rb") as file:
        file.seek(_META_START + group_length)
        rest, total = file.read(), 0
    while rest and total <= MAXIMUM_INFLATED_BYTES:
        total += len(inflater.decompress(rest, 1 << 20))
        rest = inflater.unconsumed_tail
    if total > MAXIMUM_INFLATED_BYTES:
        raise InvalidDicomError(f"it inflates to more than {MAXIMUM_INFLATED_BYTES >> 20} MiB")


def _header(path: Path, found: Parsed) -> ImageHeader:
    ds, pixel_bytes = found.data_set, found.pixel_data_bytes
    meta = cast(Dataset, getattr(ds, "file_meta", Dataset()))
    spacing = numbers(ds, "PixelSpacing", 2)
    thickness = numbers(ds, "SliceThickness", 1)
    syntax, modality = text(meta, "TransferSyntaxUID"), text(ds, "Modality").upper()
    rows, columns = max(0, integer(ds, "Rows")), max(0, integer(ds, "Columns"))
    bits = integer(ds, "BitsAllocated"), integer(ds, "BitsStored")
    how = None
    if syntax in SYNTAXES and modality not in MODALITIES:  # radiographs are shown by their window
        how = plain(ds, (rows, columns), bits, found.pixel_data_offset, pixel_bytes)
    return ImageHeader(
        path=path,
        sop_class_uid=text(ds, "SOPClassUID") or text(meta, "MediaStorageSOPClassUID"),
        sop_instance_uid=text(ds, "SOPInstanceUID") or text(meta, "MediaStorageSOPInstanceUID"),
        series_instance_uid=text(ds, "SeriesInstanceUID"),
        study_instance_uid=text(ds, "StudyInstanceUID"),
        frame_of_reference_uid=text(ds, "FrameOfReferenceUID"),
        transfer_syntax_uid=syntax,
        modality=modality,
        image_type=tuple(item.upper() for item in texts(ds, "ImageType")),
        rows=rows,
        columns=columns,
        frames=max(1, integer(ds, "NumberOfFrames", 1)),
        bits_allocated=bits[0],
        bits_stored=bits[1],
        samples_per_pixel=integer(ds, "SamplesPerPixel", 1),
        photometric=text(ds, "PhotometricInterpretation").upper(),
        position=position_of(ds),
        orientation=cast(Orientation | None, numbers(ds, "ImageOrientationPatient", 6)),
        pixel_spacing_mm=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        slice_thickness_mm=thickness[0] if thickness and thickness[0] > 0 else None,
        pixel_data_bytes=pixel_bytes,
        series_description=text(ds, "SeriesDescription"),
        protocol_name=text(ds, "ProtocolName"),
        sequence_name=text(ds, "SequenceName"),
        body_part=text(ds, "BodyPartExamined"),
        instance_number=integer(ds, "InstanceNumber"),
        cardiac_images=integer(ds, "CardiacNumberOfImages"),
        plain=how,
    )


def position_of(ds: Dataset) -> Position | None:
    """Return Image Position (Patient), None where it lies beyond any scanner."""
    found = numbers(ds, "ImagePositionPatient", 3)
    return cast(Position, found) if found and max(map(abs, found)) < MAXIMUM_MM else None


def read_pixels(header: ImageHeader) -> Image:
    """Decode the one grey frame of a file, or the one that the header speaks of.

    Of a multi-frame object no more than the one frame is read. Raises UndecodableError, with one sentence,
    where the pixel data is missing, short, damaged, larger than MAXIMUM_PIXELS, of several samples, in an
    unknown transfer syntax, or of several frames of which the header names none.
    """
    _check_size(header)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            values, valid = _values(header)
        except BROKEN as error:
            raise UndecodableError(f"The pixel data cannot be decoded: {cause(error)}.") from error
    return Image(values, valid, header.pixel_spacing_mm)


def _values(header: ImageHeader) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    how = header.plain
    if how is not None and header.frame is None:
        stored = stored_values(header.path, how, header.rows, header.columns)
        values, valid = rescale(how.scale, stored), ~padding(how.scale, stored)
        return masked(values, valid, header.modality, header.photometric)
    ds = pydicom.dcmread(header.path) if header.frame is None else _one_frame(header, header.frame)
    return modality_values(ds, _decode(header, ds), header.modality, header.photometric)


def _check_size(header: ImageHeader) -> None:
    """Compare what the header promises with the caps and with the bytes that are there."""
    pixels = header.rows * header.columns
    if (header.frames > 1 and header.frame is None) or header.samples_per_pixel != 1:
        raise UndecodableError(
            f"{header.frames} frames of {header.samples_per_pixel} samples are no grey image."
        )
    if pixels > MAXIMUM_PIXELS:
        raise UndecodableError(f"{pixels} pixels are more than the {MAXIMUM_PIXELS} that are decoded.")
    if not pixels or not header.pixel_data_bytes:
        raise UndecodableError("There is no pixel data.")
    needed = (pixels * (header.frames if header.frame else 1) * header.bits_allocated + 7) // 8
    if header.transfer_syntax_uid in codestream.NATIVE and header.pixel_data_bytes < needed:
        raise UndecodableError(
            f"The pixel data has {header.pixel_data_bytes} bytes where {needed} are needed."
        )


def _decode(header: ImageHeader, ds: Dataset) -> NDArray[np.generic]:
    """Return the stored values (rows, columns), signed where Pixel Representation says so."""
    syntax, shape = header.transfer_syntax_uid, (header.rows, header.columns)
    if syntax not in codestream.NATIVE:
        if syntax not in codestream.PLUGINS:
            raise ValueError(f"no decoder for transfer syntax {syntax or '(none)'}")
        declared = codestream.size(codestream.first_frame(ds))
        if syntax != uid.RLELossless and declared != shape:
            raise ValueError(f"the compressed stream says {declared}, the header {shape}")
        if syntax == uid.JPEGExtended12Bit and header.bits_stored > 8:
            if header.frame is not None:
                raise ValueError("frames of 12-bit JPEG are not decoded")
            return codestream.extended_12_bit(str(header.path), *shape)
    stored = pixel_array(ds, raw=True, decoding_plugin=codestream.PLUGINS.get(syntax, ""))
    if stored.shape != shape:
        raise ValueError(f"the decoder gave {stored.shape}, the header says {shape}")
    return cast(NDArray[np.generic], stored)


def _one_frame(header: ImageHeader, frame: Frame) -> Dataset:
    """Return one frame as a data set of its own; its bytes alone are read from the file."""
    with header.path.open("rb") as file:
        raw = b"".join(_piece(file, offset, length) for offset, length in frame.spans)
    native = header.transfer_syntax_uid in codestream.NATIVE
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.UID(header.transfer_syntax_uid)
    ds.Rows, ds.Columns, ds.SamplesPerPixel = header.rows, header.columns, 1
    ds.PhotometricInterpretation = header.photometric or "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored = header.bits_allocated, header.bits_stored
    ds.PixelRepresentation = int(frame.signed)
    ds.RescaleSlope, ds.RescaleIntercept = f"{frame.slope:.10g}", f"{frame.intercept:.10g}"
    for tag, value in ((0x00280120, frame.padding_value), (0x00280121, frame.padding_limit)):
        if value is not None:
            ds.add_new(tag, "DS", f"{value:.10g}")
    ds.add_new(_PIXEL_DATA, "OW" if native else "OB", raw if native else encapsulate([raw], has_bot=False))
    return ds


def _piece(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)
