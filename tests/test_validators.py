"""Relabelled copies before judges of others: dciodvfy and dcentvfy find nothing new."""

import warnings
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset

from model.frames import ENHANCED
from model.regions import REGIONS, Region
from node.relabelling.coercion import NEW_SERIES, WRITE
from rules.terms import COMBINATIONS, LOWER_LIMB, PELVIS_LEGS, UPPER_LIMB, WHOLE_BODY, SeriesTerm
from tests.builders import Recipe, published, real_series, write
from tests.multiframe import Anatomy, Enhanced, write_enhanced
from tests.relabelled import relabel, stored
from tests.validators import messages, new_messages

OURS = ("CT", "MR", "CR", "DX", "RG")
PACKAGED = [*sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm")), *published()]
LEFT_ALONE = {
    "MR_truncated.dcm": "ends too early",
    "no_meta.dcm": "begins with a stray byte",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "ends too early",
    "RG3_J2KI.dcm": "has Laterality R",
    "RG3_J2KR.dcm": "has Laterality R",
    "RG3_UNCI.dcm": "has Laterality R",
    "RG3_UNCR.dcm": "has Laterality R",
}
"""Images that are passed on as they came, and why."""
BAD = "bad_sequence.dcm"
"""Its SOP Instance UID is none, so that the node refuses it (test_identify)."""
TERMS = (*COMBINATIONS.values(), UPPER_LIMB, LOWER_LIMB, PELVIS_LEGS, WHOLE_BODY)
ENCODINGS = (
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian, uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless,
)  # fmt: skip


def of(region: Region) -> dict[str, Any]:
    """Return the decision that a series shows one region."""
    return {
        "term": region.term,
        "code_value": region.code.value,
        "code_meaning": region.code.meaning,
        "paired": region.paired,
        "image_region": region.key,
    }


def other_than(data_set: Dataset) -> Region:
    """Return a region that an image does not say already."""
    return next(each for each in REGIONS if each.term != data_set.get("BodyPartExamined"))


def modality(path: Path) -> str:
    """Read the modality of a file, "" where it is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return str(dcmread(path, force=True, stop_before_pixels=True).get("Modality", ""))


@pytest.mark.filterwarnings("ignore")  # pydicom has something to say of many of them
@pytest.mark.parametrize(
    "path",
    [path for path in PACKAGED if modality(path) in OURS and path.name != BAD],
    ids=lambda path: path.name,
)
@pytest.mark.parametrize("policy", [WRITE, NEW_SERIES])
def test_no_new_message_on_pydicoms_images(path: Path, policy: str, tmp_path: Path) -> None:
    """No real image of pydicom's packages gets a new message, relabelled or made anew."""
    source, copy = stored(path, tmp_path / "in.dcm"), tmp_path / "copy.dcm"
    image = dcmread(source, stop_before_pixels=True)
    without_groups = image.SOPClassUID in ENHANCED and "PerFrameFunctionalGroupsSequence" not in image
    if relabel(source, copy, **of(other_than(image)) | {"policy": policy}):
        assert new_messages(source, copy) == []
        assert path.name not in LEFT_ALONE
    else:
        assert path.name in LEFT_ALONE or (without_groups and policy == NEW_SERIES)


@pytest.mark.skipif(not real_series(), reason="the data folder is not there")
@pytest.mark.parametrize("name", sorted(real_series()))
def test_no_new_message_on_real_series(name: str, tmp_path: Path) -> None:
    """No image of the data folder gets a new message, and no series becomes less consistent."""
    originals, copies = [], []
    region = other_than(dcmread(real_series()[name][0], stop_before_pixels=True))
    for number, path in enumerate(real_series()[name]):
        source, copy = stored(path, tmp_path / f"in{number}.dcm"), tmp_path / f"copy{number}.dcm"
        if relabel(source, copy, **of(region)):
            assert new_messages(source, copy) == [], path
            originals.append(source)
            copies.append(copy)
        else:
            assert modality(path) not in OURS
    assert {known(line) for line in messages("dcentvfy", *copies)} <= {
        known(line) for line in messages("dcentvfy", *originals)
    }


def known(line: str) -> str:
    """Return a message of dcentvfy without the values and the files in which it found them."""
    return line.split("<")[0]


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.key)
@pytest.mark.parametrize("laterality", [None, "", "L"])
def test_no_new_message_for_any_region(region: Region, laterality: str | None, tmp_path: Path) -> None:
    """Every region, paired or not, goes onto an image with and without Laterality."""
    [path] = write(tmp_path / "in", Recipe(n=1, body_part="SKULL", overrides={"Laterality": laterality}))
    copy = tmp_path / "copy.dcm"
    assert relabel(path, copy, **of(region)) == (region.paired or laterality != "L")
    if copy.exists():
        assert new_messages(path, copy) == []


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.term)
def test_no_new_message_for_any_term(term: SeriesTerm, tmp_path: Path) -> None:
    """Every term of several regions goes onto an image with its code."""
    assert term.code is not None
    [path] = write(tmp_path / "in", Recipe(n=1, body_part="SKULL"))
    decision = {"term": term.term, "code_value": term.code.value, "code_meaning": term.code.meaning}
    assert relabel(path, tmp_path / "copy.dcm", image_region=None, paired=term.paired, **decision)
    assert new_messages(path, tmp_path / "copy.dcm", term.term or "") == []


