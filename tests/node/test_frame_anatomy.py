"""Tests of relabelled Enhanced objects: Frame Anatomy shared or per frame, no side guessed, all else kept."""

from pathlib import Path

import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset

from node.relabelling.relabel import read_incoming
from node.relabelling.tags import PER_FRAME_GROUPS, SHARED_GROUPS
from tests.builders import Recipe
from tests.multiframe import Anatomy, Enhanced, enhanced, write_enhanced
from tests.relabelled import DECLARED, assert_faithful, raw_elements, relabel

GROUPS = frozenset({SHARED_GROUPS, PER_FRAME_GROUPS})
KNEE = {"term": "KNEE", "code_value": "72696002", "code_meaning": "Knee", "paired": True}
CHEST, ABDOMEN, SERIES = "816094009", "818981001", "416550000"
NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)


def anatomy(groups: Dataset) -> Anatomy:
    """Return what Frame Anatomy of an item of functional groups says; one item, one region."""
    [one] = groups.FrameAnatomySequence
    [region] = one.AnatomicRegionSequence
    return one.FrameLaterality, region.CodeValue


def said(data_set: Dataset) -> Anatomy | list[Anatomy]:
    """Return the shared Frame Anatomy, or that of each frame; it must not stand in both."""
    [shared] = data_set.SharedFunctionalGroupsSequence
    frames = data_set.PerFrameFunctionalGroupsSequence
    if "FrameAnatomySequence" in shared:
        assert not any("FrameAnatomySequence" in frame for frame in frames)
        return anatomy(shared)
    return [anatomy(frame) for frame in frames]


def relabelled(folder: Path, what: Enhanced, **changes: object) -> Dataset:
    """Relabel an Enhanced object; everything but the declared elements must stay."""
    path, copy = write_enhanced(folder, what), folder / "copy.dcm"
    assert relabel(path, copy, **changes)
    assert_faithful(path, copy, DECLARED | GROUPS)
    assert not relabel(copy, folder / "again.dcm", **changes)
    return dcmread(copy)


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("before", [None, ("U", "69536005"), [("U", "69536005")] * 3])
def test_frames_of_one_region_share_it(
    syntax: str, undefined: bool, before: Anatomy | list[Anatomy] | None, tmp_path: Path
) -> None:
    """Whatever stood there, in whichever encoding: one region of all frames is written once, shared."""
    what = Enhanced(Recipe(n=3, transfer_syntax=syntax), before, undefined_lengths=undefined)
    after = relabelled(tmp_path, what, frame_regions=("chest",) * 3)
    assert said(after) == ("U", CHEST)
    assert after.BodyPartExamined == "CHESTABDOMEN"
    assert "AnatomicRegionSequence" not in after
    assert "Laterality" not in after


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("before", [None, ("U", "69536005"), [("U", "69536005")] * 3])
def test_frames_of_several_regions_have_their_own(
    syntax: str, undefined: bool, before: Anatomy | list[Anatomy] | None, tmp_path: Path
) -> None:
    """Different regions stand in each frame's own functional groups, and no longer in the shared ones."""
    what = Enhanced(Recipe(n=3, transfer_syntax=syntax), before, undefined_lengths=undefined)
    after = relabelled(tmp_path, what, frame_regions=("chest", "abdomen", None))
    assert said(after) == [("U", CHEST), ("U", ABDOMEN), ("U", SERIES)]


def test_unknown_frames_and_late_objects_get_the_code_of_the_series(tmp_path: Path) -> None:
    """Without a region for each frame, the code of the series' term is shared."""
    for index, regions in enumerate([(), ("chest",), ("unknown", None, "unknown")]):
        after = relabelled(tmp_path / str(index), Enhanced(Recipe(n=3)), frame_regions=regions)
        assert said(after) == ("U", SERIES)


