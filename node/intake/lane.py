"""The fast lane: a C-STORE request is read, stored and answered at the socket, past the library's queues.

pynetdicom makes objects of every PDU and message and hands them through queues to a second thread. A storage
request of the plain form needs none of it: the whole command in one presentation data value, the data set
behind it, on an accepted context. All else stays with the library. Source: PS3.7 9.1.1, 9.3.1; PS3.8 E.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from node import dimse
from node.intake import pdu
from node.status import ERROR_COMMENT_CHARACTERS, SUCCESS, Rejection

_NOT_STORAGE: Final = frozenset(map(str, (Verification, StorageCommitmentPushModel)))

_LEAST_BYTES: Final = 1 << 16
_KEPT_BYTES: Final = 1 << 20
"""What an association may hold between messages: an image of 700 x 700 pixels."""

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


class Receipt(Protocol):
    """Takes an instance while it comes."""

    def add(self, piece: memoryview) -> None:
        """Take a piece of the data set; it is not looked at later."""

    def whole(self, data: memoryview) -> Rejection | None:
        """Take the data set as a whole; it is durable on return, or the answer says why not."""

    def close(self) -> None:
        """End, whether anything came or not."""


Store = Callable[[Association, StoreRequest], Receipt]
"""Begins to store an instance."""


class Body:
    """The data set of one message after the other, in memory that is kept for the next while it is small."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._size = 0

    def place(self, size_bytes: int) -> memoryview:
        """Return where the next bytes belong; they must be there before anything else is asked."""
        wanted = self._size + size_bytes
        if wanted > len(self._bytes):
            self._bytes += bytes(max(wanted, _LEAST_BYTES, len(self._bytes) * 9 // 8) - len(self._bytes))
        start, self._size = self._size, wanted
        return memoryview(self._bytes)[start:wanted]

    def whole(self) -> memoryview:
        """Return all that came."""
        return memoryview(self._bytes)[: self._size]

    def clear(self) -> None:
        """Begin anew."""
        self._size = 0
        if len(self._bytes) > _KEPT_BYTES:
            self._bytes = bytearray()


def begun(association: Association, body: bytes) -> StoreRequest | None:
    """Return the request that the body of a P-DATA-TF begins with; None where the library must see to it."""
    contexts: dict[int, Any] = association._accepted_cx
    context_id, control, value = next(dimse.values(memoryview(body)))
    context = contexts.get(context_id)
    if control != dimse.COMMAND | dimse.LAST or context is None or not context.as_scp:
        return None
    try:
        found = dimse.read(bytes(value))
    except dimse.CommandError:
        return None
    if (
        dimse.number(found, dimse.COMMAND_FIELD) != dimse.C_STORE_RQ
        or context.abstract_syntax in _NOT_STORAGE
    ):
        return None
    message_id = dimse.number(found, dimse.MESSAGE_ID)
    sop_class = dimse.text(found, dimse.AFFECTED_SOP_CLASS)
    sop_instance = dimse.text(found, dimse.AFFECTED_SOP_INSTANCE)
    if dimse.number(found, dimse.DATA_SET_TYPE) == dimse.NO_DATA_SET or message_id is None:
        return None
    if not (sop_class and sop_instance):
        return None
    return StoreRequest(context_id, message_id, sop_class, sop_instance, str(context.transfer_syntax[0]))


def values(request: StoreRequest, body: memoryview) -> Iterator[tuple[memoryview, bool]]:
    """Yield what the first P-DATA-TF holds of the request's data set, each value with whether it is the last.

    Raises Forbidden where something else comes on another context or in the same PDU behind it.
    """
    ended = False
    for context_id, control, value in dimse.values(body):
        check(request, context_id, ended)
        if not control & dimse.COMMAND:
            ended = bool(control & dimse.LAST)
            yield value, ended


def check(request: StoreRequest, context_id: int, ended: bool) -> None:
    """Raise Forbidden where a value does not belong to the request."""
    if ended or context_id != request.context_id:
        raise pdu.Forbidden("messages that are mixed")


def answer(request: StoreRequest, rejection: Rejection | None) -> bytes:
    """Return the P-DATA-TF of the response (PS3.7 Table 9.3-2)."""
    elements: dict[int, int | str] = {
        dimse.AFFECTED_SOP_CLASS: request.sop_class_uid,
        dimse.COMMAND_FIELD: dimse.C_STORE_RSP,
        dimse.ANSWERED_ID: request.message_id,
        dimse.DATA_SET_TYPE: dimse.NO_DATA_SET,
        dimse.STATUS: SUCCESS,
        dimse.AFFECTED_SOP_INSTANCE: request.sop_instance_uid,
    }
    if rejection is not None:
        elements[dimse.STATUS] = rejection.status
        elements[dimse.ERROR_COMMENT] = rejection.comment[:ERROR_COMMENT_CHARACTERS]
    return dimse.p_data(request.context_id, dimse.COMMAND | dimse.LAST, dimse.write(elements))


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
