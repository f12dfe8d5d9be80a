"""Tests of what may be relabelled and how: modalities, regions and sides, signed and late objects."""

from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset

from model.regions import REGIONS, Region
from node.relabelling.coercion import KEEP, NEW_SERIES, RELABELLED_MODALITIES, WRITE
from node.relabelling.encoded import Syntax
from node.relabelling.part10 import Meta, meta_end
from node.relabelling.splice import index
from node.relabelling.tags import ANATOMIC_REGION, BODY_PART, CONTRIBUTING_EQUIPMENT, ORIGINAL_ATTRIBUTES
from rules.terms import COMBINATIONS, LOWER_LIMB, PELVIS_LEGS, UPPER_LIMB, WHOLE_BODY, SeriesTerm
from tests.builders import Recipe, write
from tests.multiframe import Enhanced, write_enhanced
from tests.relabelled import relabel

TERMS = (*COMBINATIONS.values(), UPPER_LIMB, LOWER_LIMB, PELVIS_LEGS, WHOLE_BODY)
FOREIGN = (
    "MG", "OP", "OPT", "US", "SR", "PR", "KO", "SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "RTIMAGE", "RTRECORD",
    "PT", "NM", "XA", "RF", "IVUS", "ECG", "DOC", "OT", "SM", "M3D", "REG", "AU", "ES", "XC", "", "CT\\MR",
)  # fmt: skip
KNEE: dict[str, Any] = {
    "term": "KNEE", "code_value": "72696002", "code_meaning": "Knee", "paired": True, "image_region": "knee",
}  # fmt: skip


def written(folder: Path, **options: Any) -> Path:
    """Write one synthetic image."""
    return write(folder, Recipe(n=1, **options))[0]


@pytest.mark.parametrize("modality", sorted(RELABELLED_MODALITIES))
def test_images_of_these_modalities_are_relabelled(modality: str, tmp_path: Path) -> None:
    """CT and MR, and radiographs under their three names, get the term."""
    path, copy = written(tmp_path, overrides={"Modality": modality}), tmp_path / "copy.dcm"
    assert relabel(path, copy)
    assert dcmread(copy).BodyPartExamined == "CHESTABDOMEN"


@pytest.mark.parametrize("modality", FOREIGN)
@pytest.mark.parametrize("policy", [WRITE, NEW_SERIES])
def test_objects_of_other_modalities_are_never_relabelled(modality: str, policy: str, tmp_path: Path) -> None:
    """Whatever was decided, an object of another modality, or of none, goes as it came."""
    path = written(tmp_path, overrides={"Modality": modality})
    assert not relabel(path, tmp_path / "copy.dcm", policy=policy)
    assert not (tmp_path / "copy.dcm").exists()


@pytest.mark.parametrize("kind", ["image", "frames", "nested"])
@pytest.mark.parametrize("policy", [WRITE, NEW_SERIES])
def test_signed_objects_are_left_alone(kind: str, policy: str, tmp_path: Path) -> None:
    """A signature at the top level keeps an object as it is; one within an item that stays does not."""
    signature = Dataset()
    signature.MACIDNumber = 1
    overrides: dict[str, Any] = {"DigitalSignaturesSequence": [signature]}
    if kind == "nested":
        other = Dataset()
        other.DigitalSignaturesSequence = [signature]
        overrides = {"ReferencedImageSequence": [other]}
    if kind == "frames":
        path = write_enhanced(tmp_path, Enhanced(Recipe(n=2), overrides=overrides))
    else:
        path = written(tmp_path, overrides=overrides)
    before = path.read_bytes()
    assert relabel(path, tmp_path / "copy.dcm", policy=policy) == (kind == "nested")
    assert path.read_bytes() == before