@pytest.mark.parametrize("side", ["L", "R", "B"])
def test_a_known_side_stays(side: str, tmp_path: Path) -> None:
    """Frame Laterality of a paired region stays as it came, shared or per frame."""
    knees = ("knee",) * 3
    after = relabelled(
        tmp_path / "shared", Enhanced(Recipe(n=3), (side, "69536005")), frame_regions=knees, **KNEE
    )
    assert said(after) == (side, "72696002")
    before = [("L", "1"), ("R", "1"), (side, "1")]
    after = relabelled(tmp_path / "own", Enhanced(Recipe(n=3), before), frame_regions=knees, **KNEE)
    assert said(after) == [(each, "72696002") for each, _ in before]
    assert "Laterality" not in after


def test_the_side_of_the_series_is_the_side_of_its_frames(tmp_path: Path) -> None:
    """Where Laterality says R, the frames' new anatomy says so, too."""
    what = Enhanced(Recipe(n=2, overrides={"Laterality": "R"}))
    after = relabelled(tmp_path, what, frame_regions=("knee",) * 2, **KNEE)
    assert said(after) == ("R", "72696002")
    assert after.Laterality == "R"


def test_an_unknown_side_is_not_guessed(tmp_path: Path) -> None:
    """A paired region without a side gets no new Frame Anatomy, and an empty Laterality."""
    after = relabelled(tmp_path / "a", Enhanced(Recipe(n=2)), frame_regions=("knee",) * 2, **KNEE)
    assert "FrameAnatomySequence" not in after.SharedFunctionalGroupsSequence[0]
    assert (after.BodyPartExamined, after.Laterality) == ("KNEE", "")
    after = relabelled(tmp_path / "b", Enhanced(Recipe(n=2), ("U", "1")), frame_regions=("knee",) * 2, **KNEE)
    assert said(after) == ("U", "72696002")
    assert "Laterality" not in after


def test_a_paired_region_without_a_side_gets_the_unpaired_code_of_its_series(tmp_path: Path) -> None:
    """In a series of pelvis and legs, a frame that shows both knees carries the series' code, not a guess."""
    legs = {
        "term": "PELVISLOWEXTREMT",
        "code_value": "1231522001",
        "code_meaning": "Pelvis and lower extremities",
    }
    after = relabelled(tmp_path, Enhanced(Recipe(n=2)), frame_regions=("pelvis", "knee"), **legs)
    assert said(after) == [("U", "816092008"), ("U", "1231522001")]


@pytest.mark.parametrize("before", [("L", "72696002"), [("U", "1"), ("R", "72696002")]])
def test_a_side_beside_an_unpaired_term_is_for_a_person(
    before: Anatomy | list[Anatomy], tmp_path: Path
) -> None:
    """A frame with a side, in a series whose term has none, keeps the object as it is."""
    path = write_enhanced(tmp_path, Enhanced(Recipe(n=2), before))
    assert not relabel(path, tmp_path / "copy.dcm", frame_regions=("chest",) * 2)
    assert not read_incoming(path, NATIVE[1], 1 << 30).lateralities.isdisjoint({"L", "R"})


def test_the_whole_previous_sequence_is_recorded(tmp_path: Path) -> None:
    """Where something within a sequence changed, its whole value is recorded (PS3.3 C.12.1.1.9)."""
    what = Enhanced(Recipe(n=3), [("U", "69536005")] * 3, undefined_lengths=True)
    after = relabelled(tmp_path, what, frame_regions=("chest", "abdomen", "chest"))
    before = enhanced(what)
    [record] = after.OriginalAttributesSequence
    [previous] = record.ModifiedAttributesSequence
    assert previous.PerFrameFunctionalGroupsSequence == before.PerFrameFunctionalGroupsSequence
    assert "SharedFunctionalGroupsSequence" not in previous
    assert previous.BodyPartExamined == "CHEST"
    assert record.ReasonForTheAttributeModification == "CORRECT"


