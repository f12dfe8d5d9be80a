"""Which instance a data set is: its UIDs, read from the encoded bytes and held against the command."""

import threading
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

from node.intake.nesting import walk
from node.relabelling.encoded import DEFLATED, Buffer, Element, EncodedError, Syntax, plain
from node.status import CANNOT_UNDERSTAND, DATA_SET_MISMATCH, Rejection
from node.storage.spool import SeriesKey, checked_uid

SOP_CLASS_UID: Final = 0x00080016
SOP_INSTANCE_UID: Final = 0x00080018
STUDY_INSTANCE_UID: Final = 0x0020000D
SERIES_INSTANCE_UID: Final = 0x0020000E
KEYWORDS: Final = {
    SOP_CLASS_UID: "SOP Class UID",
    SOP_INSTANCE_UID: "SOP Instance UID",
    STUDY_INSTANCE_UID: "Study Instance UID",
    SERIES_INSTANCE_UID: "Series Instance UID",
}

_ONE_AT_A_TIME: Final = threading.Lock()
"""Deflated data sets are inflated one after the other, so that the cap of one is the cap of all."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The UIDs by which an instance is kept."""

    key: SeriesKey
    sop_class_uid: str
    sop_instance_uid: str


def identify(data: Buffer, transfer_syntax_uid: str, cap_bytes: int) -> Identity:
    """Walk the whole data set and return its UIDs.

    An object without study and series (hanging protocols, colour palettes: PS3.3 A.44 and others) is a
    series of its own. Raises Rejection: 0xC000 for bytes that are no data set or UIDs that are none,
    0xA900 where a SOP UID is missing.
    """
    try:
        with _ONE_AT_A_TIME if transfer_syntax_uid == DEFLATED else nullcontext():
            found = _uids(data, transfer_syntax_uid, cap_bytes)
    except EncodedError as error:
        raise Rejection(CANNOT_UNDERSTAND, str(error)) from error
    for tag in (SOP_CLASS_UID, SOP_INSTANCE_UID):
        if not found.get(tag):
            raise Rejection(DATA_SET_MISMATCH, f"the data set has no {KEYWORDS[tag]}")
    instance = checked_uid(found[SOP_INSTANCE_UID], KEYWORDS[SOP_INSTANCE_UID])
    study = checked_uid(found.get(STUDY_INSTANCE_UID) or instance, KEYWORDS[STUDY_INSTANCE_UID])
    series = checked_uid(found.get(SERIES_INSTANCE_UID) or instance, KEYWORDS[SERIES_INSTANCE_UID])
    sop_class = checked_uid(found[SOP_CLASS_UID], KEYWORDS[SOP_CLASS_UID])
    return Identity(SeriesKey(study, series), sop_class, instance)


def check_command(identity: Identity, sop_class_uid: str, sop_instance_uid: str) -> None:
    """Hold the data set against the command's affected UIDs (PS3.4 B.2.3: 0xA900 on a mismatch)."""
    if identity.sop_class_uid != sop_class_uid:
        raise Rejection(DATA_SET_MISMATCH, "SOP Class UID differs from the command's")
    if identity.sop_instance_uid != sop_instance_uid:
        raise Rejection(DATA_SET_MISMATCH, "SOP Instance UID differs from the command's")


def _uids(data: Buffer, transfer_syntax_uid: str, cap_bytes: int) -> dict[int, str]:
    walkable = plain(data, transfer_syntax_uid, cap_bytes)
    syntax = Syntax.found_in(walkable, transfer_syntax_uid)
    return {tag: _uid(walkable, element) for tag, element in walk(walkable, syntax, KEYWORDS).items()}


def _uid(data: Buffer, element: Element) -> str:
    try:
        return bytes(data[element.value : element.end]).rstrip(b"\0 ").decode("ascii")
    except UnicodeDecodeError as error:
        raise EncodedError(f"{KEYWORDS[element.tag]} is no text") from error
