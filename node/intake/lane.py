"""The fast lane: a C-STORE request is read, stored and answered at the socket, past the library's queues.

pynetdicom makes objects of every PDU and message and hands them through queues to a second thread. A storage
request of the plain form needs none of it: the whole command in one presentation data value, the data set
behind it, on an accepted context. All else stays with the library. Source: PS3.7 9.1.1, 9.3.1; PS3.8 E.
"""

import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from node.intake import pdu
from node.status import ERROR_COMMENT_CHARACTERS, SUCCESS, Rejection

_C_STORE_RQ: Final = 0x0001
_C_STORE_RSP: Final = 0x8001
_SOP_CLASS, _SOP_INSTANCE = 0x0002, 0x1000
_MESSAGE_ID, _ANSWERED_ID = 0x0110, 0x0120
_STATUS, _ERROR_COMMENT = 0x0900, 0x0902

_COMMAND, _LAST = 1, 2
"""Bits of a message control header (PS3.8 E.2)."""

_NOT_STORAGE: Final = frozenset(map(str, (Verification, StorageCommitmentPushModel)))

_REST_S: Final = 0.1
"""How long the library's reactor stands still at a time while nothing is left to it."""


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """A C-STORE request whose data set comes next (PS3.7 Table 9.3-1)."""

    context_id: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


Store = Callable[[Association, StoreRequest, memoryview], Rejection | None]
"""Stores an instance; it is durable on return, or the answer says why not."""


def begun(association: Association, body: bytes) -> StoreRequest | None:
    """Return the request that the body of a P-DATA-TF begins with; None where the library must see to it."""
    contexts: dict[int, Any] = association._accepted_cx
    try:
        context_id, control, value = next(_values(memoryview(body)))
        context = contexts.get(context_id)
        if control != _COMMAND | _LAST or context is None or not context.as_scp:
            return None
        found = pdu.command(bytes(value))
    except pdu.Forbidden:
        return None
    if _number(found, pdu.COMMAND_FIELD) != _C_STORE_RQ or context.abstract_syntax in _NOT_STORAGE:
        return None
    message_id = _number(found, _MESSAGE_ID)
    sop_class, sop_instance = _uid(found, _SOP_CLASS), _uid(found, _SOP_INSTANCE)
    if _number(found, pdu.DATA_SET_TYPE) == pdu.NO_DATA_SET or not (sop_class and sop_instance):
        return None
    if message_id is None:
        return None
    return StoreRequest(context_id, message_id, sop_class, sop_instance, str(context.transfer_syntax[0]))


def collect(request: StoreRequest, body: memoryview, data: bytearray) -> bool:
    """Add what a P-DATA-TF holds of the request's data set; tell whether that is all of it.

    Raises Forbidden where something else comes on another context or in the same PDU behind it.
    """
    ended = False
    for context_id, control, value in _values(body):
        if ended or context_id != request.context_id:
            raise pdu.Forbidden("messages that are mixed")
        if not control & _COMMAND:
            data += value
            ended = bool(control & _LAST)
    return ended


def answer(request: StoreRequest, rejection: Rejection | None) -> bytes:
    """Return the P-DATA-TF of the response (PS3.7 Table 9.3-2)."""
    status = SUCCESS if rejection is None else rejection.status
    comment = "" if rejection is None else rejection.comment[:ERROR_COMMENT_CHARACTERS]
    elements = [
        _element(_SOP_CLASS, _padded(request.sop_class_uid, b"\0")),
        _element(pdu.COMMAND_FIELD, struct.pack("<H", _C_STORE_RSP)),
        _element(_ANSWERED_ID, struct.pack("<H", request.message_id)),
        _element(pdu.DATA_SET_TYPE, struct.pack("<H", pdu.NO_DATA_SET)),
        _element(_STATUS, struct.pack("<H", status)),
        _element(_ERROR_COMMENT, _padded(comment, b" ")) if comment else b"",
        _element(_SOP_INSTANCE, _padded(request.sop_instance_uid, b"\0")),
    ]
    rest = b"".join(elements)
    command = _element(0x0000, struct.pack("<L", len(rest))) + rest
    value = struct.pack(">LBB", len(command) + 2, request.context_id, _COMMAND | _LAST) + command
    return struct.pack(">BxL", pdu.P_DATA_TF, len(value)) + value


class Gate(threading.Event):
    """Takes the place of an accepted association's checkpoint, which its reactor passes again and again.

    As shipped (pynetdicom 3.0) the reactor looks a thousand times a second whether there is a message; here
    it stands still until something is left to the library.
    """

    def __init__(self, association: Any) -> None:
        super().__init__()
        self.set()
        self.work = threading.Event()
        association._reactor_checkpoint = self

    def wait(self, timeout: float | None = None) -> bool:
        """Stop the reactor here."""
        self.work.wait(_REST_S)
        return super().wait(timeout)


def _values(body: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Walk presentation data values: context, message control header, content (PS3.8 Table 9-23)."""
    offset = 0
    while offset + 6 <= len(body):
        length, context_id, control = struct.unpack_from(">LBB", body, offset)
        yield context_id, control, body[offset + 6 : offset + 4 + length]
        offset += 4 + length


def _number(command: dict[int, bytes], element: int) -> int | None:
    value = command.get(element)
    return int.from_bytes(value, "little") if value else None


def _uid(command: dict[int, bytes], element: int) -> str:
    """Return a UID as it came; what is no text is judged with the data set, as with the library."""
    return command.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")


def _padded(text: str, padding: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    return value + padding * (len(value) % 2)


def _element(element: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0x0000, element, len(value)) + value
