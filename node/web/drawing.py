"""Drawings of pages as SVG: regions as a coloured band along the body, and each image's confidence beside it.

Pure functions, numbers and escaped text in, markup out. Colours are classes of static/regions.css, so that a
drawing needs no style of its own and follows the reader's light or dark mode.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from markupsafe import Markup

from model.regions import BY_KEY, UNKNOWN
from node.sheet import Layout, Part
from rules.verdict import Span

MAXIMUM_MARKS: Final = 400
"""Images that get a mark and a tooltip of their own; of more only the line is drawn."""

_MINI: Final = (160, 10)
_BAND: Final = 26
_LABELS: Final = 104
_PLOT: Final = 270
STRIP: Final = 220
_AXIS: Final = 46
_TOP: Final = 26
_LINE: Final = 15
"""Least distance of two labels."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One image, or frame: where it lies along the body, what it shows, and how sure that is."""

    position_mm: float
    region: str
    confidence: float
    name: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the body with one region: from the middle between it and its neighbours on both sides.

    `confidence` is None, and `images` 0, where a person said so.
    """

    region: str
    low_mm: float
    high_mm: float
    confidence: float | None
    images: int

    @property
    def label(self) -> str:
        """The region, and how sure that is."""
        return self.region if self.confidence is None else f"{self.region} {self.confidence:.2f}"


@dataclass(frozen=True, slots=True)
class Scale:
    """From mm along the body to the drawing: the head is at the top."""

    low_mm: float
    high_mm: float
    height: float

    def y(self, position_mm: float) -> float:
        """Return how far down a position is."""
        return _TOP + (self.high_mm - position_mm) / (self.high_mm - self.low_mm) * self.height


def css(region: str) -> str:
    """Return the class that gives a region its colour."""
    return f"r-{region}" if region in BY_KEY or region == UNKNOWN else "r-other"


def pieces(spans: Sequence[Span]) -> tuple[Piece, ...]:
    """Turn spans, from the feet up, into pieces without holes; each end reaches half a step further."""
    found = []
    ordered = sorted(spans, key=lambda span: (min(span.first_mm, span.last_mm), span.last_mm))
    for index, span in enumerate(ordered):
        low, high = sorted((span.first_mm, span.last_mm))
        half = (high - low) / (span.images - 1) / 2 if span.images > 1 else 1.0
        below = (
            (max(ordered[index - 1].last_mm, ordered[index - 1].first_mm) + low) / 2 if index else low - half
        )
        above = (
            (high + min(ordered[index + 1].first_mm, ordered[index + 1].last_mm)) / 2
            if index + 1 < len(ordered)
            else high + half
        )
        found.append(Piece(span.region, min(below, low), max(above, high), span.confidence, span.images))
    return tuple(found)


def mini_band(spans: Sequence[Span]) -> Markup:
    """Draw the regions of a series as a thin bar, head on the left; nothing without spans."""
    found = pieces(spans)
    if not found:
        return Markup("")
    width, height = _MINI
    low, high = min(each.low_mm for each in found), max(each.high_mm for each in found)
    bars = []
    for each in reversed(found):
        left = (high - each.high_mm) / max(high - low, 1e-6) * width
        wide = (each.high_mm - each.low_mm) / max(high - low, 1e-6) * width
        bars.append(
            Markup('<rect class="{}" x="{}" y="0" width="{}" height="{}"><title>{}</title></rect>').format(
                css(each.region), _n(left), _n(max(wide, 1)), height, _told(each)
            )
        )
    return Markup(
        '<svg class="mini" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(width, height, ", ".join(each.region for each in reversed(found)), Markup("").join(bars))


def scale_of(
    marks: Sequence[Mark], found: Sequence[Piece], edges: Iterable[float], height: float
) -> Scale | None:
    """Return the scale that shows all of it; None where everything lies in one place."""
    ends = [mark.position_mm for mark in marks] + [*edges]
    ends += [end for each in found for end in (each.low_mm, each.high_mm)]
    if not ends or not all(map(math.isfinite, ends)) or max(ends) - min(ends) < 0.5:
        return None
    return Scale(min(ends), max(ends), height)


def strip(scale: Scale, part: Part, layout: Layout, address: str, verdict: Sequence[Piece]) -> Markup:
    """Show a strip of the sheet at `address` over the scale, with lines where the region changes."""
    assert part.top_mm is not None and part.bottom_mm is not None  # noqa: S101, PT018 - it is a strip
    top, bottom = scale.y(part.top_mm), scale.y(part.bottom_mm)
    width = strip_width(part, bottom - top)
    left, right = ("R", "L") if part.kind == "coronal" else ("A", "P")
    inside = [
        _text(width / 2, _TOP - 12, part.kind, "caption middle"),
        _cut(part, layout, address, (0, top, width, bottom - top), "none"),
        *_borders(scale, verdict, width),
        _text(5, top + 14, left, "side"),
        _text(width - 5, top + 14, right, "side end"),
    ]
    return _svg(f"strip {part.kind}", width, scale.height, f"{part.kind} view", inside)


def strip_width(part: Part, height: float) -> float:
    """Return how wide a strip of this height is: as wide as is true, but it must fit beside the band."""
    return min(STRIP, max(60.0, part.width * height / part.height))


def stretched(part: Part, scale: Scale) -> float:
    """Return how many times longer than wide a strip is drawn, 1 where it is true."""
    assert part.top_mm is not None and part.bottom_mm is not None  # noqa: S101, PT018 - it is a strip
    height = scale.y(part.bottom_mm) - scale.y(part.top_mm)
    return (height / part.height) / (strip_width(part, height) / part.width)


def tile(part: Part, layout: Layout, address: str, told: str) -> Markup:
    """Show one image of the sheet at `address`; `told` says what it is."""
    inside = _cut(part, layout, address, (0, 0, part.width, part.height), "xMidYMid")
    return Markup('<svg class="tile" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        part.width, part.height, told, inside
    )


def band(scale: Scale, verdict: Sequence[Piece], corrected: Sequence[Piece] = ()) -> Markup:
    """Draw axis, band and the names of the regions; what somebody corrected stands beside the verdict."""
    labels = _AXIS + _BAND + 6 + (_BAND + 4 if corrected else 0)
    inside = [*_axis(scale), *_bars(scale, verdict, _AXIS, "verdict" if corrected else "")]
    if corrected:
        inside += _bars(scale, corrected, _AXIS + _BAND + 4, "corrected")
    inside += _labels(scale, corrected or verdict, labels)
    told = "Regions along the body, head to feet: " + "; ".join(_told(each) for each in reversed(verdict))
    return _svg("band", labels + _LABELS, scale.height, told, inside)


def confidence_plot(scale: Scale, verdict: Sequence[Piece], marks: Sequence[Mark], minimum: float) -> Markup:
    """Draw each image's confidence over the same scale; below `minimum` (0..1) an image is unknown."""
    inside = [*_bars(scale, verdict, 0, "", 5), *_plot(scale, marks, 16, minimum)]
    told = f"Confidence of {len(marks)} images along the body"
    return _svg("plot", _PLOT + 12, scale.height, told, inside)


