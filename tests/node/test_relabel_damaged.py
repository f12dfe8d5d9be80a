"""Tests that no damage makes relabelling raise: a copy is made that can be walked, or none."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import uid

from model.frames import read_headers
from model.gate import reason
from model.read import NotDicomError
from node.relabelling.coercion import NEW_SERIES, WRITE
from node.relabelling.part10 import meta_end
from node.relabelling.relabel import read_incoming
from tests.builders import Recipe, write
from tests.multiframe import Enhanced, write_enhanced
from tests.relabelled import raw_elements, relabel

SYNTAXES = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
FAST = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def sources(folder: Path) -> dict[tuple[str, bool], Path]:
    """Write a classic and an Enhanced object in each native encoding."""
    found: dict[tuple[str, bool], Path] = {}
    for syntax in SYNTAXES:
        recipe = Recipe(n=2, rows=16, columns=16, transfer_syntax=syntax, private=((1, "LO", "kept"),))
        found[syntax, False] = write(folder / syntax, recipe)[0]
        what = Enhanced(recipe, [("U", "1")] * 2, undefined_lengths=syntax == SYNTAXES[1])
        found[syntax, True] = write_enhanced(folder / f"{syntax}.99", what)
    return found


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], Path]:
    """The objects that are damaged."""
    return sources(tmp_path_factory.mktemp("originals"))


damages = st.lists(
    st.tuples(st.integers(0, 10**6), st.one_of(st.binary(min_size=1, max_size=8), st.none())),
    min_size=1,
    max_size=4,
)
"""(where, bytes that are written there), or None to cut the data set off there."""


@pytest.mark.filterwarnings("ignore")  # pydicom has something to say of damaged values
@FAST
@given(
    syntax=st.sampled_from(SYNTAXES),
    enhanced=st.booleans(),
    damage=damages,
    policy=st.sampled_from([WRITE, NEW_SERIES]),
)
def test_no_damage_makes_it_raise(
    originals: dict[tuple[str, bool], Path],
    tmp_path: Path,
    syntax: str,
    enhanced: bool,
    damage: list[tuple[int, bytes | None]],
    policy: str,
) -> None:
    """Whatever bytes of the data set are changed or cut off, relabelling and reading give an answer."""
    original = originals[syntax, enhanced]
    raw, start = bytearray(original.read_bytes()), meta_end(original)
    for place, new in damage:
        at = start + place % max(1, len(raw) - start)
        raw[at : at + len(new or raw)] = new or b""
    path, copy = tmp_path / "in.dcm", tmp_path / "copy.dcm"
    path.write_bytes(raw)
    copy.unlink(missing_ok=True)
    if relabel(path, copy, policy=policy, frame_regions=("chest", "abdomen")):
        assert raw_elements(copy)
    else:
        assert not copy.exists()
    read_incoming(path, syntax, 1 << 20)
    try:
        headers = read_headers(path)
    except NotDicomError:
        return
    assert headers
    assert all(reason(header) != "" for header in headers)
