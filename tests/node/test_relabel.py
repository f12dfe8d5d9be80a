"""Tests of relabelled copies: only the declared elements change, and the record of it is the standard's."""

from pathlib import Path

import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset

from node.relabelling.coercion import KEEP
from node.relabelling.encoded import Syntax
from node.relabelling.part10 import meta_end
from node.relabelling.relabel import read_incoming
from node.relabelling.splice import index
from tests.builders import Recipe, bundled, dataset, real_images, write
from tests.relabelled import assert_faithful, raw_elements, relabel


def written(folder: Path, **options: object) -> Path:
    """Write one synthetic CT image."""
    return write(folder, Recipe(n=1, **options))[0]  # type: ignore[arg-type]


def item(data_set: Dataset) -> Dataset:
    """Return the only item that was added to the record of original attributes."""
    [only] = data_set.OriginalAttributesSequence
    assert isinstance(only, Dataset)
    return only


@pytest.mark.parametrize("path", real_images(), ids=lambda path: path.name)
def test_only_declared_elements_change(path: Path, tmp_path: Path) -> None:
    """In every transfer syntax of pydicom's real images all other elements keep each byte."""
    copy = tmp_path / "copy.dcm"
    assert relabel(path, copy)
    assert_faithful(path, copy)
    assert dcmread(copy).BodyPartExamined == "CHESTABDOMEN"


def test_what_changed_is_recorded(tmp_path: Path) -> None:
    """The old values, who changed them, when and why stand in Original Attributes Sequence."""
    path, copy = written(tmp_path / "in", body_part="HEAD"), tmp_path / "copy.dcm"
    assert relabel(path, copy)
    after = dcmread(copy)
    record = item(after)
    assert after.InstanceCoercionDateTime == "20260102030405.000678+0000"
    assert record.AttributeModificationDateTime == "20260102030405.000678+0000"
    assert record.ModifyingSystem == "BODYTAG"
    assert record.SourceOfPreviousValues == ""
    assert record.ReasonForTheAttributeModification == "CORRECT"
    [previous] = record.ModifiedAttributesSequence
    assert previous.BodyPartExamined == "HEAD"
    assert previous["AnatomicRegionSequence"].is_empty
    assert previous["Laterality"].is_empty
    [region] = after.AnatomicRegionSequence
    assert (region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning) == (
        "816094009",
        "SCT",
        "Chest",
    )
    [equipment] = after.ContributingEquipmentSequence
    assert equipment.SoftwareVersions == ["0.1.0", "d" * 64]
    assert (equipment.Manufacturer, equipment.ManufacturerModelName) == ("bodytag", "bodytag")
    assert equipment.StationName == "BODYTAG"
    assert equipment.ContributionDateTime == "20260102030405.000678+0000"
    assert equipment.ContributionDescription == "Body part told from the pixels"
    [purpose] = equipment.PurposeOfReferenceCodeSequence
    assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109103", "DCM")


def test_a_missing_value_is_coerced_not_corrected(tmp_path: Path) -> None:
    """Where nothing stood the reason is COERCE and the previous value has zero length."""
    path, copy = written(tmp_path / "in", body_part=None), tmp_path / "copy.dcm"
    assert relabel(path, copy)
    record = item(dcmread(copy))
    assert record.ReasonForTheAttributeModification == "COERCE"
    assert record.ModifiedAttributesSequence[0]["BodyPartExamined"].is_empty


def test_an_illegal_old_value_is_kept_as_bytes(tmp_path: Path) -> None:
    """A value that no CS may have goes to the sequence for nonconforming values, byte for byte."""
    path = written(tmp_path / "in", body_part="CHEST")
    path.write_bytes(
        path.read_bytes().replace(b"\x18\x00\x15\x00CS\x06\x00CHEST ", b"\x18\x00\x15\x00CS\x06\x00cap,ab")
    )
    copy = tmp_path / "copy.dcm"
    assert relabel(path, copy)
    record = item(dcmread(copy))
    assert record.ModifiedAttributesSequence[0]["BodyPartExamined"].is_empty
    [illegal] = record.NonconformingModifiedAttributesSequence
    assert illegal.NonconformingDataElementValue == b"cap,ab"
    assert illegal.SelectorAttribute == 0x00180015
    assert illegal.SelectorValueNumber == 1


def test_earlier_records_are_kept(tmp_path: Path) -> None:
    """Items that others wrote stay, byte for byte, before the node's own."""
    other, equipment = Dataset(), Dataset()
    other.ModifyingSystem = "OTHER"
    equipment.Manufacturer = "OTHER"
    path = written(
        tmp_path / "in",
        overrides={"OriginalAttributesSequence": [other], "ContributingEquipmentSequence": [equipment]},
    )
    copy = tmp_path / "copy.dcm"
    assert relabel(path, copy)
    after = dcmread(copy)
    assert [each.ModifyingSystem for each in after.OriginalAttributesSequence] == ["OTHER", "BODYTAG"]
    assert [each.Manufacturer for each in after.ContributingEquipmentSequence] == ["OTHER", "bodytag"]


