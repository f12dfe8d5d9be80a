"""Contiguous ranges of a region along the body, from what was found in images and frames."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from db.records import FrameResult, ImageResult
from model.read import ImageHeader
from model.regions import BY_KEY, Region


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
    """Neighbouring slices of one region, from the feet to the head."""

    region: Region
    slices: tuple[Slice, ...]

    @property
    def length_mm(self) -> float:
        """The way from the first slice to the last along the stack, 0 for one slice."""
        return abs(self.slices[-1].position_mm - self.slices[0].position_mm)

    @property
    def confidence(self) -> float:
        """The mean over the slices, 0..1."""
        return fmean(each.confidence for each in self.slices)


def ranges(headers: Sequence[ImageHeader], images: Sequence[ImageResult]) -> tuple[Range, ...]:
    """Return the runs of slices of one known region along the body."""
    slices = sorted(_slices(headers, images), key=lambda each: each.position_mm)
    return tuple(
        Range(BY_KEY[region], tuple(run))
        for region, run in groupby(slices, key=lambda each: each.region)
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
