"""Tests of copies that are a series of their own: new UIDs, always the same, and where they came from."""

from copy import deepcopy
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset

from node.relabelling import tags
from node.relabelling.coercion import NEW_SERIES, WRITE
from node.relabelling.derived import DESCRIPTION
from node.relabelling.encoded import Syntax
from node.relabelling.splice import index
from tests.builders import Recipe, real_images, write
from tests.multiframe import Enhanced, enhanced
from tests.relabelled import DECLARED, WORK, assert_faithful, relabel

NEW = DECLARED | {
    0x00020003,
    tags.IMAGE_TYPE,
    tags.SOP_INSTANCE,
    tags.SERIES_INSTANCE,
    tags.DERIVATION_DESCRIPTION,
    tags.SOURCE_IMAGE,
    tags.SOURCE_EVIDENCE,
    tags.INSTANCE_CREATION_DATE,
    tags.INSTANCE_CREATION_TIME,
    tags.INSTANCE_CREATOR,
}


def derived(path: Path, copy: Path, **changes: object) -> Dataset:
    """Make the copy of a file that is one of a new series."""
    assert relabel(path, copy, policy=NEW_SERIES, **changes)
    return dcmread(copy)


@pytest.mark.parametrize("path", real_images(), ids=lambda path: path.name)
def test_only_declared_elements_change(path: Path, tmp_path: Path) -> None:
    """In every encoding all other elements, the pixels among them, keep each byte."""
    after = derived(path, tmp_path / "copy.dcm")
    assert_faithful(path, tmp_path / "copy.dcm", NEW)
    before = dcmread(path)
    assert after.SOPInstanceUID != before.SOPInstanceUID
    assert after.SeriesInstanceUID != before.SeriesInstanceUID
    assert after.StudyInstanceUID == before.StudyInstanceUID
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
    assert after.file_meta.MediaStorageSOPClassUID == after.SOPClassUID == before.SOPClassUID
    assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID
    assert uid.UID(after.SOPInstanceUID).is_valid
    assert uid.UID(after.SeriesInstanceUID).is_valid


def test_the_meta_information_tells_its_length(tmp_path: Path) -> None:
    """The group length of the meta information follows the new UID."""
    [path] = write(tmp_path / "in", Recipe(n=1))
    derived(path, tmp_path / "copy.dcm")
    raw = (tmp_path / "copy.dcm").read_bytes()
    length = int.from_bytes(raw[140:144], "little")
    found = index(raw[132 : 144 + length], Syntax(explicit=True, little=True))
    assert max(found) >> 16 == 2
    assert raw[144 + length : 146 + length] == b"\x08\x00"


