"""Tests that relabelling changes the declared elements alone, in every encoding and in every odd data set."""

import struct
import tracemalloc
from collections.abc import Container, Mapping
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filereader import read_file_meta_info
from pydicom.sequence import Sequence

from node.relabelling import relabel as relabelling
from node.relabelling.encoded import Syntax
from node.relabelling.part10 import Meta, meta_end
from node.relabelling.relabel import Modifier
from node.relabelling.splice import element, index, item, sequence, splice
from node.relabelling.tags import PER_FRAME_GROUPS, SHARED_GROUPS
from tests.builders import Recipe, dataset, published, real_series, write
from tests.multiframe import undefined
from tests.relabelled import DECLARED, WORK, assert_faithful, raw_elements, relabel, stored, write_copy

PACKAGED = Path(pydicom.__file__).parent / "data" / "test_files"
UNREADABLE = {
    "MR_truncated.dcm",
    "rtplan_truncated.dcm",
    "emri_small_jpeg_2k_lossless_too_short.dcm",
    "no_meta.dcm",
}
"""Files whose bytes end too early or begin with a stray one; the node never stores them."""
NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
ENCAPSULATED = sorted(each for each in uid.AllTransferSyntaxes if each.is_encapsulated)
OURS = ("CT", "MR", "CR", "DX", "RG")


class Everything(Container[str]):
    """Takes every modality for one that is relabelled."""

    def __contains__(self, _: object) -> bool:
        return True


def packaged() -> list[Path]:
    """List the DICOM files that pydicom's packages carry."""
    return [path for path in [*sorted(PACKAGED.glob("*.dcm")), *published()] if path.name not in UNREADABLE]


def odd(syntax: str) -> Dataset:
    """Build an image with private and nested sequences, long and rare VRs, and padding behind the pixels."""
    ds = dataset(Recipe(transfer_syntax=syntax, private=((1, "LO", "kept"), (2, "OB", b"\1\2\3\4"))))
    inner, middle, outer = Dataset(), Dataset(), Dataset()
    inner.private_block(0x0031, "INNER", create=True).add_new(3, "UN", b"\xff\xfe\x00\xe0")
    middle.add_new(0x00310010, "LO", "MIDDLE")
    middle.add_new(0x00311001, "SQ", Sequence([inner, Dataset()]))
    outer.add_new(0x00310010, "LO", "OUTER")
    outer.add_new(0x00311002, "SQ", Sequence([middle]))
    ds.add_new(0x00310010, "LO", "NESTED")
    ds.add_new(0x00311001, "SQ", Sequence([outer, Dataset()]))
    ds.add_new(0x00311010, "UT", "long " * 100)
    ds.add_new(0x00311011, "UC", ["unlimited", "characters"])
    ds.add_new(0x00311012, "UR", "http://localhost")
    ds.add_new(0x00311013, "OD", struct.pack("<2d", 1, 2))
    ds.add_new(0x00311014, "OF", struct.pack("<2f", 1, 2))
    ds.add_new(0x00311015, "OL", struct.pack("<2L", 1, 2))
    ds.add_new(0x00311016, "SV", -5)
    ds.add_new(0x00311017, "UV", 5)
    ds.add_new(0x00311018, "OV", struct.pack("<2Q", 1, 2))
    ds.add_new(0x00311019, "AT", [0x00100010, 0x00100020])
    ds.add_new(0xFFFCFFFC, "OB", bytes(10))
    return ds


def insert(path: Path, new: Mapping[int, bytes]) -> None:
    """Put encoded elements into a file, in the place of those of the same tag."""
    syntax = Syntax.of(str(read_file_meta_info(path).TransferSyntaxUID))
    raw, start = path.read_bytes(), meta_end(path)
    path.write_bytes(raw[:start] + b"".join(splice(raw[start:], index(raw[start:], syntax), new, syntax)))


@pytest.mark.filterwarnings("ignore")  # pydicom has something to say of many of them
@pytest.mark.parametrize("path", packaged(), ids=lambda path: path.name)
def test_every_file_of_pydicom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of pydicom's test objects keeps all it has when taken for an image; else only images change."""
    source, copy = stored(path, tmp_path / "in.dcm"), tmp_path / "copy.dcm"
    ours = dcmread(source, specific_tags=["Modality"]).get("Modality") in OURS
    # A series with a side has a paired term; where it has none the copy would be left to a person.
    side = bool({dcmread(source).get("Laterality"), dcmread(source).get("ImageLaterality")} & {"L", "R"})
    assert relabel(source, copy, paired=side) == ours
    monkeypatch.setattr(relabelling, "RELABELLED_MODALITIES", Everything())
    assert relabel(source, copy, paired=side)
    assert_faithful(source, copy, DECLARED | {SHARED_GROUPS, PER_FRAME_GROUPS})
    assert not relabel(copy, tmp_path / "again.dcm", paired=side)


