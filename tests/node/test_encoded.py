"""Tests of the walk over encoded data sets."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from node.relabelling.encoded import EncodedError, Syntax, deflate, elements, inflate
from node.relabelling.part10 import meta_end
from tests.builders import bundled, real_images

IMPLICIT = Syntax(explicit=False, little=True)
EXPLICIT = Syntax(explicit=True, little=True)


def nested(levels: int) -> bytes:
    """Encode sequences of undefined length, one inside the other."""
    head = struct.pack("<HHI", 0x0040, 0xA730, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    tail = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return head * levels + tail * levels


@pytest.mark.parametrize("path", real_images(), ids=lambda path: path.name)
def test_finds_the_same_elements_as_pydicom(path: Path) -> None:
    """In every transfer syntax the walk meets pydicom's tags, in its order, and ends at the last byte."""
    expected = dcmread(path)
    syntax_uid = str(expected.file_meta.TransferSyntaxUID)
    data = path.read_bytes()[meta_end(path) :]
    data = inflate(data, 1 << 30) if syntax_uid.endswith(".99") else data
    found = list(elements(data, Syntax.of(syntax_uid)))
    assert [each.tag for each in found] == [int(tag) for tag in expected.keys()]  # noqa: SIM118 - a data set
    assert found[-1].end == len(data)


def test_truncated_value_is_refused() -> None:
    """A length that goes beyond the data is an error that names the element."""
    path = bundled("MR_truncated.dcm")
    data = path.read_bytes()[meta_end(path) :]
    with pytest.raises(EncodedError, match=r"\(7FE0,0010\) declares 8192 bytes but \d+ are left"):
        list(elements(data, EXPLICIT))


def test_truncation_anywhere_is_noticed_or_leaves_whole_elements() -> None:
    """Cut at any byte, the walk either raises EncodedError or ends between two elements."""
    path = bundled("CT_small.dcm")
    data = path.read_bytes()[meta_end(path) :][:3000]
    whole = {each.end for each in elements(path.read_bytes()[meta_end(path) :], EXPLICIT)} | {0}
    for cut in range(len(data)):
        try:
            list(elements(data[:cut], EXPLICIT))
        except EncodedError:
            continue
        assert cut in whole


def test_nesting_is_capped() -> None:
    """Thirty-two levels are walked, a thousand are refused without recursion trouble."""
    assert len(list(elements(nested(32), IMPLICIT))) == 1
    with pytest.raises(EncodedError, match="deeper than 32"):
        list(elements(nested(1000), IMPLICIT))


def test_missing_delimiter_is_refused() -> None:
    """A sequence of undefined length that never ends is an error."""
    with pytest.raises(EncodedError, match="ends within an element header"):
        list(elements(nested(1)[:-8], IMPLICIT))


def test_stray_item_is_refused() -> None:
    """An item outside of any sequence is an error."""
    with pytest.raises(EncodedError, match="item stands outside"):
        list(elements(struct.pack("<HHI", 0xFFFE, 0xE000, 0), IMPLICIT))


def test_explicit_vr_must_be_letters() -> None:
    """Implicit data read as explicit is refused, not misread."""
    path = bundled("MR_small_implicit.dcm")
    data = path.read_bytes()[meta_end(path) :]
    with pytest.raises(EncodedError, match="no value representation"):
        list(elements(data, EXPLICIT))


def test_inflation_is_capped() -> None:
    """A deflate bomb stops at the cap, without the memory for the rest."""
    bomb = BytesIO()
    machine = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    for _ in range(64):
        bomb.write(machine.compress(bytes(1 << 20)))
    bomb.write(machine.flush())
    with pytest.raises(EncodedError, match="more than 1048576 bytes"):
        inflate(bomb.getvalue(), 1 << 20)


def test_deflated_data_comes_back() -> None:
    """Deflating and inflating gives the same bytes, at an even length in between."""
    packed = b"".join(deflate([b"odd"]))
    assert len(packed) % 2 == 0
    assert inflate(packed, 100) == b"odd"


@pytest.mark.parametrize("damage", [b"", b"\x07garbage", b"".join(deflate([bytes(5000)]))[:9]])
def test_broken_deflate_is_refused(damage: bytes) -> None:
    """Nothing, garbage and a cut stream are errors."""
    with pytest.raises(EncodedError, match="deflated"):
        inflate(damage, 100_000)


@given(st.binary(max_size=400), st.sampled_from([IMPLICIT, EXPLICIT, Syntax(explicit=True, little=False)]))
def test_any_bytes_end_in_elements_or_an_error(data: bytes, syntax: Syntax) -> None:
    """Whatever a peer sends, the walk ends and never leaves the buffer."""
    try:
        ends = [each.end for each in elements(data, syntax)]
    except EncodedError:
        return
    assert ends == sorted(ends)
    assert not ends or ends[-1] == len(data)
