"""Corrections: what a person says of a series, as regions along the patient's z axis or one for all of it.

The millimetres are those of the patient coordinate system (PS3.3 C.7.6.2.1.1), growing towards the head: the
height of the middle of each image. What lies outside every range is unknown.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

import numpy as np

from model.geometry import extents_mm
from model.regions import BY_KEY
from rules.terms import SeriesTerm, series_term

MAXIMUM_RANGES: Final = 100
TOLERANCE_MM: Final = 0.01
"""So far beyond its ends a range still holds: people round."""


class CorrectionError(ValueError):
    """A correction does not fit to its series; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Range:
    """A region from `low_mm` to `high_mm` along z; both None where it holds for the whole series."""

    region: str
    low_mm: float | None = None
    high_mm: float | None = None

    @property
    def whole(self) -> bool:
        """Whether it holds for every image, wherever that lies."""
        return self.low_mm is None or self.high_mm is None

    def holds(self, z_mm: float | None) -> bool:
        """Tell whether an image at this height lies within it."""
        if self.low_mm is None or self.high_mm is None:
            return True
        return z_mm is not None and self.low_mm - TOLERANCE_MM <= z_mm <= self.high_mm + TOLERANCE_MM


def checked(ranges: Sequence[Range], heights_mm: Sequence[float]) -> tuple[Range, ...]:
    """Return ranges from the feet up, each from its lower end to its upper one.

    Raises CorrectionError where they contradict each other or do not fit to the heights of the images.
    """
    if not 1 <= len(ranges) <= MAXIMUM_RANGES:
        raise CorrectionError(f"a correction has 1 to {MAXIMUM_RANGES} ranges")
    for each in ranges:
        if each.region not in BY_KEY:
            raise CorrectionError(f"there is no region '{each.region}'; known are {', '.join(BY_KEY)}")
    if any(each.whole for each in ranges):
        if len(ranges) > 1:
            raise CorrectionError("a region without millimetres holds for the whole series and stands alone")
        return (Range(ranges[0].region),)
    found = sorted((_sorted(each) for each in ranges), key=lambda each: (each.low_mm, each.high_mm))
    for below, above in pairwise(found):
        overlap = (below.high_mm or 0.0) - (above.low_mm or 0.0)
        if overlap > 0 and below.region != above.region:
            raise CorrectionError(f"{above.region} overlaps {below.region} by {overlap:g} mm")
    for each in found:
        _check_images(each, heights_mm)
    return tuple(found)


def _sorted(given: Range) -> Range:
    low, high = sorted((given.low_mm or 0.0, given.high_mm or 0.0))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise CorrectionError("millimetres must be finite numbers")
    return Range(given.region, low, high)


def _check_images(each: Range, heights_mm: Sequence[float]) -> None:
    if not heights_mm:
        raise CorrectionError("the heights of the images are not known: give one region for the whole series")
    if not any(each.holds(height) for height in heights_mm):
        raise CorrectionError(
            f"no image lies between {each.low_mm:g} and {each.high_mm:g} mm; those of the series lie "
            f"between {min(heights_mm):g} and {max(heights_mm):g} mm"
        )


def region_at(ranges: Sequence[Range], z_mm: float | None) -> str | None:
    """Return the region of an image at a height; None where there is none, or where two meet."""
    found = {each.region for each in ranges if each.holds(z_mm)}
    return found.pop() if len(found) == 1 else None


def named(ranges: Sequence[Range], heights_mm: Sequence[float]) -> SeriesTerm:
    """Name a series by the regions that its images have under a correction (rules/terms.py)."""
    if any(each.whole for each in ranges) or not heights_mm:
        return series_term(dict.fromkeys((each.region for each in ranges), 1.0))
    heights = np.sort(np.asarray(heights_mm, dtype=np.float64))
    extents: dict[str, float] = {}
    for height, extent in zip(heights, extents_mm(heights), strict=True):
        region = region_at(ranges, float(height))
        if region is not None:
            extents[region] = extents.get(region, 0.0) + float(extent)
    return series_term(extents)


def carried(ranges: Sequence[Range], images: Sequence[tuple[float, str | None]]) -> tuple[Range, ...] | None:
    """Return what a correction says of another series of the same Frame of Reference; None if nothing.

    `images` are the heights and regions of that series. Those that the correction does not reach keep theirs.
    """
    if any(each.whole for each in ranges):
        return None
    known = [each for each in ranges if any(each.holds(height) for height, _ in images)]
    if not known:
        return None
    regions = [
        (height, region_at(known, height) if any(each.holds(height) for each in known) else region)
        for height, region in sorted(images, key=lambda image: image[0])
    ]
    found = []
    for region, run in groupby(regions, key=lambda image: image[1]):
        heights = [height for height, _ in run]
        if region in BY_KEY:
            found.append(Range(str(region), heights[0], heights[-1]))
    return tuple(found)