@pytest.mark.skipif(not real_series(), reason="the data folder is not there")
def test_every_image_of_the_data_folder(tmp_path: Path) -> None:
    """Each real image keeps all its bytes but the declared elements, and its pixels."""
    changed = 0
    for path in (each for files in real_series().values() for each in files):
        source, copy = stored(path, tmp_path / "in.dcm"), tmp_path / "copy.dcm"
        if relabel(source, copy):
            assert_faithful(source, copy)
            changed += 1
        else:
            assert dcmread(path, specific_tags=["Modality"]).get("Modality") not in OURS
    assert changed > 200


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("lengths", ["defined", "undefined"])
def test_odd_data_sets_in_every_native_encoding(syntax: str, lengths: str, tmp_path: Path) -> None:
    """Nested private sequences, defined and undefined lengths, rare VRs and padding stay as they are."""
    path, copy = tmp_path / "in.dcm", tmp_path / "copy.dcm"
    ds = odd(syntax)
    (undefined(ds) if lengths == "undefined" else ds).save_as(path, enforce_file_format=True)
    assert relabel(path, copy)
    assert_faithful(path, copy)
    after = dcmread(copy)
    assert after.BodyPartExamined == "CHESTABDOMEN"
    assert after.AnatomicRegionSequence[0].CodeMeaning == "Chest"
    assert after.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].BodyPartExamined == "CHEST"
    assert not relabel(copy, tmp_path / "again.dcm")


@pytest.mark.parametrize("syntax", [*ENCAPSULATED, "1.2.3.4.5"], ids=lambda syntax: uid.UID(syntax).name)
def test_every_encapsulated_encoding(syntax: str, tmp_path: Path) -> None:
    """Fragments are passed on as they are, whatever they hold, private transfer syntaxes included."""
    ds = dataset(Recipe())
    ds.PixelData = encapsulate([b"\1\2\3\4", b"\xfe\xff\x00\xe0"], has_bot=False)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    ds.save_as(tmp_path / "plain.dcm", enforce_file_format=True)
    start = meta_end(tmp_path / "plain.dcm")
    path, copy = tmp_path / "in.dcm", tmp_path / "copy.dcm"
    meta = Meta(ds.SOPClassUID, ds.SOPInstanceUID, syntax, "TEST").encode()
    path.write_bytes(meta + (tmp_path / "plain.dcm").read_bytes()[start:])
    assert relabel(path, copy)
    assert raw_elements(copy)[0x7FE00010] == raw_elements(path)[0x7FE00010]
    assert {**raw_elements(copy), **raw_elements(path)}.keys() == raw_elements(copy).keys()


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        (["ISO_IR 100"], "Müller^Jörg".encode("latin-1")),
        (["", "ISO 2022 IR 87"], b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        (["ISO 2022 IR 6", "ISO 2022 IR 149"], b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7"),
        (["GB18030"], "王^小东".encode("gb18030")),
        (["ISO_IR 192"], "Wang^XiaoDong=王^小東".encode()),
        (["ISO_IR 999"], b"\xff\xfe\x80"),
        (None, b"\xe9t\xe9"),
    ],
)
def test_character_sets_stay(charset: list[str] | None, name: bytes, tmp_path: Path) -> None:
    """Text in any character set, declared or not, keeps its bytes, and so does its declaration."""
    path, copy = tmp_path / "in.dcm", tmp_path / "copy.dcm"
    ds = dataset(Recipe())
    del ds.SpecificCharacterSet, ds.PatientName
    ds.save_as(path, enforce_file_format=True)
    syntax = Syntax(explicit=True, little=True)
    changes = {0x00100010: element(0x00100010, b"PN", name, syntax)}
    if charset is not None:
        changes[0x00080005] = element(0x00080005, b"CS", "\\".join(charset).encode(), syntax)
    insert(path, changes)
    assert relabel(path, copy)
    for tag in changes:
        assert raw_elements(copy)[tag] == changes[tag]
    assert raw_elements(copy).keys() >= raw_elements(path).keys()


@pytest.mark.parametrize("vr", ["LO", "SH", "ST", "UN", "OB", "UT"])
def test_a_body_part_of_another_vr(vr: str, tmp_path: Path) -> None:
    """A value under the wrong VR is read, replaced by a CS, and recorded."""
    path, copy = tmp_path / "in.dcm", tmp_path / "copy.dcm"
    ds = dataset(Recipe(body_part=None))
    ds.add_new(0x00180015, vr, b"HEAD" if vr in ("UN", "OB") else "HEAD")
    ds.save_as(path, enforce_file_format=True)
    assert relabel(path, copy)
    assert_faithful(path, copy)
    after = dcmread(copy)
    assert (after["BodyPartExamined"].VR, after.BodyPartExamined) == ("CS", "CHESTABDOMEN")
    [record] = after.OriginalAttributesSequence
    assert record.ModifiedAttributesSequence[0].BodyPartExamined == "HEAD"
    assert record.ReasonForTheAttributeModification == "CORRECT"


