"""Tests of the walk over all levels of encoded data sets."""

import struct
import time
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread, dcmwrite, uid
from pydicom.dataset import Dataset

from node.intake import nesting
from node.intake.identify import KEYWORDS
from node.intake.nesting import TooMuchError, walk
from node.relabelling.encoded import EncodedError, Syntax, elements, inflate
from node.relabelling.part10 import meta_end
from tests.builders import real_images
from tests.node.hostile import measured

IMPLICIT = Syntax(explicit=False, little=True)
EXPLICIT = Syntax(explicit=True, little=True)
CONTENT = 0x0040A730
UNDEFINED = 0xFFFFFFFF


def nested(depth: int, syntax: Syntax, undefined: bool) -> bytes:
    """Encode sequences one inside the other, with defined or undefined lengths."""
    body = b""
    for _ in range(depth):
        length = UNDEFINED if undefined else len(body)
        item = struct.pack("<HHL", 0xFFFE, 0xE000, length) + body
        item += struct.pack("<HHL", 0xFFFE, 0xE00D, 0) if undefined else b""
        tag = struct.pack("<HH", CONTENT >> 16, CONTENT & 0xFFFF)
        length = UNDEFINED if undefined else len(item)
        body = tag + (b"SQ\0\0" if syntax.explicit else b"") + struct.pack("<L", length) + item
        body += struct.pack("<HHL", 0xFFFE, 0xE0DD, 0) if undefined else b""
    return body


@pytest.mark.parametrize("path", real_images(), ids=lambda path: path.name)
def test_finds_what_the_other_walk_finds(path: Path) -> None:
    """The wanted elements of real objects, in every transfer syntax."""
    syntax_uid = str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)
    data = path.read_bytes()[meta_end(path) :]
    data = inflate(data, 1 << 30) if syntax_uid.endswith(".99") else data
    syntax = Syntax.of(syntax_uid)
    expected = {each.tag: each for each in elements(data, syntax) if each.tag in KEYWORDS}
    assert walk(data, syntax, KEYWORDS) == expected


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT], ids=["implicit", "explicit"])
@pytest.mark.parametrize("undefined", [False, True], ids=["defined", "undefined"])
def test_depth_is_capped_however_lengths_are_written(syntax: Syntax, undefined: bool) -> None:
    """Thirty levels pass; 33, a thousand and a hundred thousand are refused at once."""
    walk(nested(30, syntax, undefined), syntax, ())
    for depth in (33, 1000):
        with pytest.raises(TooMuchError, match=r"\(0040,A730\) nests sequences deeper than 32"):
            walk(nested(depth, syntax, undefined), syntax, ())
    started = time.monotonic()
    with pytest.raises(TooMuchError):
        walk(nested(2000, syntax, undefined), syntax, ())
    assert measured("2000 nested sequences refused", time.monotonic() - started, "s") < 1


def test_the_number_of_elements_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set of nothing but empty elements is refused before it takes seconds."""
    monkeypatch.setattr(nesting, "MAXIMUM_ELEMENTS", 1000)
    element = struct.pack("<HHL", 0x0009, 0x0010, 0)
    walk(element * 900, IMPLICIT, ())
    with pytest.raises(TooMuchError, match="more than 1000 elements"):
        walk(element * 1100, IMPLICIT, ())


def test_the_largest_number_of_elements_takes_seconds_at_most() -> None:
    """What the cap allows is walked while others are served; the figure is kept."""
    data = struct.pack("<HHL", 0x0009, 0x0010, 0) * (nesting.MAXIMUM_ELEMENTS - 1)
    started = time.monotonic()
    walk(data, IMPLICIT, ())
    assert measured("2 million elements walked", time.monotonic() - started, "s") < 60


def test_careless_sequences_of_defined_length_are_taken() -> None:
    """Bytes that are no items, in a sequence whose length is right, do not cost an object its acceptance."""
    careless = struct.pack("<HHL", CONTENT >> 16, CONTENT & 0xFFFF, 6) + b"abcdef"
    last = struct.pack("<HHL", 0x0020, 0x000D, 2) + b"1\0"
    assert list(walk(careless + last, IMPLICIT, KEYWORDS)) == [0x0020000D]


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_length_beyond_its_level_is_refused(cut: int) -> None:
    """Cut off anywhere, nested sequences of undefined length are an error."""
    data = nested(10, EXPLICIT, undefined=True)
    with pytest.raises(EncodedError):
        walk(data[: max(1, len(data) - 1 - cut)], EXPLICIT, ())


def test_encapsulated_pixels_are_no_items_of_elements() -> None:
    """Fragments are stepped over, whatever they hold."""
    fragments = b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, 8) + b"\xff" * 8 for _ in range(3))
    pixels = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, UNDEFINED) + fragments
    assert walk(pixels + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0), EXPLICIT, ()) == {}


@given(st.binary(max_size=300), st.sampled_from([IMPLICIT, EXPLICIT, Syntax(explicit=True, little=False)]))
def test_any_bytes_end_in_elements_or_an_error(data: bytes, syntax: Syntax) -> None:
    """No input makes the walk loop, recurse or fail otherwise."""
    try:
        found = walk(data, syntax, KEYWORDS)
    except EncodedError:
        return
    assert all(each.end <= len(data) for each in found.values())


@given(st.recursive(st.just(0), lambda inner: st.lists(inner, max_size=3), max_leaves=20), st.booleans())
def test_what_pydicom_writes_is_taken(shape: object, explicit: bool) -> None:
    """Data sets of any shape, as pydicom encodes them, have their last element found."""

    def build(of: object) -> Dataset:
        made = Dataset()
        made.ContentSequence = [build(each) for each in of] if isinstance(of, list) else []
        return made

    data_set = build(shape)
    data_set.StudyInstanceUID = "1.2.3"
    out = BytesIO()
    syntax = uid.ExplicitVRLittleEndian if explicit else uid.ImplicitVRLittleEndian
    dcmwrite(out, data_set, implicit_vr=not explicit, little_endian=True, enforce_file_format=False)
    assert 0x0020000D in walk(out.getvalue(), Syntax.of(str(syntax)), KEYWORDS)
