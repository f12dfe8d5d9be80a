"""The guarded socket of an association: absolute deadlines, PDUs checked, one message at a time.

It stands between the connection and pynetdicom, whose timeouts are per read (a byte every few seconds keeps
an association open for ever) and whose accepted sockets have none at all. All of it runs in the thread of the
association's upper layer, the only one that reads and sends; so there is no lock but that of Memory.
"""

import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from node.dimse import P_DATA_TF, VALUE_HEADER_BYTES
from node.intake import pdu
from node.intake.bounds import Limits, Memory
from node.intake.lane import Body, Gate, Receipt, Store, StoreRequest, answer, begun, check, values
from node.intake.upper_layer import Patient

_READ_BYTES: Final = 4096
"""What is read ahead of a place of its own: commands and headers, and little of what is copied then."""
_WAIT_S: Final = 1.0
"""How long a read waits at a time, so that the socket's timeout need not be set anew for each."""
_PATIENCE_S: Final = 0.05
"""How long the upper layer waits for the peer at a time, while nothing is to be sent."""

_ABORT_PDU: Final = bytes((pdu.ABORT, 0, 0, 0, 0, 4, 0, 0, 2, 0))
"""A-ABORT from the service provider, no reason given (PS3.8 Table 9-26)."""

_ABORT_TIMEOUT_S: Final = 0.5


