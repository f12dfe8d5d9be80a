"""Enhanced CT and MR: one header a frame, with its own geometry from the functional groups (PS3.3 C.7.6.16).

A functional group stands in the item that all frames share or in the item of each frame.
"""

import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final, cast

from pydicom import uid
from pydicom.dataset import Dataset

from model import codestream
from model.attributes import BROKEN, numbers, texts
from model.geometry import Orientation
from model.read import Frame, ImageHeader, NotDicomError, Parsed, parse, position_of, read_header

ENHANCED: Final = frozenset(
    {
        uid.EnhancedCTImageStorage,
        uid.EnhancedMRImageStorage,
        uid.EnhancedMRColorImageStorage,
        uid.LegacyConvertedEnhancedCTImageStorage,
        uid.LegacyConvertedEnhancedMRImageStorage,
    }
)
MAXIMUM_FRAMES: Final = 20_000
"""Objects of more frames are not looked into; a CT of the whole body in slices of 0.5 mm has 4000."""

_KEYWORDS: Final = (
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PixelRepresentation",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "ExtendedOffsetTable", "SpecificCharacterSet",
)  # fmt: skip
_FRAME_TYPES: Final = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence")
_ITEM: Final = 0xFFFEE000
_Spans = tuple[tuple[int, int], ...]


def read_headers(path: Path) -> tuple[ImageHeader, ...]:
    """Read a file as `read_header` does, an Enhanced object as one header for each of its frames.

    An Enhanced object whose frames cannot be read one by one (deflated, functional groups that do not fit,
    fragments that cannot be told apart) comes as one header without a frame. Raises as `read_header` does.
    """
    header = read_header(path)
    if header.sop_class_uid not in ENHANCED or not 0 < header.frames <= MAXIMUM_FRAMES:
        return (header,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = parse(path, _KEYWORDS)
            return tuple(_headers(header, found, _spans(header, found))) or (header,)
        except (*BROKEN, NotDicomError):
            return (header,)


@dataclass(frozen=True)
class _Groups:
    """The functional groups of one frame: its own item, and the one that all share."""

    own: Dataset
    shared: Dataset

    def group(self, keyword: str) -> Dataset:
        """Return the one item of a functional group, an empty data set where there is none."""
        for groups in (self.own, self.shared):
            items = groups.get(keyword)
            if items:
                return cast(Dataset, items[0])
        return Dataset()


def _headers(whole: ImageHeader, found: Parsed, spans: Sequence[_Spans]) -> Iterator[ImageHeader]:
    ds = found.data_set
    frames = ds.get("PerFrameFunctionalGroupsSequence") or ()
    if not len(frames) == len(spans) == whole.frames:
        return
    shared = (ds.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for index, own in enumerate(frames):
        yield _header(whole, ds, _Groups(own, shared), index, spans[index])


def _header(whole: ImageHeader, ds: Dataset, groups: _Groups, index: int, spans: _Spans) -> ImageHeader:
    measures = groups.group("PixelMeasuresSequence")
    spacing, thickness = numbers(measures, "PixelSpacing", 2), numbers(measures, "SliceThickness", 1)
    orientation = numbers(groups.group("PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    types = next((found for name in _FRAME_TYPES if (found := texts(groups.group(name), "FrameType"))), ())
    return replace(
        whole,
        image_type=tuple(each.upper() for each in types) or whole.image_type,
        position=position_of(groups.group("PlanePositionSequence")),
        orientation=cast(Orientation | None, orientation),
        pixel_spacing_mm=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        slice_thickness_mm=thickness[0] if thickness and thickness[0] > 0 else None,
        frame=_frame(ds, groups.group("PixelValueTransformationSequence"), index, spans),
    )


def _frame(ds: Dataset, transformation: Dataset, index: int, spans: _Spans) -> Frame:
    padding, limit = (numbers(ds, name, 1) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    return Frame(
        index=index,
        spans=spans,
        signed=(numbers(ds, "PixelRepresentation", 1) or (0.0,))[0] == 1,
        slope=(numbers(transformation, "RescaleSlope", 1) or (1.0,))[0],
        intercept=(numbers(transformation, "RescaleIntercept", 1) or (0.0,))[0],
        padding_value=padding[0] if padding else None,
        padding_limit=limit[0] if limit else None,
    )


def _spans(header: ImageHeader, found: Parsed) -> list[_Spans]:
    """Return where the pieces of each frame lie in the file; none where they cannot be told apart."""
    start = found.pixel_data_offset
    if not start:
        return []
    if header.transfer_syntax_uid in codestream.NATIVE:
        size = header.rows * header.columns * header.bits_allocated // 8
        return [((start + index * size, size),) for index in range(header.frames)]
    size = header.path.stat().st_size
    with header.path.open("rb") as file:
        file.seek(start)
        table, fragments = _fragments(file, size)
    offsets = found.data_set.get("ExtendedOffsetTable")
    if offsets:
        table = struct.unpack(f"<{len(offsets) // 8}Q", offsets[: len(offsets) // 8 * 8])
    return _by_frame(header.frames, table, fragments)


def _by_frame(frames: int, table: Sequence[int], fragments: Sequence[tuple[int, int]]) -> list[_Spans]:
    """Gather fragments (offset of the value, bytes) into frames, by the offset table where there is one."""
    if len(table) != frames:
        return [(each,) for each in fragments] if len(fragments) == frames else []
    first = fragments[0][0] if fragments else 0
    starts = {offset: index for index, offset in enumerate(table)}
    gathered: list[list[tuple[int, int]]] = []
    for fragment in fragments:
        if fragment[0] - first in starts:
            gathered.append([])
        if not gathered or len(gathered) > frames:
            return []
        gathered[-1].append(fragment)
    return [tuple(each) for each in gathered]


def _fragments(file: BinaryIO, end: int) -> tuple[Sequence[int], list[tuple[int, int]]]:
    """Walk encapsulated pixel data (PS3.5 A.4): the Basic Offset Table, and each fragment's place."""
    table: Sequence[int] = ()
    found: list[tuple[int, int]] = []
    for number, (offset, length) in enumerate(_items(file)):
        if offset + length > end:
            raise ValueError("a fragment goes beyond the end of the file")
        if number == 0:
            table = struct.unpack(f"<{length // 4}I", file.read(length // 4 * 4))
        else:
            found.append((offset, length))
        file.seek(offset + length)
    return table, found


def _items(file: BinaryIO) -> Iterator[tuple[int, int]]:
    while len(head := file.read(8)) == 8:
        group, element, length = struct.unpack("<HHI", head)
        if group << 16 | element != _ITEM:
            return
        yield file.tell(), length