def _svg(classes: str, width: float, height: float, told: str, inside: Iterable[Markup]) -> Markup:
    whole = height + _TOP + 8
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}</svg>'
    ).format(classes, _n(width), _n(whole), _n(width), _n(whole), told, Markup("").join(inside))


def _cut(
    part: Part, layout: Layout, address: str, box: tuple[float, float, float, float], aspect: str
) -> Markup:
    """Show a part of the sheet in a box (x, y, width, height)."""
    return Markup(
        '<svg x="{}" y="{}" width="{}" height="{}" viewBox="{} {} {} {}" preserveAspectRatio="{}">'
        '<image href="{}" width="{}" height="{}"/></svg>'
    ).format(
        *map(_n, box), part.x, part.y, part.width, part.height, aspect, address, layout.width, layout.height
    )


def _borders(scale: Scale, found: Sequence[Piece], width: float) -> Iterator[Markup]:
    for below, above in pairwise(found):
        if below.region != above.region:
            y = _n(scale.y(above.low_mm))
            yield Markup('<path class="border {}" d="M0 {}h{}"/>').format(css(above.region), y, _n(width))


def _bars(
    scale: Scale, found: Sequence[Piece], x: float, caption: str, width: float = _BAND
) -> Iterator[Markup]:
    if caption:
        yield _text(x + width / 2, _TOP - 12, caption, "caption middle small")
    for each in found:
        top, bottom = scale.y(each.high_mm), scale.y(each.low_mm)
        yield Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>').format(
            css(each.region), _n(x), _n(top), _n(width), _n(max(bottom - top, 1.5)), _told(each)
        )