@pytest.mark.parametrize("policy", [KEEP, "unheard of"])
def test_what_is_kept_is_not_copied(policy: str, tmp_path: Path) -> None:
    """Only the two decisions that write do so."""
    assert not relabel(written(tmp_path), tmp_path / "copy.dcm", policy=policy)


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: region.key)
def test_each_image_says_what_it_shows(region: Region, tmp_path: Path) -> None:
    """One item with the SCT code of the image's own region, beside the term of the whole series."""
    path, copy = written(tmp_path), tmp_path / "copy.dcm"
    assert relabel(path, copy, image_region=region.key)
    [item] = dcmread(copy).AnatomicRegionSequence
    assert (item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning) == (
        region.code.value,
        "SCT",
        region.code.meaning,
    )
    assert dcmread(copy).BodyPartExamined == "CHESTABDOMEN"


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.term)
def test_an_image_of_unknown_region_says_what_the_series_is(term: SeriesTerm, tmp_path: Path) -> None:
    """Where an image's region is not known its code is that of the term, so they never contradict."""
    assert term.code is not None
    path, copy = written(tmp_path, body_part="SKULL"), tmp_path / "copy.dcm"
    series = {"term": term.term, "code_value": term.code.value, "code_meaning": term.code.meaning}
    assert relabel(path, copy, image_region="unknown", paired=term.paired, **series)
    [item] = dcmread(copy).AnatomicRegionSequence
    assert (item.CodeValue, dcmread(copy).BodyPartExamined) == (term.code.value, term.term)


def test_several_items_become_one(tmp_path: Path) -> None:
    """Two regions of an image, an error for CT and MR, are replaced, and kept in the record."""
    items = []
    for value in ("69536005", "45048000"):
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", "Old"
        items.append(item)
    path, copy = written(tmp_path, overrides={"AnatomicRegionSequence": items}), tmp_path / "copy.dcm"
    assert relabel(path, copy)
    after = dcmread(copy)
    assert [each.CodeValue for each in after.AnatomicRegionSequence] == ["816094009"]
    previous = after.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    assert [each.CodeValue for each in previous.AnatomicRegionSequence] == ["69536005", "45048000"]