@pytest.mark.parametrize("syntax", ENCODINGS, ids=lambda each: uid.UID(each).keyword)
@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("policy", [WRITE, NEW_SERIES])
def test_no_new_message_in_any_encoding(syntax: str, modality: str, policy: str, tmp_path: Path) -> None:
    """Every encoding that can be written here, with private elements, kept in place and made anew."""
    options: dict[str, Any] = {"transfer_syntax": syntax, "private": ((1, "LO", "kept"),)}
    [path] = write(tmp_path / "in", Recipe(modality=modality, n=1, **options))
    assert relabel(path, tmp_path / "copy.dcm", policy=policy)
    assert new_messages(path, tmp_path / "copy.dcm") == []


@pytest.mark.filterwarnings("ignore:Invalid value", "ignore:The value length")
@pytest.mark.parametrize(
    "body_part", [None, "", "HEAD", "HEAD\\NECK", "lower case", "NECKCHESTABDOMENPELVIS"]
)
def test_no_new_message_whatever_stood_there(body_part: str | None, tmp_path: Path) -> None:
    """Missing, empty, legal, multi-valued and ill-formed values leave nothing that a validator minds."""
    [path] = write(tmp_path / "in", Recipe(n=1, body_part=body_part))
    assert relabel(path, tmp_path / "copy.dcm")
    assert new_messages(path, tmp_path / "copy.dcm") == []


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("before", [None, ("U", "69536005"), [("U", "69536005")] * 3])
@pytest.mark.parametrize("regions", [("chest",) * 3, ("chest", "abdomen", "chest")])
@pytest.mark.parametrize("policy", [WRITE, NEW_SERIES])
def test_no_new_message_on_enhanced_objects(
    modality: str,
    before: Anatomy | list[Anatomy] | None,
    regions: tuple[str, ...],
    policy: str,
    tmp_path: Path,
) -> None:
    """Frame Anatomy that is added, moved or replaced is as the functional groups want it."""
    path = write_enhanced(tmp_path, Enhanced(Recipe(modality=modality, n=3), before))
    copy = tmp_path / "copy.dcm"
    assert relabel(path, copy, frame_regions=regions, policy=policy)
    assert new_messages(path, copy) == []


@pytest.mark.parametrize("policy", [WRITE, NEW_SERIES])
def test_no_new_message_on_an_enhanced_mr_that_tells_how_it_was_acquired(policy: str, tmp_path: Path) -> None:
    """MR pulse sequence attributes, which only ORIGINAL objects may have, stay allowed in the copy."""
    acquired = {
        "PulseSequenceName": "T1", "MRAcquisitionType": "3D", "EchoPulseSequence": "GRADIENT",
        "MultipleSpinEcho": "NO", "MultiPlanarExcitation": "NO", "PhaseContrast": "NO",
        "TimeOfFlightContrast": "NO", "SteadyStatePulseSequence": "NONE", "EchoPlanarPulseSequence": "NO",
        "SaturationRecovery": "NO", "SpectrallySelectedSuppression": "NONE", "OversamplingPhase": "NONE",
        "GeometryOfKSpaceTraversal": "RECTILINEAR", "SegmentedKSpaceTraversal": "SINGLE",
        "RectilinearPhaseEncodeReordering": "LINEAR", "CoverageOfKSpace": "FULL",
        "NumberOfKSpaceTrajectories": 1,
    }  # fmt: skip
    what = Enhanced(Recipe(modality="MR", n=2), ("U", "69536005"), overrides=acquired)
    path, copy = write_enhanced(tmp_path, what), tmp_path / "copy.dcm"
    assert relabel(path, copy, frame_regions=("chest", "abdomen"), policy=policy)
    assert new_messages(path, copy) == []


@pytest.mark.parametrize("before", [None, ("U", "69536005"), ("L", "69536005")])
def test_no_new_message_on_paired_regions_of_frames(before: Anatomy | None, tmp_path: Path) -> None:
    """A knee with and without a side, in an object with and without Frame Anatomy."""
    knee = next(each for each in REGIONS if each.key == "knee")
    path, copy = write_enhanced(tmp_path, Enhanced(Recipe(n=2), before)), tmp_path / "copy.dcm"
    assert relabel(path, copy, frame_regions=("knee",) * 2, **of(knee))
    assert new_messages(path, copy) == []


@pytest.mark.parametrize("policy", [WRITE, NEW_SERIES])
def test_a_series_stays_consistent(policy: str, tmp_path: Path) -> None:
    """dcentvfy finds the attributes of patient, study and series the same in all copies of a series."""
    files = write(tmp_path / "in", Recipe(n=4))
    copies = [tmp_path / f"{index}.dcm" for index in range(4)]
    for path, copy in zip(files, copies, strict=True):
        assert relabel(path, copy, policy=policy, **of(REGIONS[0]))
    assert messages("dcentvfy", *copies) == messages("dcentvfy", *files)


def test_half_a_series_would_be_found_out(tmp_path: Path) -> None:
    """dcentvfy minds a series of which some instances say another body part; so one decision is for all."""
    files = write(tmp_path / "in", Recipe(n=2))
    assert relabel(files[0], tmp_path / "copy.dcm", **of(REGIONS[0]))
    found = messages("dcentvfy", tmp_path / "copy.dcm", files[1])
    assert any("BodyPartExamined" in line for line in found)


def test_originals_and_a_new_series_stand_side_by_side(tmp_path: Path) -> None:
    """Both copies in one archive: the study stays consistent."""
    files = write(tmp_path / "in", Recipe(n=3))
    copies = [tmp_path / f"{index}.dcm" for index in range(3)]
    for path, copy in zip(files, copies, strict=True):
        assert relabel(path, copy, policy=NEW_SERIES)
    assert messages("dcentvfy", *files, *copies) == messages("dcentvfy", *files)
