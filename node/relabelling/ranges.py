"""Contiguous ranges of a region along the body, from what was found in images and frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from db.records import FrameResult, ImageResult
from model.read import ImageHeader
from model.regions import BY_KEY, Region
from model.standing import lengthwise, reach_mm


@dataclass(frozen=True, slots=True)
class Slice:
    """One classified image or frame (number from 1, None for an image), and where it lies."""

    header: ImageHeader
    frame_number: int | None
    region: str
    confidence: float
    position_mm: float


@dataclass(frozen=True, slots=True)
class Range:
    """Neighbouring slices of one region, from the feet to the head; or its sagittal and coronal ones."""

    region: Region
    slices: tuple[Slice, ...]

    @property
    def length_mm(self) -> float:
        """The way from first to last slice, 0 for one; if lengthwise, from lowest to highest point."""
        if self.lengthwise:
            reached = [reach_mm(each.header) for each in self.slices]
            return max(high for _, high in reached) - min(low for low, _ in reached)
        return abs(self.slices[-1].position_mm - self.slices[0].position_mm)

    @property
    def lengthwise(self) -> bool:
        """Whether the slices lie along the body."""
        return lengthwise(self.slices[0].header)

    @property
    def confidence(self) -> float:
        """The mean over the slices, 0..1."""
        return fmean(each.confidence for each in self.slices)


def ranges(headers: Sequence[ImageHeader], images: Sequence[ImageResult]) -> tuple[Range, ...]:
    """Return the runs of slices of one known region along the body."""
    slices = sorted(_slices(headers, images), key=lambda each: (lengthwise(each.header), each.position_mm))
    return tuple(
        Range(BY_KEY[region], tuple(run))
        for (region, _), run in groupby(slices, key=lambda each: (each.region, lengthwise(each.header)))
        if region in BY_KEY
    )


def _slices(headers: Sequence[ImageHeader], images: Sequence[ImageResult]) -> Iterator[Slice]:
    by_slot = {(each.sop_instance_uid, each.frame.index if each.frame else None): each for each in headers}
    for image in images:
        parts: Sequence[tuple[int | None, ImageResult | FrameResult]] = [(None, image)]
        if image.frames:
            parts = list(enumerate(image.frames))
        for index, found in parts:
            header = by_slot.get((image.sop_instance_uid, index))
            if header is None or found.region is None or found.position_mm is None:
                continue
            number = None if index is None else index + 1
            yield Slice(header, number, found.region, found.confidence or 0.0, found.position_mm)
