"""Drawings: pieces without holes, labels that do not overlap, round numbers, well-formed markup."""

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.web import drawing
from node.web.drawing import MAXIMUM_MARKS, Mark, Piece, Scale, spaced, ticks
from rules.verdict import Span

SPANS = (
    Span("abdomen", 0.0, 35.0, 8, 0.9),
    Span("chest", 40.0, 95.0, 12, 0.8),
    Span("neck", 100.0, 100.0, 1, 0.7),
)
SCALE = Scale(-2.5, 101.0, 300.0)


def svg(markup: str) -> ET.Element:
    """Read markup as XML: what is not well-formed fails."""
    return ET.fromstring(markup)  # noqa: S314 - made here


def test_pieces_meet_in_the_middle() -> None:
    """Between two regions the border lies half-way; the ends reach half a step further."""
    found = drawing.pieces(SPANS[::-1])
    assert [(each.low_mm, each.high_mm) for each in found] == [(-2.5, 37.5), (37.5, 97.5), (97.5, 101.0)]


def test_the_mini_band_begins_at_the_head() -> None:
    """The first bar, on the left, is the region nearest to the head; without spans there is nothing."""
    bars = [each.get("class") for each in svg(drawing.mini_band(SPANS)) if each.tag == "rect"]
    assert bars == ["r-neck", "r-chest", "r-abdomen"]
    assert drawing.mini_band(()) == ""


def test_the_head_is_at_the_top_of_the_band() -> None:
    """Bars and marks of what lies nearer to the head stand higher."""
    found = drawing.pieces(SPANS)
    bars = [each for each in svg(drawing.band(SCALE, found)) if each.tag == "rect"]
    places = {each.get("class"): float(each.get("y") or "nan") for each in bars}
    assert places["r-neck"] < places["r-chest"] < places["r-abdomen"]
    marks = [Mark(0.0, "abdomen", 0.9), Mark(95.0, "chest", 0.4)]
    points = [each for each in svg(drawing.confidence_plot(SCALE, found, marks, 0.5)) if each.tag == "circle"]
    assert float(points[0].get("cy") or "nan") < float(points[1].get("cy") or "nan")
    assert float(points[0].get("cx") or "nan") < float(points[1].get("cx") or "nan")


def test_what_was_corrected_stands_beside_the_verdict() -> None:
    """Two bands with their names; the labels are those of the correction."""
    corrected = [Piece("pelvis", 0.0, 95.0, None, 0)]
    drawn = svg(drawing.band(SCALE, drawing.pieces(SPANS), corrected))
    texts = [each.text for each in drawn if each.tag == "text"]
    assert {"verdict", "corrected", "pelvis"} <= set(texts)
    assert "chest 0.80" not in texts


def test_names_from_elsewhere_stay_text() -> None:
    """A region that is none becomes neither class nor markup."""
    odd = '"/><script>'
    drawn = drawing.band(SCALE, drawing.pieces([Span(odd, 0.0, 50.0, 5, 0.5)]))
    assert "<script" not in drawn
    assert [each.get("class") for each in svg(drawn) if each.tag == "rect"] == ["r-other"]


def test_thousands_of_images_become_a_line() -> None:
    """Of more images than can be told apart only the line is drawn, with its least sure ones."""
    marks = [Mark(position / 50, "chest", 0.1 if position == 2500 else 0.9) for position in range(5000)]
    drawn = svg(drawing.confidence_plot(Scale(0, 100, 300), (), marks, 0.5))
    assert [each for each in drawn if each.tag == "circle"] == []
    [curve] = [each.get("d") or "" for each in drawn if each.get("class") == "curve"]
    across = [float(pair.split()[0]) for pair in curve[1:].split("L")]
    assert len(across) < 2 * MAXIMUM_MARKS
    assert min(across) < max(across) - 100


def test_one_place_has_no_scale() -> None:
    """Images in one place, or with positions that are no numbers, are not drawn along the body."""
    assert drawing.scale_of([Mark(5.0, "chest", 0.9)], (), (), 300) is None
    assert drawing.scale_of([Mark(float("nan"), "chest", 0.9), Mark(1.0, "chest", 0.9)], (), (), 300) is None


@given(st.lists(st.floats(0, 500), max_size=40))
def test_labels_keep_their_order_and_distance(wanted: list[float]) -> None:
    """Whatever is wanted, labels stay inside, in order, and apart as far as there is room."""
    places = spaced(sorted(wanted), 15.0, 10.0, 400.0)
    assert len(places) == len(wanted)
    step = min(15.0, 390.0 / max(1, len(wanted) - 1))
    assert all(b - a >= step - 1e-6 for a, b in pairwise(places))
    assert all(10.0 - 1e-6 <= each <= 400.0 + 1e-6 for each in places)


@pytest.mark.parametrize(("low", "high"), [(-3.0, 7.0), (0.0, 1800.0), (-412.5, -301.0), (1e5, 1e5 + 3)])
def test_ticks_are_round_and_few(low: float, high: float) -> None:
    """Ticks lie inside, at one step of 1, 2 or 5."""
    found = ticks(low, high, 8)
    assert 1 <= len(found) <= 9
    assert all(low <= each <= high for each in found)
    steps = {round(b - a, 6) for a, b in pairwise(found)}
    assert len(steps) <= 1
    assert all(f"{step:.0e}"[0] in "125" for step in steps)
