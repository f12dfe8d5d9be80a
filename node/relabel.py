"""The relabelled copy of an instance: the received bytes with the declared elements changed, nothing else.

What changes and how it is recorded: PS3.3 C.12.1.1.9 (coercion keeps the UIDs), C.12.1 (Original
Attributes, Contributing Equipment), C.7.3.1 (Laterality), 10.5 (Anatomic Region).
"""

import mmap
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from db.records import DeliveryWork
from model.regions import BY_KEY
from node.coercion import RELABELLED_MODALITIES, WRITE, Incoming
from node.encoded import DEFLATED, Buffer, Element, EncodedError, Syntax, deflate, plain
from node.part10 import meta_end
from node.splice import element, index, item, items_of, sequence, splice

INSTANCE_COERCION: Final = 0x00080015
MODALITY: Final = 0x00080060
ANATOMIC_REGION: Final = 0x00082218
BODY_PART: Final = 0x00180015
CONTRIBUTING_EQUIPMENT: Final = 0x0018A001
LATERALITY: Final = 0x00200060
IMAGE_LATERALITY: Final = 0x00200062
ORIGINAL_ATTRIBUTES: Final = 0x04000561
DIGITAL_SIGNATURES: Final = 0xFFFAFFFA

_CODE_STRING: Final = re.compile(r"[A-Z0-9 _]{0,16}")
_RECORDED: Final = ((ANATOMIC_REGION, b"SQ"), (BODY_PART, b"CS"), (LATERALITY, b"CS"))


@dataclass(frozen=True, slots=True)
class Modifier:
    """Who signs the changes."""

    ae_title: str
    maximum_inflated_bytes: int


def read_incoming(path: Path, transfer_syntax_uid: str, cap_bytes: int) -> Incoming:
    """Read what one stored instance says of its body part; empty where it cannot be read."""
    try:
        data = plain(_data_set(path), transfer_syntax_uid, cap_bytes)
        found = index(data, Syntax.found_in(data, transfer_syntax_uid))
    except EncodedError:
        return Incoming(frozenset({""}), frozenset({""}))
    return Incoming(frozenset({_text(data, found, BODY_PART)}), frozenset({_text(data, found, LATERALITY)}))


def write_copy(work: DeliveryWork, source: Path, target: Path, modifier: Modifier) -> bool:
    """Write the relabelled copy of `source` to `target`; False, and no file, where nothing changes.

    The same work gives the same bytes at every attempt: all times and versions come from the decision.
    """
    if work.policy != WRITE or work.term is None:
        return False
    try:
        data = plain(_data_set(source), work.transfer_syntax_uid, modifier.maximum_inflated_bytes)
        pieces = _pieces(data, work, modifier)
    except EncodedError:
        return False  # what cannot be walked is passed on as it came
    if pieces is None:
        return False
    deflated = work.transfer_syntax_uid == DEFLATED
    with source.open("rb") as original, target.open("wb") as copy:
        copy.write(original.read(meta_end(source)))
        copy.writelines([deflate(b"".join(pieces))] if deflated else pieces)
    return True


def _pieces(data: Buffer, work: DeliveryWork, modifier: Modifier) -> Iterator[Buffer] | None:
    syntax = Syntax.found_in(data, work.transfer_syntax_uid)
    found = index(data, syntax)
    if DIGITAL_SIGNATURES in found or _text(data, found, MODALITY) not in RELABELLED_MODALITIES:
        return None
    if _text(data, found, BODY_PART) == work.term:
        return None
    if not work.paired and _text(data, found, LATERALITY) in ("L", "R"):
        return None  # a late instance with a side, in a series whose term has none: for a person
    if any(found[tag].vr == b"UN" for tag in (ORIGINAL_ATTRIBUTES, CONTRIBUTING_EQUIPMENT) if tag in found):
        return None  # items inside UN are encoded otherwise; appending would mix the two
    return splice(data, found, _changes(data, found, work, modifier, syntax), syntax)


def _changes(
    data: Buffer, found: Mapping[int, Element], work: DeliveryWork, modifier: Modifier, syntax: Syntax
) -> dict[int, bytes | None]:
    moment = work.decided_at.strftime("%Y%m%d%H%M%S.%f+0000").encode("ascii")
    assert work.term is not None  # noqa: S101 - write_copy asked
    modified = (
        items_of(data, found.get(ORIGINAL_ATTRIBUTES)),
        _original(data, found, modifier, moment, syntax),
    )
    equipment = items_of(data, found.get(CONTRIBUTING_EQUIPMENT)), _equipment(work, modifier, moment, syntax)
    changes: dict[int, bytes | None] = {
        INSTANCE_COERCION: element(INSTANCE_COERCION, b"DT", moment, syntax),
        ANATOMIC_REGION: _anatomic_region(work, syntax),
        BODY_PART: element(BODY_PART, b"CS", work.term.encode("ascii"), syntax),
        CONTRIBUTING_EQUIPMENT: sequence(CONTRIBUTING_EQUIPMENT, equipment, syntax),
        ORIGINAL_ATTRIBUTES: sequence(ORIGINAL_ATTRIBUTES, modified, syntax),
    }
    if work.paired and LATERALITY not in found and IMAGE_LATERALITY not in found:
        changes[LATERALITY] = element(LATERALITY, b"CS", b"", syntax)
    if not work.paired and LATERALITY in found:
        changes[LATERALITY] = None
    return changes