def test_every_attempt_gives_the_same_bytes(tmp_path: Path) -> None:
    """The copy depends on the decision alone, not on the clock."""
    path = written(tmp_path / "in")
    first, second = tmp_path / "1.dcm", tmp_path / "2.dcm"
    assert relabel(path, first)
    assert relabel(path, second, attempts=7, delivery_id=9)
    assert first.read_bytes() == second.read_bytes()


def test_relabelling_again_changes_nothing(tmp_path: Path) -> None:
    """A copy that comes back says the same already and gets no second record."""
    path, copy = written(tmp_path / "in"), tmp_path / "copy.dcm"
    assert relabel(path, copy)
    assert not relabel(copy, tmp_path / "again.dcm")
    assert not (tmp_path / "again.dcm").exists()


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        ({}, {"policy": KEEP}),
        ({}, {"term": None}),
        ({"modality": "US"}, {}),
        ({"overrides": {"Laterality": "L"}}, {}),
        ({"overrides": {"DigitalSignaturesSequence": [Dataset()]}}, {}),
    ],
)
def test_what_must_not_change_is_left(
    tmp_path: Path, options: dict[str, object], changes: dict[str, object]
) -> None:
    """Kept series, doubtful ones, foreign modalities and signed objects are passed on as received."""
    assert not relabel(written(tmp_path / "in", **options), tmp_path / "copy.dcm", **changes)


@pytest.mark.parametrize(
    ("paired", "before", "after"),
    [(False, "", None), (False, None, None), (True, None, ""), (True, "L", "L"), (True, "", "")],
)
def test_laterality_follows(tmp_path: Path, paired: bool, before: str | None, after: str | None) -> None:
    """An unpaired term has no Laterality, a paired one an empty one at least; L and R are never guessed."""
    path, copy = written(tmp_path / "in", overrides={"Laterality": before}), tmp_path / "copy.dcm"
    assert relabel(path, copy, paired=paired, term="KNEE" if paired else "CHESTABDOMEN")
    data_set = dcmread(copy)
    assert (data_set.Laterality if "Laterality" in data_set else None) == after


def test_image_laterality_needs_no_laterality(tmp_path: Path) -> None:
    """Where Image Laterality stands, none is added at series level (PS3.3 C.7.3.1)."""
    path, copy = written(tmp_path / "in", overrides={"ImageLaterality": "R"}), tmp_path / "copy.dcm"
    assert relabel(path, copy, paired=True, term="KNEE")
    assert "Laterality" not in dcmread(copy)


def test_an_image_of_unknown_region_gets_the_series_code(tmp_path: Path) -> None:
    """Late instances have no region of their own; the series' code never contradicts the term."""
    path, copy = written(tmp_path / "in"), tmp_path / "copy.dcm"
    assert relabel(path, copy, image_region=None)
    assert dcmread(copy).AnatomicRegionSequence[0].CodeValue == "416550000"


def test_group_lengths_follow(tmp_path: Path) -> None:
    """A retired group length element tells the new length of its group."""
    path = written(tmp_path / "in", body_part=None)
    start = meta_end(path)
    raw = path.read_bytes()
    data = raw[start:]
    found = index(data, Syntax(explicit=True, little=True))
    group = [each for tag, each in found.items() if tag >> 16 == 0x0018]
    length = sum(each.end - each.start for each in group)
    head = b"\x18\x00\x00\x00UL\x04\x00" + length.to_bytes(4, "little")
    at = group[0].start
    path.write_bytes(raw[:start] + data[:at] + head + data[at:])
    copy = tmp_path / "copy.dcm"
    assert relabel(path, copy)
    after = raw_elements(copy)
    rest = sum(len(value) for tag, value in after.items() if tag >> 16 == 0x0018 and tag != 0x00180000)
    assert int.from_bytes(after[0x00180000][-4:], "little") == rest


def test_incoming_values_are_read(tmp_path: Path) -> None:
    """Body part and laterality come out stripped, in any transfer syntax; unreadable files say nothing."""
    path = written(tmp_path / "in", body_part="KNEE", overrides={"Laterality": "L"})
    incoming = read_incoming(path, uid.ExplicitVRLittleEndian, 1 << 20)
    assert incoming.body_parts == {"KNEE"}
    assert incoming.lateralities == {"L"}
    deflated = bundled("image_dfl.dcm")
    assert read_incoming(deflated, uid.DeflatedExplicitVRLittleEndian, 1 << 30).body_parts == {""}
    assert read_incoming(path, uid.ImplicitVRLittleEndian, 1 << 20).body_parts == {""}


def test_the_copy_of_a_private_and_odd_data_set_keeps_it(tmp_path: Path) -> None:
    """Private elements and a foreign character set stay as they are."""
    data_set = dataset(Recipe(private=((1, "LO", "kept"),), patient_name="Müller^Jörg"))
    data_set.SpecificCharacterSet = "ISO_IR 100"
    path, copy = tmp_path / "in.dcm", tmp_path / "copy.dcm"
    data_set.save_as(path, enforce_file_format=True)
    assert relabel(path, copy)
    before, after = raw_elements(path), raw_elements(copy)
    for tag in (0x00080005, 0x00100010, 0x00290010, 0x00291001):
        assert after[tag] == before[tag]