@pytest.mark.parametrize(
    ("value", "legal"),
    [
        (b"HEAD", True), (b" HEAD ", True), (b"HEAD\0", True), (b"HEAD_2 NECK", True), (b"    ", True),
        (b"HEAD\\NECK", False), (b"\\", False), (b"head", False), (b"NECKCHESTABDOMENPELVIS", False),
        (b"SCH\xc4DEL", False), (b"\x93\xaa\x95\x94", False), (b"A\0B", False), (b"CHEST-ABD", False),
        (b"\x1b$B;3", False), (b"x" * 5000, False), (b"HEAD\r\n", False), (b"HEAD\t", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_ill_formed_and_multi_valued_body_parts(
    value: bytes, legal: bool, syntax: str, tmp_path: Path
) -> None:
    """A legal old value is kept; any other has zero length there and its bytes beside (C.12.1.1.9)."""
    [path] = write(tmp_path / "in", Recipe(n=1, body_part="CHEST", transfer_syntax=syntax))
    insert(path, {0x00180015: element(0x00180015, b"CS", value, Syntax.of(syntax))})
    copy = tmp_path / "copy.dcm"
    assert relabel(path, copy)
    after = dcmread(copy)
    [record] = after.OriginalAttributesSequence
    recorded = record.ModifiedAttributesSequence[0].get_item("BodyPartExamined").value or b""
    padded = value + b" " * (len(value) % 2)
    if legal:
        assert recorded == padded
        assert "NonconformingModifiedAttributesSequence" not in record
    else:
        assert recorded == b""
        [illegal] = record.NonconformingModifiedAttributesSequence
        assert illegal.NonconformingDataElementValue == padded
        assert illegal.SelectorAttribute == 0x00180015
    assert record.ReasonForTheAttributeModification == ("CORRECT" if value.strip() else "COERCE")
    assert not relabel(copy, tmp_path / "again.dcm")


def test_a_region_encoded_as_un_is_recorded_as_un(tmp_path: Path) -> None:
    """Items within UN are implicit VR little endian; so they are kept apart from those that are not."""
    [path], copy = write(tmp_path / "in", Recipe(n=1)), tmp_path / "copy.dcm"
    implicit = Syntax(explicit=False, little=True)
    code = item([element(0x00080100, b"SH", b"69536005", implicit)], implicit)
    insert(path, {0x00082218: element(0x00082218, b"UN", code, Syntax(explicit=True, little=True))})
    assert relabel(path, copy)
    raw = raw_elements(copy)[0x04000561]
    assert element(0x00082218, b"UN", code, Syntax(explicit=True, little=True)) in raw
    assert dcmread(copy).AnatomicRegionSequence[0].CodeValue == "816094009"


@pytest.mark.parametrize("tag", [0x04000561, 0x0018A001])
def test_records_encoded_as_un_keep_the_object_as_it_is(tag: int, tmp_path: Path) -> None:
    """To items that are encoded otherwise none is appended: the object is passed on."""
    [path] = write(tmp_path / "in", Recipe(n=1))
    insert(path, {tag: element(tag, b"UN", b"", Syntax(explicit=True, little=True))})
    assert not relabel(path, tmp_path / "copy.dcm")


@pytest.mark.parametrize("lengths", ["defined", "undefined"])
def test_existing_records_keep_their_bytes(lengths: str, tmp_path: Path) -> None:
    """Items that others appended stand in the copy byte for byte, with the lengths they had."""
    path, copy = tmp_path / "in.dcm", tmp_path / "copy.dcm"
    ds, other, values = dataset(Recipe()), Dataset(), Dataset()
    values.PatientID = "BEFORE"
    other.ModifyingSystem = "OTHER"
    other.ModifiedAttributesSequence = Sequence([values])
    ds.OriginalAttributesSequence = Sequence([other])
    (undefined(ds) if lengths == "undefined" else ds).save_as(path, enforce_file_format=True)
    assert relabel(path, copy)
    syntax = Syntax(explicit=True, little=True)
    old, new = (raw_elements(each)[0x04000561] for each in (path, copy))
    before = index(old, syntax)[0x04000561]
    assert new[12:].startswith(old[before.value : before.value_end])
    assert [each.ModifyingSystem for each in dcmread(copy).OriginalAttributesSequence] == ["OTHER", "BODYTAG"]


def test_length_to_end_follows(tmp_path: Path) -> None:
    """The retired (0008,0001) still tells how many bytes follow it."""
    [path] = write(tmp_path / "in", Recipe(n=1))
    syntax, start, raw = Syntax(explicit=True, little=True), meta_end(path), path.read_bytes()
    length = struct.pack("<I", len(raw) - start)
    path.write_bytes(raw[:start] + element(0x00080001, b"UL", length, syntax) + raw[start:])
    copy = tmp_path / "copy.dcm"
    assert relabel(path, copy)
    (told,) = struct.unpack("<I", raw_elements(copy)[0x00080001][-4:])
    assert told == copy.stat().st_size - start - 12


def test_a_deflated_data_set_is_inflated_up_to_the_cap_only(tmp_path: Path) -> None:
    """Above the cap the object is passed on as it came; below it the changed data set is deflated again."""
    [path] = write(tmp_path / "in", Recipe(n=1, transfer_syntax=uid.DeflatedExplicitVRLittleEndian))
    work = replace(WORK, transfer_syntax_uid=str(read_file_meta_info(path).TransferSyntaxUID))
    copy = tmp_path / "copy.dcm"
    assert not write_copy(work, path, copy, Modifier("BODYTAG", 1000))
    assert not copy.exists()
    assert write_copy(work, path, copy, Modifier("BODYTAG", 100000))
    assert_faithful(path, copy)
    assert (copy.stat().st_size - meta_end(copy)) % 2 == 0


@pytest.mark.parametrize("damage", ["cut", "garbage", "descending"])
def test_what_cannot_be_walked_is_passed_on(damage: str, tmp_path: Path) -> None:
    """A data set that is cut off, no data set, or out of order is sent as it came."""
    [path] = write(tmp_path / "in", Recipe(n=1))
    start, raw = meta_end(path), path.read_bytes()
    late = element(0x00080005, b"CS", b"", Syntax(explicit=True, little=True))
    changed = {"cut": raw[:-3], "garbage": raw[:start] + b"\xff" * 99, "descending": raw + late}[damage]
    path.write_bytes(changed)
    assert not relabel(path, tmp_path / "copy.dcm")
    assert path.read_bytes() == changed


def test_memory_does_not_grow_with_the_pixels(tmp_path: Path) -> None:
    """The copy of an object of 64 MiB takes less than 1 MiB of memory."""
    [path] = write(tmp_path / "in", Recipe(n=1, overrides={"PixelData": None}))
    pixels = 64 << 20
    with path.open("ab") as file:
        file.write(b"\xe0\x7f\x10\x00OW\0\0" + struct.pack("<I", pixels))
        file.truncate(file.tell() + pixels)
    copy = tmp_path / "copy.dcm"
    tracemalloc.start()
    try:
        assert relabel(path, copy)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
    assert copy.stat().st_size > pixels


nested = st.recursive(
    st.binary(max_size=20),
    lambda inner: st.lists(st.dictionaries(st.integers(0x10, 0xFF), inner, max_size=3), max_size=3),
    max_leaves=12,
)
"""Values of private elements: bytes, or a list of items of such elements."""


def encode(number: int, value: object, syntax: Syntax, undefined: bool) -> bytes:
    """Encode a private element of group 0031, its sequences with defined or undefined lengths."""
    tag = 0x00310000 | number
    if isinstance(value, bytes):
        return element(tag, b"OB", value, syntax)
    assert isinstance(value, list)
    items = []
    for one in value:
        content = b"".join(encode(key, one[key], syntax, undefined) for key in sorted(one))
        head = struct.pack(f"{syntax.order}HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        end = struct.pack(f"{syntax.order}HHI", 0xFFFE, 0xE00D, 0)
        items.append(head + content + end if undefined else item([content], syntax))
    whole = sequence(tag, items, syntax)
    if not undefined:
        return whole
    head = whole[: len(whole) - sum(map(len, items)) - 4] + b"\xff" * 4
    return head + b"".join(items) + struct.pack(f"{syntax.order}HHI", 0xFFFE, 0xE0DD, 0)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    content=st.dictionaries(st.integers(0x10, 0xFF), nested, max_size=5),
    native=st.sampled_from(NATIVE[:3]),
    undefined=st.booleans(),
)
def test_any_private_content_stays(
    tmp_path: Path, content: dict[int, object], native: str, undefined: bool
) -> None:
    """Whatever private elements an object nests, however their lengths are told, each byte of them stays."""
    [path] = write(tmp_path / "in", Recipe(n=1, transfer_syntax=native))
    syntax = Syntax.of(native)
    new = {0x00310000 | number: encode(number, content[number], syntax, undefined) for number in content}
    insert(path, new)
    copy = tmp_path / "copy.dcm"
    assert relabel(path, copy)
    before, after = raw_elements(path), raw_elements(copy)
    assert {tag: after[tag] for tag in new} == new
    assert all(after[tag] == value for tag, value in before.items() if tag not in DECLARED)