def _labels(scale: Scale, found: Sequence[Piece], x: float) -> Iterator[Markup]:
    """Write each piece's region beside its middle; where pieces are short the names move apart."""
    ordered = sorted(found, key=lambda each: -each.high_mm)
    middles = [scale.y((each.low_mm + each.high_mm) / 2) for each in ordered]
    places = spaced(middles, _LINE, _TOP + 6, _TOP + scale.height - 4)
    for each, middle, place in zip(ordered, middles, places, strict=True):
        yield Markup('<path class="leader" d="M{} {}L{} {}"/>').format(
            _n(x - 4), _n(middle), _n(x + 4), _n(place)
        )
        yield _text(x + 7, place + 4, each.label, "label")


def spaced(wanted: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """Return places as near to those wanted (rising) as can be, `step` apart, and between the two ends."""
    step = min(step, (high - low) / max(1, len(wanted) - 1)) if len(wanted) > 1 else step
    places: list[float] = []
    for each in wanted:
        places.append(max(each, low, places[-1] + step if places else low))
    for index in range(len(places) - 1, -1, -1):
        limit = high if index == len(places) - 1 else places[index + 1] - step
        places[index] = min(places[index], limit)
    return places


def _axis(scale: Scale) -> Iterator[Markup]:
    """Write the millimetres along the body: the patient's own, where the planes are axial."""
    yield _text(_AXIS - 8, _TOP - 12, "mm", "caption end")
    for position in ticks(scale.low_mm, scale.high_mm, max(2, int(scale.height / 48))):
        y = scale.y(position)
        yield Markup('<path class="tick" d="M{} {}h4"/>').format(_AXIS - 5, _n(y))
        yield _text(_AXIS - 8, y + 4, f"{position:.0f}", "axis end")


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers between two ends: steps of 1, 2 or 5 times a power of ten, at most `most`."""
    raw = max((high - low) / most, 1.0)
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step)
    return [step * index for index in range(first, math.floor(high / step) + 1)]


def _plot(scale: Scale, marks: Sequence[Mark], x: float, minimum: float) -> Iterator[Markup]:
    width, bottom = _PLOT - 16, _TOP + scale.height
    yield _text(x + width / 2, _TOP - 12, "confidence of each image", "caption middle")
    for share in (0.0, 0.5, 1.0):
        yield Markup('<path class="grid" d="M{} {}V{}"/>').format(_n(x + share * width), _TOP, _n(bottom))
        yield _text(x + share * width, _TOP - 1, f"{share:g}", "axis middle")
    if 0 < minimum < 1:
        yield Markup('<path class="limit" d="M{} {}V{}"><title>{}</title></path>').format(
            _n(x + minimum * width), _TOP, _n(bottom), f"below {minimum:g} an image is unknown"
        )
    ordered = sorted(marks, key=lambda mark: -mark.position_mm)
    points = [(x + _share(mark.confidence) * width, scale.y(mark.position_mm)) for mark in ordered]
    if len(points) > 1:
        yield Markup('<path class="curve" d="M{}"/>').format(
            "L".join(f"{_n(a)} {_n(b)}" for a, b in _fewer(points))
        )
    for mark, (across, down) in zip(ordered, points, strict=True) if len(points) <= MAXIMUM_MARKS else ():
        yield Markup('<circle class="{}" cx="{}" cy="{}" r="3"><title>{}</title></circle>').format(
            css(mark.region), _n(across), _n(down),
            f"{mark.name} {mark.position_mm:.1f} mm: {mark.region} {mark.confidence:.2f}".strip(),
        )  # fmt: skip


def _fewer(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep of many points the least and the most sure of each pixel of height."""
    if len(points) <= MAXIMUM_MARKS:
        return list(points)
    rows: dict[int, list[tuple[float, float]]] = {}
    for point in points:
        rows.setdefault(int(point[1]), []).append(point)
    kept = []
    for row in rows.values():
        least, most = min(row), max(row)
        kept += [least] if least == most else sorted((least, most), key=row.index)
    return kept


def _share(value: float) -> float:
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0


def _told(each: Piece) -> str:
    told = f"{each.label}, {each.low_mm:.0f} to {each.high_mm:.0f} mm"
    return f"{told} ({each.images} images)" if each.images else told


def _text(x: float, y: float, said: str, classes: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(classes, _n(x), _n(y), said)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