def test_a_term_without_a_code_leaves_no_old_region(tmp_path: Path) -> None:
    """A region that would contradict the new term is removed where there is none to take its place."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "69536005", "SCT", "Head"
    path, copy = written(tmp_path, overrides={"AnatomicRegionSequence": [item]}), tmp_path / "copy.dcm"
    assert relabel(path, copy, code_value=None, code_meaning=None, image_region=None)
    assert "AnatomicRegionSequence" not in dcmread(copy)
    record = dcmread(copy).OriginalAttributesSequence[0]
    assert record.ModifiedAttributesSequence[0].AnatomicRegionSequence[0].CodeValue == "69536005"
    assert record.ReasonForTheAttributeModification == "CORRECT"


@pytest.mark.parametrize(
    ("overrides", "side"),
    [
        ({"Laterality": "L"}, "7771000"),
        ({"Laterality": "R"}, "24028007"),
        ({"ImageLaterality": "L"}, "7771000"),
        ({"ImageLaterality": "B"}, "51440002"),
        ({"ImageLaterality": "R", "Laterality": "L"}, "24028007"),
        ({"ImageLaterality": "U", "Laterality": "L"}, None),
        ({"Laterality": ""}, None),
        ({"Laterality": "B"}, None),
        ({}, None),
    ],
)
def test_a_side_that_is_given_modifies_the_region(
    overrides: dict[str, str], side: str | None, tmp_path: Path
) -> None:
    """The modifier of CID 244 follows Image Laterality or Laterality; without them there is none."""
    path, copy = written(tmp_path, overrides=overrides), tmp_path / "copy.dcm"
    assert relabel(path, copy, **KNEE)
    [item] = dcmread(copy).AnatomicRegionSequence
    modifiers = item.get("AnatomicRegionModifierSequence", [])
    assert [each.CodeValue for each in modifiers] == ([side] if side else [])
    assert {each.CodingSchemeDesignator for each in modifiers} <= {"SCT"}


def test_an_unpaired_region_has_no_side(tmp_path: Path) -> None:
    """An image that shows the abdomen, in a series of a leg, has no side though the series has one."""
    path, copy = written(tmp_path, overrides={"Laterality": "L"}), tmp_path / "copy.dcm"
    assert relabel(path, copy, **KNEE | {"image_region": "abdomen"})
    assert "AnatomicRegionModifierSequence" not in dcmread(copy).AnatomicRegionSequence[0]
    assert dcmread(copy).Laterality == "L"


@pytest.mark.parametrize("keyword", ["Laterality", "ImageLaterality"])
@pytest.mark.parametrize("side", ["L", "R"])
def test_a_late_instance_with_a_side_is_for_a_person(keyword: str, side: str, tmp_path: Path) -> None:
    """In a series whose term is unpaired an instance with a side, of series or image, is not overwritten."""
    path = written(tmp_path, overrides={keyword: side})
    assert not relabel(path, tmp_path / "copy.dcm")
    assert relabel(path, tmp_path / "copy.dcm", **KNEE)


@pytest.mark.parametrize("value", ["", "U"])
def test_an_image_without_a_side_is_relabelled(value: str, tmp_path: Path) -> None:
    """Image Laterality U, as radiographs have it, is no side; it stays."""
    path, copy = written(tmp_path, overrides={"ImageLaterality": value}), tmp_path / "copy.dcm"
    assert relabel(path, copy)
    assert dcmread(copy).ImageLaterality == value


@pytest.mark.parametrize("laterality", [None, ""])
def test_the_previous_laterality_is_recorded(laterality: str | None, tmp_path: Path) -> None:
    """With zero length, whether it was empty or absent, as all three attributes are."""
    path, copy = (
        written(tmp_path, overrides={"Laterality": laterality}, body_part=None),
        tmp_path / "copy.dcm",
    )
    assert relabel(path, copy)
    [previous] = dcmread(copy).OriginalAttributesSequence[0].ModifiedAttributesSequence
    assert {each.keyword for each in previous if each.is_empty} == {
        "BodyPartExamined",
        "AnatomicRegionSequence",
        "Laterality",
    }


def test_a_contradicting_region_beside_the_right_term_is_replaced(tmp_path: Path) -> None:
    """An image that says CHESTABDOMEN and Head is corrected; one that says a part of the term is not."""
    for code, changes in (("69536005", True), ("816094009", False), ("10200004", False), ("T-D3000", False)):
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "SCT", "Old"
        options = {"body_part": "CHESTABDOMEN", "overrides": {"AnatomicRegionSequence": [item]}}
        path, copy = written(tmp_path / code, **options), tmp_path / "copy.dcm"
        assert relabel(path, copy) == changes
        if changes:
            [region] = dcmread(copy).AnatomicRegionSequence
            assert region.CodeValue == "816094009"
            assert not relabel(copy, tmp_path / "again.dcm")


@pytest.mark.parametrize("body_part", ["CHESTABDOMEN", "CHESTABDOMEN ", " CHESTABDOMEN"])
def test_the_same_term_padded_is_the_same(body_part: str, tmp_path: Path) -> None:
    """Padding says nothing: such an object is left alone."""
    assert not relabel(written(tmp_path, body_part=body_part), tmp_path / "copy.dcm")


def test_uids_stay(tmp_path: Path) -> None:
    """A coerced copy is the same instance of the same series and study (PS3.3 C.12.1.1.9)."""
    path, copy = written(tmp_path), tmp_path / "copy.dcm"
    assert relabel(path, copy)
    before, after = dcmread(path), dcmread(copy)
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert after[keyword].value == before[keyword].value
    assert list(after.ImageType) == list(before.ImageType)
    assert "SourceImageSequence" not in after


def test_a_second_correction_is_a_second_record(tmp_path: Path) -> None:
    """Another decision appends its own item and keeps the first, of which nothing changes."""
    path, first, second = written(tmp_path), tmp_path / "1.dcm", tmp_path / "2.dcm"
    assert relabel(path, first)
    assert relabel(
        first, second, term="HEAD", code_value="69536005", code_meaning="Head", image_region="head"
    )
    earlier, later = dcmread(first), dcmread(second)
    assert later.OriginalAttributesSequence[0] == earlier.OriginalAttributesSequence[0]
    previous = later.OriginalAttributesSequence[1].ModifiedAttributesSequence[0]
    assert previous.BodyPartExamined == "CHESTABDOMEN"
    assert previous.AnatomicRegionSequence == earlier.AnatomicRegionSequence
    assert len(later.ContributingEquipmentSequence) == 2


def test_implicit_data_under_an_explicit_syntax_is_relabelled(tmp_path: Path) -> None:
    """The copy is encoded as the original is, whatever its transfer syntax says."""
    path, copy = written(tmp_path, transfer_syntax=uid.ImplicitVRLittleEndian), tmp_path / "copy.dcm"
    data = path.read_bytes()[meta_end(path) :]
    meta = Meta(uid.CTImageStorage, path.stem, uid.ExplicitVRLittleEndian, "TEST").encode()
    path.write_bytes(meta + data)
    assert relabel(path, copy)
    found = index(copy.read_bytes()[meta_end(copy) :], Syntax(explicit=False, little=True))
    assert {BODY_PART, ORIGINAL_ATTRIBUTES, CONTRIBUTING_EQUIPMENT, ANATOMIC_REGION} < found.keys()
    assert not relabel(copy, tmp_path / "again.dcm")
