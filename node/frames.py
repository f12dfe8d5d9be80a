"""What was found in the frames of a multi-frame object, put together as one result for the instance."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

from db.records import FrameResult, ImageResult
from model.read import ImageHeader


def by_instance(results: Iterable[tuple[ImageHeader, ImageResult]]) -> tuple[ImageResult, ...]:
    """Return one result for each file, in the order of the files' first results.

    The region of a multi-frame object is that of most of its classified frames (of equals the first one's),
    with their mean confidence and position; each frame's own stands in `frames`, in the object's order.
    """
    files: dict[Path, list[tuple[ImageHeader, ImageResult]]] = {}
    for header, result in results:
        files.setdefault(header.path, []).append((header, result))
    return tuple(_whole(found) for found in files.values())


def _whole(found: list[tuple[ImageHeader, ImageResult]]) -> ImageResult:
    if found[0][0].frame is None:
        return found[0][1]
    places = {header.frame.index: result for header, result in found if header.frame is not None}
    ordered = [places[index] for index in sorted(places)]
    frames = tuple(
        FrameResult(each.region, each.confidence, each.position_mm, each.reason, each.z_mm)
        for each in ordered
    )
    uid = ordered[0].sop_instance_uid
    counted = Counter(each.region for each in ordered if each.reason is None)
    if not counted:
        reasons = "; ".join(dict.fromkeys(each.reason or "" for each in ordered))
        return ImageResult(uid, None, None, None, reasons, frames)
    [(region, _)] = counted.most_common(1)
    mine = [each for each in ordered if each.reason is None and each.region == region]
    return ImageResult(
        uid,
        region,
        fmean(each.confidence or 0.0 for each in mine),
        fmean(each.position_mm or 0.0 for each in mine),
        None,
        frames,
        fmean(each.z_mm or 0.0 for each in mine) if all(each.z_mm is not None for each in mine) else None,
    )
