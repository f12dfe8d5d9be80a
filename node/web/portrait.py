"""The portrait of a series: strips, band, confidence and tiles, put together for its page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from markupsafe import Markup

from db.queries import ImageRow, SeriesRow
from model.regions import UNKNOWN
from node.sheet import Layout, Part
from node.web import drawing
from node.web.drawing import Mark, Piece, Scale
from rules.correction import Range
from rules.decide import TOGETHER

LOW: Final = 240.0
HIGH: Final = 560.0
"""Least and greatest height of the drawing, in CSS pixels."""

_STRETCHED: Final = 1.25


@dataclass(frozen=True, slots=True)
class Tile:
    """One image as a picture; `region` is "" where it was not classified."""

    picture: Markup
    region: str
    confidence: float | None
    position_mm: float | None
    css: str


@dataclass(frozen=True, slots=True)
class Portrait:
    """What the page shows of the images; any part of it may be empty.

    `stretched` says how many times too long the strips are drawn, 0 where they are true. `lengthwise`: the
    planes of the images lie along the body, so each shows all of it, and there is no order to draw.
    """

    strips: tuple[Markup, ...]
    band: Markup
    plot: Markup
    tiles: tuple[Tile, ...]
    stretched: float = 0.0
    lengthwise: bool = False


def portrait(
    row: SeriesRow,
    images: Sequence[ImageRow],
    layout: Layout | None,
    address: str,
    minimum_confidence: float,
    corrected: Sequence[Range] = (),
) -> Portrait:
    """Draw a series; `layout` is that of the picture at `address`, None where there is none.

    `corrected` is what a person said of it.
    """
    found, marks = drawing.pieces(row.spans), tuple(_marks(images))
    strips = layout.strips if layout is not None else ()
    scale = _scale(marks, found, strips)
    tiles = tuple(_tiles(layout, address, marks)) if layout is not None else ()
    if row.rule == TOGETHER:
        return Portrait((), Markup(""), Markup(""), tiles, lengthwise=True)
    if scale is None or not found:
        return Portrait((), Markup(""), Markup(""), tiles)
    stretched = max((drawing.stretched(part, scale) for part in strips), default=0.0)
    assert layout is not None or not strips  # noqa: S101 - strips are of the layout
    return Portrait(
        tuple(drawing.strip(scale, part, layout, address, found) for part in strips if layout is not None),
        drawing.band(scale, found, [_piece(each, scale) for each in corrected]),
        drawing.confidence_plot(scale, found, marks, minimum_confidence),
        tiles,
        stretched if stretched > _STRETCHED else 0.0,
    )


def _scale(marks: Sequence[Mark], found: Sequence[Piece], strips: Sequence[Part]) -> Scale | None:
    """Choose the height: true to the strips where that is neither too low nor too high."""
    edges = [edge for part in strips for edge in (part.top_mm, part.bottom_mm) if edge is not None]
    scale = drawing.scale_of(marks, found, edges, LOW)
    if scale is None:
        return None
    wanted = [_true_height(scale, part) for part in strips]
    least = max(LOW, 18.0 * min(len(found), 24))
    return replace(scale, height=min(HIGH, max(least, min(wanted, default=LOW))))


def _piece(each: Range, scale: Scale) -> Piece:
    """Draw what a person said of a part of the body, or of all of it; nobody asks how sure a person is."""
    low = scale.low_mm if each.low_mm is None else each.low_mm
    high = scale.high_mm if each.high_mm is None else each.high_mm
    return Piece(each.region, max(low, scale.low_mm), min(high, scale.high_mm), None, 0)


def _true_height(scale: Scale, part: Part) -> float:
    """Return the height of the whole scale at which a strip of full width is neither long nor wide."""
    assert part.top_mm is not None and part.bottom_mm is not None  # noqa: S101, PT018 - it is a strip
    share = (scale.high_mm - scale.low_mm) / (part.top_mm - part.bottom_mm)
    return drawing.STRIP / part.width * part.height * share


def _marks(images: Sequence[ImageRow]) -> Iterator[Mark]:
    """Give one mark for each classified image, or frame of one."""
    for number, image in enumerate(images, 1):
        if image.conflict is not None:
            continue
        if image.frames:
            for index, frame in enumerate(image.frames):
                if frame.position_mm is not None and frame.region is not None:
                    key = f"{image.sop_instance_uid}/{index}"
                    name = f"image {number}, frame {index + 1}"
                    yield Mark(frame.position_mm, frame.region, frame.confidence or 0.0, name, key)
        elif image.position_mm is not None and image.region is not None:
            key = f"{image.sop_instance_uid}/-1"
            yield Mark(image.position_mm, image.region, image.confidence or 0.0, f"image {number}", key)


def _tiles(layout: Layout, address: str, marks: Sequence[Mark]) -> Iterator[Tile]:
    known: Mapping[str, Mark] = {mark.key: mark for mark in marks}
    ordered = sorted(layout.tiles, key=lambda part: -_place(known, part))
    for part in ordered if known else layout.tiles:
        mark = known.get(f"{part.sop_instance_uid}/{part.frame}")
        told = "image" if mark is None else f"{mark.position_mm:.0f} mm: {mark.region}"
        picture = drawing.tile(part, layout, address, told)
        if mark is None:
            yield Tile(picture, "", None, None, "r-none")
        else:
            css = drawing.css(mark.region)
            yield Tile(picture, mark.region or UNKNOWN, mark.confidence, mark.position_mm, css)


def _place(known: Mapping[str, Mark], part: Part) -> float:
    mark = known.get(f"{part.sop_instance_uid}/{part.frame}")
    return mark.position_mm if mark is not None else float("-inf")
