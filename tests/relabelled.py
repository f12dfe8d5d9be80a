"""What the tests of relabelled copies share: a decision, relabelling a file, and comparing old with new."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info

from db.records import DeliveryWork
from node.relabelling.coercion import WRITE
from node.relabelling.encoded import Syntax, inflate
from node.relabelling.part10 import Meta, meta_end
from node.relabelling.relabel import Modifier, relabelled
from node.relabelling.splice import index

DECLARED = frozenset({0x00080015, 0x00082218, 0x00180015, 0x0018A001, 0x00200060, 0x04000561})
"""What may change in a single-frame copy that keeps its UIDs."""

MODIFIER = Modifier("BODYTAG", 1 << 30)
WORK = DeliveryWork(
    delivery_id=1,
    series_id=1,
    sop_instance_uid="1.2.3",
    sop_class_uid=uid.CTImageStorage,
    transfer_syntax_uid=uid.ExplicitVRLittleEndian,
    path="unused",
    policy=WRITE,
    attempts=0,
    armed_at=datetime(2026, 1, 2, tzinfo=UTC),
    decided_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
    term="CHESTABDOMEN",
    code_value="416550000",
    code_meaning="Chest and Abdomen",
    paired=False,
    confidence=0.9,
    image_region="chest",
    weights_digest="d" * 64,
    software_version="0.1.0",
)


def write_copy(work: DeliveryWork, source: Path, target: Path, modifier: Modifier) -> bool:
    """Write the relabelled copy of `source` to `target`; False, and no file, where nothing changes."""
    pieces = relabelled(work, source, modifier)
    if pieces is None:
        return False
    with target.open("wb") as copy:
        copy.writelines(pieces)
    return True


def relabel(path: Path, target: Path, **changes: object) -> bool:
    """Relabel one file in the transfer syntax it has."""
    syntax = str(read_file_meta_info(path).TransferSyntaxUID)
    work = replace(WORK, transfer_syntax_uid=syntax, **changes)  # type: ignore[arg-type]
    return write_copy(work, path, target, MODIFIER)


def raw_elements(path: Path) -> dict[int, bytes]:
    """Return every top-level element's bytes, header and value, by tag."""
    syntax_uid = str(read_file_meta_info(path).TransferSyntaxUID)
    data = path.read_bytes()[meta_end(path) :]
    data = inflate(data, 1 << 30) if syntax_uid == uid.DeflatedExplicitVRLittleEndian else data
    found = index(data, Syntax.found_in(data, syntax_uid))
    return {tag: data[each.start : each.end] for tag, each in found.items()}


def stored(path: Path, target: Path) -> Path:
    """Write a file's data set as the node stores it: the same bytes behind meta information of its own."""
    raw = path.read_bytes()
    data_set = dcmread(path, force=True, stop_before_pixels=True)
    start = _data_set_offset(raw) if raw[128:132] == b"DICM" else 0
    implicit, little = data_set.original_encoding
    guessed = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    syntax = data_set.file_meta.get("TransferSyntaxUID", guessed if little else uid.ExplicitVRBigEndian)
    sop_class, instance = data_set.get("SOPClassUID") or "1.2", data_set.get("SOPInstanceUID") or "1.2.3"
    meta = Meta(sop_class, instance, syntax, "TEST")
    target.write_bytes(meta.encode() + raw[start:])
    return target


def _data_set_offset(raw: bytes) -> int:
    """Walk group 0002 (PS3.10 7.1), whether or not it tells its length."""
    at = 132
    while raw[at : at + 2] == b"\x02\x00":
        long = raw[at + 4 : at + 6] in (b"OB", b"UN", b"UT")
        length = int.from_bytes(raw[at + 8 : at + 12] if long else raw[at + 6 : at + 8], "little")
        at += (12 if long else 8) + length
    return at


def assert_faithful(before: Path, after: Path, declared: frozenset[int] = DECLARED) -> None:
    """Compare two files element by element: all but the declared ones keep each byte, and so does the meta.

    Once with the node's own walk over the bytes, once with what pydicom reads.
    """
    old, new = raw_elements(before), raw_elements(after)
    # Group lengths (gggg,0000) follow, where there are any.
    declared |= {tag & 0xFFFF0000 for tag in declared} & old.keys()
    assert {tag: value for tag, value in new.items() if tag not in declared} == {
        tag: value for tag, value in old.items() if tag not in declared
    }
    if 0x00020003 not in declared:
        assert after.read_bytes()[: meta_end(before)] == before.read_bytes()[: meta_end(before)]
    _assert_same_for_pydicom(dcmread(before), dcmread(after), declared)


def _assert_same_for_pydicom(old: Dataset, new: Dataset, declared: frozenset[int]) -> None:
    tags = {int(tag) for tag in old.keys() | new.keys()} - declared
    assert {tag for tag in tags if tag in old} == {tag for tag in tags if tag in new}
    for tag in tags:
        first, second = old.get_item(tag), new.get_item(tag)
        assert (first.VR, first.value) == (second.VR, second.value), hex(tag)