@pytest.mark.parametrize("before", [None, ("U", "69536005"), [("U", "69536005")] * 3])
@pytest.mark.parametrize("regions", [("chest",) * 3, ("chest", "abdomen", "pelvis")])
def test_nothing_else_in_the_functional_groups_changes(
    before: Anatomy | list[Anatomy] | None, regions: tuple[str, ...], tmp_path: Path
) -> None:
    """All other groups, and what else Frame Anatomy held, stay as they are."""
    what = Enhanced(Recipe(n=3), before)
    after, original = relabelled(tmp_path, what, frame_regions=regions), enhanced(what)
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for old, new in zip(getattr(original, keyword), getattr(after, keyword), strict=True):
            for item in (old, new):
                item.pop("FrameAnatomySequence", None)
            assert old == new
    if before is not None:
        [shared] = dcmread(tmp_path / "copy.dcm").SharedFunctionalGroupsSequence
        holders = (
            [shared]
            if regions[0] == regions[1]
            else dcmread(tmp_path / "copy.dcm").PerFrameFunctionalGroupsSequence
        )
        for groups in holders:
            [structure] = groups.FrameAnatomySequence[0].PrimaryAnatomicStructureSequence
            assert structure.CodeMeaning == "Brain"


def test_frames_without_change_keep_their_bytes(tmp_path: Path) -> None:
    """Where only the shared item changes, the per-frame sequence is the received one, byte for byte."""
    path, copy = write_enhanced(tmp_path, Enhanced(Recipe(n=3), ("U", "69536005"))), tmp_path / "copy.dcm"
    assert relabel(path, copy, frame_regions=("chest",) * 3)
    assert raw_elements(copy)[PER_FRAME_GROUPS] == raw_elements(path)[PER_FRAME_GROUPS]


def test_an_object_that_says_the_same_is_left_alone(tmp_path: Path) -> None:
    """The term and fitting regions already there: nothing is added, whichever fitting ones they are."""
    recipe = Recipe(n=2, body_part="CHESTABDOMEN")
    for index, before in enumerate([None, ("U", SERIES), [("U", CHEST), ("U", ABDOMEN)], ("U", "10200004")]):
        path = write_enhanced(tmp_path / str(index), Enhanced(recipe, before))
        assert not relabel(path, tmp_path / "copy.dcm", frame_regions=("chest", "abdomen"))


def test_a_contradicting_region_beside_the_right_term_is_replaced(tmp_path: Path) -> None:
    """Frame Anatomy that names another place is never left beside the term."""
    recipe = Recipe(n=2, body_part="CHESTABDOMEN")
    after = relabelled(tmp_path, Enhanced(recipe, ("U", "69536005")), frame_regions=("chest", "abdomen"))
    assert said(after) == [("U", CHEST), ("U", ABDOMEN)]
    assert after.BodyPartExamined == "CHESTABDOMEN"


@pytest.mark.parametrize(
    ("body_part", "anatomies", "parts"),
    [
        (None, ("U", CHEST), {CHEST}),
        (None, [("U", CHEST), ("U", ABDOMEN)], set()),
        (None, None, {""}),
        ("HEAD", ("U", CHEST), {"HEAD"}),
    ],
)
def test_what_an_enhanced_object_says_is_read(
    body_part: str | None, anatomies: Anatomy | list[Anatomy] | None, parts: set[str], tmp_path: Path
) -> None:
    """Without Body Part Examined the regions of the frames speak; with it they are held against the term."""
    path = write_enhanced(tmp_path, Enhanced(Recipe(n=2, body_part=body_part), anatomies))
    incoming = read_incoming(path, NATIVE[1], 1 << 30)
    assert incoming.body_parts == parts
    assert incoming.codes == (set() if anatomies is None else {CHEST, ABDOMEN} & incoming.codes)
    assert bool(incoming.codes) == (anatomies is not None)


def test_damaged_functional_groups_are_passed_on(tmp_path: Path) -> None:
    """Groups that hold no items, or are none at all, keep the object as it is."""
    path = write_enhanced(tmp_path, Enhanced(Recipe(n=2), ("U", CHEST)))
    raw = path.read_bytes()
    at = raw.index(b"\x00\x52\x30\x92SQ") + 12
    path.write_bytes(raw[:at] + b"\x10\x00" + raw[at + 2 :])
    assert not relabel(path, tmp_path / "copy.dcm")
    assert read_incoming(path, NATIVE[1], 1 << 30).body_parts == {""}