def test_where_a_copy_came_from(tmp_path: Path) -> None:
    """It is DERIVED, names its source with the purpose, and what was replaced is on record."""
    overrides = {
        "InstanceCreationDate": "20200101",
        "DerivationDescription": "before",
        "InstanceCreatorUID": "1.2",
    }
    [path] = write(tmp_path / "in", Recipe(n=1, overrides=overrides))
    before, after = dcmread(path), derived(path, tmp_path / "copy.dcm")
    assert list(after.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
    [source] = after.SourceImageSequence
    assert source.ReferencedSOPClassUID == before.SOPClassUID
    assert source.ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert source.SpatialLocationsPreserved == "YES"
    assert "pixel" in after.DerivationDescription
    assert "InstanceCreationDate" not in after
    assert "InstanceCreatorUID" not in after
    [record] = after.OriginalAttributesSequence
    [previous] = record.ModifiedAttributesSequence
    assert list(previous.ImageType) == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert previous.DerivationDescription == "before"
    assert previous.InstanceCreationDate == "20200101"
    assert previous.BodyPartExamined == "CHEST"
    assert after.BodyPartExamined == "CHESTABDOMEN"


def test_earlier_sources_are_kept(tmp_path: Path) -> None:
    """What the original was derived from stays named, before the original itself."""
    other = Dataset()
    other.ReferencedSOPClassUID, other.ReferencedSOPInstanceUID = "1.2", "1.2.3.4"
    [path] = write(tmp_path / "in", Recipe(n=1, overrides={"SourceImageSequence": [other]}))
    after = derived(path, tmp_path / "copy.dcm")
    assert [each.ReferencedSOPInstanceUID for each in after.SourceImageSequence] == [
        "1.2.3.4",
        dcmread(path).SOPInstanceUID,
    ]


@pytest.mark.parametrize("image_type", [None, "", "ORIGINAL"])
def test_an_image_without_a_type_is_derived_and_primary(image_type: str | None, tmp_path: Path) -> None:
    """Two values at least, the first of them DERIVED (PS3.3 C.7.6.1.1.2)."""
    [path] = write(tmp_path / "in", Recipe(n=1, overrides={"ImageType": image_type}))
    assert list(derived(path, tmp_path / "copy.dcm").ImageType) == ["DERIVED", "PRIMARY"]


def test_a_series_stays_one(tmp_path: Path) -> None:
    """All instances of a series get one new Series Instance UID, and each its own SOP Instance UID."""
    files = write(tmp_path / "in", Recipe(n=4))
    copies = [derived(path, tmp_path / path.name) for path in files]
    assert len({copy.SeriesInstanceUID for copy in copies}) == 1
    assert len({copy.SOPInstanceUID for copy in copies}) == 4


def test_every_attempt_gives_the_same_bytes(tmp_path: Path) -> None:
    """A copy that is sent again is the same object, to whichever destination it goes."""
    [path] = write(tmp_path / "in", Recipe(n=1))
    derived(path, tmp_path / "1.dcm")
    derived(path, tmp_path / "2.dcm", attempts=7, delivery_id=9)
    assert (tmp_path / "1.dcm").read_bytes() == (tmp_path / "2.dcm").read_bytes()


@pytest.mark.parametrize(
    "other",
    [
        {"decided_at": WORK.decided_at + timedelta(seconds=1)},
        {"term": "HEAD"},
        {"weights_digest": "e" * 64},
        {"software_version": "0.2.0"},
    ],
)
def test_another_decision_makes_other_objects(other: dict[str, object], tmp_path: Path) -> None:
    """Two different contents never share a UID."""
    [path] = write(tmp_path / "in", Recipe(n=1))
    first, second = derived(path, tmp_path / "1.dcm"), derived(path, tmp_path / "2.dcm", **other)
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_an_instance_that_says_the_term_goes_with_its_series(tmp_path: Path) -> None:
    """In a series that is made anew no instance is missing; kept in place it would not change."""
    [path] = write(tmp_path / "in", Recipe(n=1, body_part="CHESTABDOMEN"))
    assert not relabel(path, tmp_path / "copy.dcm", policy=WRITE)
    assert derived(path, tmp_path / "copy.dcm").SeriesInstanceUID != dcmread(path).SeriesInstanceUID


@pytest.mark.parametrize(
    "options",
    [
        {"modality": "US"},
        {"overrides": {"Laterality": "L"}},
        {"overrides": {"DigitalSignaturesSequence": [Dataset()]}},
    ],
)
def test_what_must_not_change_is_not_made_anew(options: dict[str, object], tmp_path: Path) -> None:
    """Foreign, contradictory and signed objects are sent as they came, under their own UIDs."""
    [path] = write(tmp_path / "in", Recipe(n=1, **options))  # type: ignore[arg-type]
    assert not relabel(path, tmp_path / "copy.dcm", policy=NEW_SERIES)


@pytest.mark.parametrize("before", ["none", "shared", "frames"])
@pytest.mark.parametrize("regions", [("chest",) * 3, ("chest", "abdomen", "chest")])
def test_frames_of_a_new_object_are_derived(before: str, regions: tuple[str, ...], tmp_path: Path) -> None:
    """Each frame is DERIVED and names its source, after what it was derived from before."""
    ds, earlier = enhanced(Enhanced(Recipe(n=3), ("U", "69536005"))), Dataset()
    earlier.DerivationDescription = "before"
    [shared], frames = ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence
    for groups in {"none": [], "shared": [shared], "frames": frames}[before]:
        groups.DerivationImageSequence = [deepcopy(earlier)]
    ds.save_as(tmp_path / "in.dcm", enforce_file_format=True)
    after = derived(tmp_path / "in.dcm", tmp_path / "copy.dcm", frame_regions=regions)
    assert_faithful(
        tmp_path / "in.dcm", tmp_path / "copy.dcm", NEW | {tags.SHARED_GROUPS, tags.PER_FRAME_GROUPS}
    )
    assert after.ImageType[0] == "DERIVED"
    [shared], frames = after.SharedFunctionalGroupsSequence, after.PerFrameFunctionalGroupsSequence
    assert shared.CTImageFrameTypeSequence[0].FrameType == ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    assert shared.CTImageFrameTypeSequence[0].VolumetricProperties == "VOLUME"
    holders = list(frames) if before == "frames" else [shared]
    assert [groups for groups in (shared, *frames) if "DerivationImageSequence" in groups] == holders
    for number, groups in enumerate(holders, 1):
        descriptions = [each.DerivationDescription for each in groups.DerivationImageSequence]
        assert descriptions == ["before"] * (before != "none") + [DESCRIPTION.decode()]
        [source] = groups.DerivationImageSequence[-1].SourceImageSequence
        assert source.ReferencedSOPInstanceUID == ds.SOPInstanceUID
        assert source.get("ReferencedFrameNumber") == (number if before == "frames" else None)
    assert "SourceImageSequence" not in after
    [study] = after.SourceImageEvidenceSequence
    [series] = study.ReferencedSeriesSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == (ds.StudyInstanceUID, ds.SeriesInstanceUID)
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == ds.SOPInstanceUID
    assert after.BodyPartExamined == "CHESTABDOMEN"
