"""C-STORE at the socket: stored bytes go out as they lie there, on an association that pynetdicom opened.

The library makes an object of each PDU in one thread, hands it to another, and both look for work a thousand
times a second. While instances are sent its upper layer leaves the socket alone; to release it gets it back.
Source: PS3.7 9.1.1, 9.3.1; PS3.8 9.3.5, E.
"""

import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from pynetdicom.association import Association

from node import dimse
from node.delivery.outgoing import Encoded
from node.delivery.transport import Answer, PeerError
from node.relabelling.encoded import Buffer

MAXIMUM_PDU_BYTES: Final = 131072
_LEAST_BYTES_PER_S: Final = 10_000
"""A peer that reads more slowly than this is taken for one that hangs."""

_MAXIMUM_COMMAND_BYTES: Final = 65536
_AT_ONCE: Final = 64
_IDLE_LOOP_S: Final = 0.01
_TAKEN_S: Final = 10.0
_HALF: Final = dimse.VALUE_HEADER_BYTES
ENDED: Final = "the destination ended the association"
_NO_ANSWER: Final = "the destination gave no answer in time"
_ODD: Final = "the destination answered with something that is no answer"


class Wire:
    """The socket of an established association, taken from the library until `give_back`.

    All methods raise PeerError where the peer ends the association, breaks the protocol or keeps silent.
    """

    def __init__(self, association: Association, timeout_s: float) -> None:
        self._association: Any = association
        self._timeout_s = timeout_s
        lent = association.dul.socket
        if lent is None or lent.socket is None:
            raise PeerError(ENDED)
        self._lent: Any = lent
        self._socket: socket.socket = lent.socket
        self._patience_s = self._socket.gettimeout()
        announced = association.acceptor.maximum_length or MAXIMUM_PDU_BYTES
        self._piece_bytes = min(announced, MAXIMUM_PDU_BYTES) - _HALF
        self._take()

    def _take(self) -> None:
        """Keep the upper layer from the socket; on return it does not read any more."""
        upper_layer = self._association.dul
        self._lent._is_connected = False
        upper_layer._run_loop_delay = _IDLE_LOOP_S
        self._association._dul_ready.clear()
        if not self._association._dul_ready.wait(_TAKEN_S):  # set at the start of each turn of its loop
            raise PeerError(ENDED)

    def give_back(self) -> None:
        """Let the library go on with the socket."""
        self._socket.settimeout(self._patience_s)
        self._association.dul._run_loop_delay = 0.001
        self._lent._is_connected = True

    def store(
        self, context_id: int, message_id: int, instance: Encoded, meanwhile: Callable[[], None]
    ) -> Answer:
        """Send one instance, do something else while the peer stores it, and return the answer."""
        command = dimse.write(
            {
                dimse.AFFECTED_SOP_CLASS: instance.sop_class_uid,
                dimse.COMMAND_FIELD: dimse.C_STORE_RQ,
                dimse.MESSAGE_ID: message_id,
                dimse.PRIORITY: 0,
                dimse.DATA_SET_TYPE: 1,
                dimse.AFFECTED_SOP_INSTANCE: instance.sop_instance_uid,
            }
        )
        pieces = [memoryview(piece).cast("B") for piece in instance.pieces if len(piece)]
        size_bytes = sum(map(len, pieces))
        head = dimse.p_data(context_id, dimse.COMMAND | dimse.LAST, command)
        deadline_s = time.monotonic() + self._timeout_s + size_bytes / _LEAST_BYTES_PER_S
        try:
            self._send([head, *_framed(context_id, pieces, size_bytes, self._piece_bytes)], deadline_s)
            meanwhile()
            return self._answer(message_id)
        except TimeoutError as error:
            raise PeerError(_NO_ANSWER) from error
        except OSError as error:
            raise PeerError(ENDED) from error
        except dimse.CommandError as error:
            raise PeerError(_ODD) from error

    def _send(self, buffers: Iterable[Buffer], deadline_s: float) -> None:
        left = deque(buffers)
        while left:
            self._socket.settimeout(_left(deadline_s))
            some = [left.popleft() for _ in range(min(len(left), _AT_ONCE))]
            if isinstance(self._socket, ssl.SSLSocket):  # it has no sendmsg
                self._socket.sendall(b"".join(some))
                continue
            sent = self._socket.sendmsg(some)
            left.extendleft(reversed(list(_unsent(some, sent))))

    def _answer(self, message_id: int) -> Answer:
        """Read the response (PS3.7 Table 9.3-2)."""
        command = dimse.read(self._command(time.monotonic() + self._timeout_s))
        status = dimse.number(command, dimse.STATUS)
        answered = dimse.number(command, dimse.ANSWERED_ID)
        field = dimse.number(command, dimse.COMMAND_FIELD)
        if status is None or (field, answered) != (dimse.C_STORE_RSP, message_id):
            raise PeerError(_ODD)
        return Answer(status, dimse.text(command, dimse.ERROR_COMMENT))

    def _command(self, deadline_s: float) -> bytes:
        """Read one command, however many values it comes in."""
        command = b""
        while True:
            kind, length = struct.unpack(">BxL", self._received(dimse.PDU_HEADER_BYTES, deadline_s))
            if kind != dimse.P_DATA_TF:
                raise PeerError(ENDED)
            if not _HALF <= length <= MAXIMUM_PDU_BYTES:
                raise PeerError(_ODD)
            for _, control, value in dimse.values(memoryview(self._received(length, deadline_s))):
                command += value
                if control & dimse.LAST:
                    return command
            if len(command) > _MAXIMUM_COMMAND_BYTES:
                raise PeerError(_ODD)

    def _received(self, size_bytes: int, deadline_s: float) -> bytes:
        data = b""
        while len(data) < size_bytes:
            self._socket.settimeout(_left(deadline_s))
            piece = self._socket.recv(size_bytes - len(data))
            if not piece:
                raise PeerError(ENDED)
            data += piece
        return data


def _framed(context_id: int, pieces: Sequence[memoryview], size_bytes: int, most: int) -> Iterator[Buffer]:
    """Yield the P-DATA-TF PDUs of a data set; its bytes are views, not copies."""
    left, room = size_bytes, 0
    for piece in pieces:
        start = 0
        while start < len(piece):
            if not room:
                room = min(left, most)
                yield dimse.p_data_header(context_id, dimse.LAST if room == left else 0, room)
            taken = min(room, len(piece) - start)
            yield piece[start : start + taken]
            start, room, left = start + taken, room - taken, left - taken
    if not size_bytes:
        yield dimse.p_data_header(context_id, dimse.LAST, 0)


def _unsent(buffers: Iterable[Buffer], sent: int) -> Iterator[Buffer]:
    for buffer in buffers:
        if sent < len(buffer):
            yield memoryview(buffer)[sent:]
        sent = max(0, sent - len(buffer))


def _left(deadline_s: float) -> float:
    left = deadline_s - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
