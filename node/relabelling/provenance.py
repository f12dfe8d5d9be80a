"""What a copy says of its own changes: Original Attributes and Contributing Equipment (PS3.3 C.12.1)."""

import re
import struct
from collections.abc import Collection, Mapping
from typing import Final

from db.records import DeliveryWork
from node.relabelling import tags
from node.relabelling.encoded import Buffer, Element, Syntax
from node.relabelling.splice import element, item, sequence

ALWAYS_RECORDED: Final = frozenset({tags.ANATOMIC_REGION, tags.BODY_PART, tags.LATERALITY})
"""Recorded with zero length where they were absent, too: together they say what the series was."""

_CONTRIBUTION: Final = (b"Body part told from the pixels", b"Body part corrected by a person")

_CODE_STRINGS: Final = {
    tags.IMAGE_TYPE: re.compile(r"[A-Z0-9 _]{0,16}(\\[A-Z0-9 _]{0,16})*"),
    tags.BODY_PART: re.compile(r"[A-Z0-9 _]{0,16}"),
    tags.LATERALITY: re.compile(r"[A-Z0-9 _]{0,16}"),
}


def code(value: str, scheme: str, meaning: str, syntax: Syntax, *more: bytes) -> bytes:
    """Encode one item that holds a coded concept (PS3.3 8.1); `more` are elements with higher tags."""
    return item(
        (
            element(tags.CODE_VALUE, b"SH", value.encode("ascii"), syntax),
            element(0x00080102, b"SH", scheme.encode("ascii"), syntax),
            element(0x00080104, b"LO", meaning.encode("ascii"), syntax),
            *more,
        ),
        syntax,
    )


def moment(work: DeliveryWork) -> bytes:
    """Return the time of the decision as a DT in UTC, with its offset (PS3.5 6.2)."""
    return work.decided_at.strftime("%Y%m%d%H%M%S.%f+0000").encode("ascii")


def contributing_equipment(work: DeliveryWork, ae_title: str, syntax: Syntax) -> bytes:
    """Encode one item of Contributing Equipment Sequence (0018,A001); the digest names the weights."""
    versions = "\\".join(filter(None, (work.software_version, work.weights_digest)))
    purpose = code("109103", "DCM", "Modifying Equipment", syntax)
    return item(
        (
            element(0x00080070, b"LO", b"bodytag", syntax),
            element(0x00081010, b"SH", ae_title.encode("ascii"), syntax),
            element(0x00081090, b"LO", b"bodytag", syntax),
            element(0x00181020, b"LO", versions.encode("ascii"), syntax),
            element(0x0018A002, b"DT", moment(work), syntax),
            element(0x0018A003, b"ST", _CONTRIBUTION[work.correction_id is not None], syntax),
            sequence(0x0040A170, [purpose], syntax),
        ),
        syntax,
    )


def original_attributes(
    data: Buffer,
    found: Mapping[int, Element],
    changed: Collection[int],
    replaced: bool,
    work: DeliveryWork,
    ae_title: str,
    syntax: Syntax,
) -> bytes:
    """Encode one item of Original Attributes Sequence (0400,0561) for the attributes that change.

    `replaced` tells whether a value was replaced, not only filled in. A sequence is recorded whole, however
    little in it changes; an illegal value has zero length among the modified attributes and its bytes among
    the nonconforming ones (PS3.3 C.12.1.1.9).
    """
    previous: list[bytes] = []
    illegal: list[bytes] = []
    for tag in sorted(ALWAYS_RECORDED | (tags.VRS.keys() & set(changed))):
        recorded, value = _recorded(data, found.get(tag), tag, syntax)
        previous.append(recorded)
        if value is not None:
            illegal.append(_nonconforming(tag, value, syntax))
    content = [sequence(0x04000550, [item(previous, syntax)], syntax)]
    if illegal:
        content.append(sequence(0x04000551, illegal, syntax))
    content += [
        element(0x04000562, b"DT", moment(work), syntax),
        element(0x04000563, b"LO", ae_title.encode("ascii"), syntax),
        element(0x04000564, b"LO", b"", syntax),
        element(0x04000565, b"CS", b"CORRECT" if replaced else b"COERCE", syntax),
    ]
    return item(content, syntax)


def _recorded(data: Buffer, old: Element | None, tag: int, syntax: Syntax) -> tuple[bytes, bytes | None]:
    """Return the previous element, and the bytes of its value where that is illegal."""
    vr = tags.VRS[tag]
    if old is None:
        return element(tag, vr, b"", syntax), None
    value = _value(data, old)
    if vr == b"SQ" and old.vr == b"UN":
        return element(tag, b"UN", value, syntax), None  # its items are implicit VR (PS3.5 6.2.2)
    if _conforms(tag, vr, old.vr, value):
        return element(tag, vr, value, syntax), None
    return element(tag, vr, b"", syntax), value


def _conforms(tag: int, vr: bytes, found_vr: bytes, value: bytes) -> bool:
    if vr == b"SQ":
        return found_vr in (b"SQ", b"")
    pattern = _CODE_STRINGS.get(tag)
    return pattern is None or pattern.fullmatch(value.decode("latin-1").rstrip("\0 ").lstrip(" ")) is not None


def _nonconforming(tag: int, value: bytes, syntax: Syntax) -> bytes:
    """Encode one item of Nonconforming Modified Attributes Sequence: the selector, the bytes as they were."""
    selector = struct.pack(f"{syntax.order}HH", tag >> 16, tag & 0xFFFF)
    return item(
        (
            element(0x00720026, b"AT", selector, syntax),
            element(0x00720028, b"US", struct.pack(f"{syntax.order}H", 1), syntax),
            element(0x04000552, b"OB", value, syntax),
        ),
        syntax,
    )


def _value(data: Buffer, found: Element) -> bytes:
    return bytes(data[found.value : found.value_end])