def _anatomic_region(work: DeliveryWork, syntax: Syntax) -> bytes | None:
    """One item (PS3.3 10.5): what this image shows, or the series' region where that is not known."""
    region = BY_KEY.get(work.image_region or "")
    value, meaning = (
        (region.code.value, region.code.meaning) if region else (work.code_value, work.code_meaning)
    )
    if value is None or meaning is None:
        return None
    return sequence(ANATOMIC_REGION, [_code(value, "SCT", meaning, syntax)], syntax)


def _code(value: str, scheme: str, meaning: str, syntax: Syntax) -> bytes:
    return item(
        (
            element(0x00080100, b"SH", value.encode("ascii"), syntax),
            element(0x00080102, b"SH", scheme.encode("ascii"), syntax),
            element(0x00080104, b"LO", meaning.encode("ascii"), syntax),
        ),
        syntax,
    )


def _equipment(work: DeliveryWork, modifier: Modifier, moment: bytes, syntax: Syntax) -> bytes:
    """One item of Contributing Equipment Sequence (PS3.3 C.12.1); the digest names the weights."""
    versions = "\\".join(filter(None, (work.software_version, work.weights_digest)))
    purpose = _code("109103", "DCM", "Modifying Equipment", syntax)
    return item(
        (
            element(0x00080070, b"LO", b"bodytag", syntax),
            element(0x00081010, b"SH", modifier.ae_title.encode("ascii"), syntax),
            element(0x00081090, b"LO", b"bodytag", syntax),
            element(0x00181020, b"LO", versions.encode("ascii"), syntax),
            element(0x0018A002, b"DT", moment, syntax),
            element(0x0018A003, b"ST", b"Body part told from the pixels", syntax),
            sequence(0x0040A170, [purpose], syntax),
        ),
        syntax,
    )


def _original(
    data: Buffer, found: Mapping[int, Element], modifier: Modifier, moment: bytes, syntax: Syntax
) -> bytes:
    """One item of Original Attributes Sequence (PS3.3 C.12.1): everything that the coercion touches."""
    previous: list[bytes] = []
    illegal: list[bytes] = []
    for tag, vr in _RECORDED:
        old = found.get(tag)
        value = b"" if old is None else bytes(data[old.value : old.value_end])
        if tag == BODY_PART and not _is_code_string(value):
            illegal.append(_nonconforming(tag, value, syntax))
        else:
            previous.append(element(tag, vr, value, syntax))
    reason = b"CORRECT" if _text(data, found, BODY_PART) else b"COERCE"
    content = [sequence(0x04000550, [item(previous, syntax)], syntax)]
    if illegal:
        content.append(sequence(0x04000551, illegal, syntax))
    content += [
        element(0x04000562, b"DT", moment, syntax),
        element(0x04000563, b"LO", modifier.ae_title.encode("ascii"), syntax),
        element(0x04000564, b"LO", b"", syntax),
        element(0x04000565, b"CS", reason, syntax),
    ]
    return item(content, syntax)


def _nonconforming(tag: int, value: bytes, syntax: Syntax) -> bytes:
    """One item of Nonconforming Modified Attributes Sequence: the selector and the bytes as they were."""
    selector = struct.pack(f"{syntax.order}HH", tag >> 16, tag & 0xFFFF)
    return item(
        (
            element(0x00720026, b"AT", selector, syntax),
            element(0x00720028, b"US", struct.pack(f"{syntax.order}H", 1), syntax),
            element(0x04000552, b"OB", value, syntax),
        ),
        syntax,
    )


def _is_code_string(value: bytes) -> bool:
    text = value.decode("latin-1").rstrip("\0 ").lstrip(" ")
    return _CODE_STRING.fullmatch(text) is not None


def _text(data: Buffer, found: Mapping[int, Element], tag: int) -> str:
    each = found.get(tag)
    if each is None:
        return ""
    return bytes(data[each.value : each.value_end]).decode("latin-1").strip("\0 ")


def _data_set(path: Path) -> memoryview:
    """Map a stored file and return its data set, unread; the map is closed with its last view."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[meta_end(path) :]