class Guarded(AssociationSocket):  # type: ignore[misc]  # the library is not typed
    """A connection whose association request was read already; `request` is that PDU.

    `store` serves C-STORE requests of the plain form; `cut` is told why, when the guard ends the association.
    """

    def __init__(
        self,
        association: Association,
        connection: socket.socket,
        request: bytes,
        limits: Limits,
        memory: Memory,
        store: Store,
        cut: Callable[[str], None],
    ) -> None:
        super().__init__(association, client_socket=connection)
        association.dul.state_machine = Patient(association.dul)
        self._gate = Gate(association)
        self._limits, self._memory, self._store, self._cut = limits, memory, store, cut
        self._messages = pdu.Messages(limits.maximum_message_bytes)
        self._buffer = bytearray(request)
        self._body = Body()
        self._kind: int | None = None  # of the PDU whose body comes next
        self._associated = False
        self._unanswered = 1
        self._ended = False
        self._evicted: str | None = None
        now = time.monotonic()
        self._opened_s = self._last_s = now
        self._pdu_s: float | None = None
        self._message_s: float | None = None

    @property
    def ready(self) -> bool:
        """Serve what can be served here; tell whether a PDU begins that is the library's.

        Called again and again by the upper layer, which sends in between.
        """
        while self._listens():
            if not self._buffer:
                overdue = self._overdue(time.monotonic())
                if overdue is not None:
                    self._end(overdue)
                    self._lost()
                    return False
                if not self._something_came():
                    return False
            if not self._served():
                self._gate.work.set()
                return True
        return False

    def _listens(self) -> bool:
        """Tell whether anything may be read now."""
        if self.socket is None or not self._is_connected or self._ended:
            return False
        upper_layer = self._assoc.dul
        if upper_layer._kill_thread or upper_layer.to_provider_queue.qsize():
            return False  # its own side wants to send or to end
        # What comes stays in the network until the message before is served.
        return not self._assoc.dimse.msg_queue.qsize()

    def _lost(self) -> None:
        """Tell the upper layer that the connection is closed (PS3.8 Table 9-10, event 17)."""
        self.event_queue.put("Evt17")
        self._gate.work.set()

    def _served(self) -> bool:
        """Serve the C-STORE request that begins here; False where what begins is the library's."""
        request = self._begun()
        if request is None:
            return False
        with closing(self._store(self._assoc, request)) as receipt:
            if not self._took_data_set(request, receipt):
                if self._ended:
                    self._lost()
                return self._ended  # otherwise the peer ends the association amid the message
            with self._body.whole() as data:
                rejection = receipt.whole(data)
        self._body.clear()
        self.send(answer(request, rejection))
        return True

    def _begun(self) -> StoreRequest | None:
        """Look at the PDU that comes next, and leave it where it is."""
        if self._unanswered or self._messages.open:
            return None
        self._pdu_s = time.monotonic()
        if not self._filled(pdu.HEADER_BYTES) or self._buffer[0] != P_DATA_TF:
            return None
        try:
            length = pdu.length_of(self._next_header(), self._limits.maximum_pdu_bytes, associated=True)
        except pdu.Forbidden:
            return None
        end = pdu.HEADER_BYTES + length
        return begun(self._assoc, bytes(self._buffer[pdu.HEADER_BYTES : end])) if self._filled(end) else None

    def _took_data_set(self, request: StoreRequest, receipt: Receipt) -> bool:
        """Read a request to its end, and its data set into the body; False where it breaks off."""
        self._body.clear()
        first = True
        try:
            while self._filled(pdu.HEADER_BYTES) and self._buffer[0] == P_DATA_TF:
                ended = self._took_first(request, receipt) if first else self._took_next(request, receipt)
                if ended is not False:
                    return bool(ended)
                first = False
        except pdu.Forbidden as forbidden:
            self._end(str(forbidden))
        return False

    def _took_first(self, request: StoreRequest, receipt: Receipt) -> bool | None:
        """Take the P-DATA-TF of the command; tell whether the data set ended in it, None at a breach."""
        (length,) = struct.unpack_from(">L", self._buffer, 2)
        if len(self.recv(pdu.HEADER_BYTES)) < pdu.HEADER_BYTES:
            return None
        body = self.recv(length)
        if not body:
            return None
        ended = False
        with memoryview(body) as view:
            for value, is_last in values(request, view):
                with self._body.place(len(value)) as place:
                    place[:] = value
                    receipt.add(place)
                ended = is_last
        return ended

    def _took_next(self, request: StoreRequest, receipt: Receipt) -> bool | None:
        """Take a P-DATA-TF of the data set straight into the body; as `_took_first` else."""
        header = self._header(pdu.HEADER_BYTES)
        if len(header) < pdu.HEADER_BYTES:
            return None
        self._kind = None
        (left,) = struct.unpack_from(">L", header, 2)
        if not self._memory.take(self, left):
            self._end("its messages take most of the memory")
            return None
        ended = False
        while left:
            if left < VALUE_HEADER_BYTES:
                raise pdu.Forbidden("a presentation data value that is cut off")
            head = self._exactly(VALUE_HEADER_BYTES)
            if not head:
                return None
            length, context_id, control = struct.unpack(">LBB", head)
            pdu.check_value(length, left)
            check(request, context_id, ended)
            ended = self._messages.of_data_set(control, length - 2)
            with self._body.place(length - 2) as place:
                if not self._into(place):
                    return None
                receipt.add(place)
            left -= 4 + length
        self._pdu_s, self._last_s = None, time.monotonic()
        if ended:
            self._message_s = None
        return ended

    def _next_header(self) -> bytes:
        return bytes(self._buffer[: pdu.HEADER_BYTES])

    def _something_came(self) -> bool:
        connection = self._connection()
        try:
            connection.settimeout(0.0 if self._unanswered else _PATIENCE_S)
            data = connection.recv(_READ_BYTES)
        except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
            return False
        except OSError:
            self._ended = True
            self._lost()
            return False
        self._buffer += data
        return True  # even of nothing: the end of the connection is read as a PDU that is cut off

    def recv(self, nr_bytes: int) -> bytearray:
        """Return a PDU's header or its body; less than asked for where the peer or the guard ended it."""
        if self._kind is None:
            return self._header(nr_bytes)
        kind, self._kind = self._kind, None
        if kind == P_DATA_TF and not self._memory.take(self, nr_bytes):
            self._end("its messages take most of the memory")
            return bytearray()
        body = self._exactly(nr_bytes)
        if len(body) == nr_bytes and not self._took(kind, body):
            return bytearray()
        if kind == pdu.ABORT:
            body[2:4] = b"\0\0"  # source and reason that do not exist would end the upper layer's thread
        return body

    def _header(self, nr_bytes: int) -> bytearray:
        self._pdu_s = time.monotonic()
        header = self._exactly(nr_bytes)
        if len(header) < nr_bytes:
            return header
        try:
            pdu.length_of(bytes(header), self._limits.maximum_pdu_bytes, self._associated)
        except pdu.Forbidden as forbidden:
            self._end(str(forbidden))
            return bytearray()
        self._kind = header[0]
        return header

    def _took(self, kind: int, body: bytearray) -> bool:
        """Note a whole PDU; False where it was forbidden."""
        now = time.monotonic()
        self._pdu_s, self._last_s, self._associated = None, now, True
        if kind != P_DATA_TF:
            self._unanswered += 1
            return True
        try:
            with memoryview(body) as view:
                self._unanswered += self._messages.feed(view)
        except pdu.Forbidden as forbidden:
            self._end(str(forbidden))
            return False
        if not self._messages.open:
            self._message_s = None
        elif self._message_s is None:
            self._message_s = now
        return True

    def _exactly(self, nr_bytes: int) -> bytearray:
        """Return so many bytes, or none where the peer or the guard ended it."""
        if not self._filled(nr_bytes):
            return bytearray()
        taken = self._buffer[:nr_bytes]
        del self._buffer[:nr_bytes]
        return taken

    def _filled(self, nr_bytes: int) -> bool:
        """Wait until so many bytes are there; False where the peer or the guard ended it."""
        while len(self._buffer) < nr_bytes and not self._ended:
            piece = bytearray(max(_READ_BYTES, nr_bytes - len(self._buffer)))
            self._buffer += piece[: self._received(piece)]
        return not self._ended

    def _into(self, place: memoryview) -> bool:
        """Read until a place is full; False where the peer or the guard ended it."""
        filled = min(len(place), len(self._buffer))
        place[:filled] = self._buffer[:filled]
        del self._buffer[:filled]
        while filled < len(place) and not self._ended:
            filled += self._received(place[filled:])
        return not self._ended

    def _received(self, place: bytearray | memoryview) -> int:
        """Wait for what comes next and return its length, 0 where nothing came or it was ended."""
        now = time.monotonic()
        deadline, reason = min(self._deadlines())
        if now >= deadline:
            self._end(reason)
            return 0
        patience_s = min(_WAIT_S, max(0.001, deadline - now))
        connection = self._connection()
        try:
            if connection.gettimeout() != patience_s:  # each call of settimeout is one of the system
                connection.settimeout(patience_s)
            received = connection.recv_into(place)
        except TimeoutError:
            return 0
        except OSError:
            received = 0
        if not received:
            self._ended = True
            if self._evicted is not None:
                self._cut(self._evicted)
        return received

    def send(self, bytestream: bytes) -> None:
        """Send a PDU within the time that a PDU may take, or end the association."""
        try:
            connection = self._connection()
            connection.settimeout(self._limits.pdu_timeout_s)
            connection.sendall(bytestream)
        except (OSError, AttributeError):  # the peer went away, or the socket is closed already
            self._lost()
            return
        self._unanswered, self._last_s = 0, time.monotonic()
        self._gate.work.clear()
        self._memory.keep(self, self._messages.bytes)
        evt.trigger(self.assoc, evt.EVT_DATA_SENT, {"data": bytestream})

    def close(self) -> None:
        """Close the connection, and hold nothing for it."""
        self._memory.keep(self)
        super().close()

    def evict(self, reason: str) -> None:
        """End the association from another thread."""
        self._evicted = reason
        connection = self.socket
        if connection is not None:
            cut_off(connection)

    def _deadlines(self) -> list[tuple[float, str]]:
        limits = self._limits
        found = [(self._opened_s + limits.whole_timeout_s, "the association lasts longer than allowed")]
        if self._pdu_s is not None:
            found.append((self._pdu_s + limits.pdu_timeout_s, "a PDU takes longer than allowed"))
        elif not self._unanswered:
            found.append((self._last_s + limits.idle_timeout_s, "the peer is silent"))
        if self._message_s is not None:
            found.append((self._message_s + limits.message_timeout_s, "a message takes longer than allowed"))
        return found

    def _overdue(self, now: float) -> str | None:
        deadline, reason = min(self._deadlines())
        return reason if now >= deadline else None

    def _end(self, reason: str) -> None:
        """Abort, once; what is sent or read from here on fails."""
        if self._ended:
            return
        self._ended = True
        self._cut(reason)
        connection = self._connection()
        with suppress(OSError):
            connection.settimeout(_ABORT_TIMEOUT_S)
            connection.sendall(_ABORT_PDU)
        cut_off(connection)

    def _connection(self) -> socket.socket:
        if self.socket is None:
            raise OSError("the connection is closed")
        return cast(socket.socket, self.socket)


def cut_off(connection: socket.socket) -> None:
    """Shut a connection down from any thread; whoever waits for it wakes up. TLS is not asked."""
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
