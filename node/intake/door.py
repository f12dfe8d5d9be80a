"""The door: accepts connections, and gives pynetdicom only those that asked properly for an association.

The accept loop does nothing but accept. Each connection has a thread of its own, which does the TLS handshake
and reads the association request under one absolute deadline, decides who may in, and waits for the end.
"""

import errno
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from node import metrics
from node.auditing.audit import NODE_AUTHENTICATION, Alerts
from node.intake import pdu
from node.intake.bounds import Limits, Memory
from node.intake.certificates import Certificates, names, why
from node.intake.guard import Guarded
from node.intake.lane import Store
from node.intake.lobby import Full, Lobby, Visit
from node.settings.receive import Caller, Receive

log = structlog.get_logger()

_NOT_RECOGNISED: Final = (1, 1, 3)
_LIMIT_EXCEEDED: Final = (2, 3, 2)
"""A-ASSOCIATE-RJ: result, source, reason (PS3.8 Table 9-21): calling AE title not recognised; local limit."""

_LINGER_S: Final = 2.0
_OUT_OF_HANDLES_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Admission:
    """Decides who may in; shared by all ports of a node."""

    config: Receive
    lobby: Lobby
    memory: Memory
    alerts: Alerts
    store: Store
    departed: Callable[[Association], None]

    def may_knock(self, address: str) -> bool:
        """Tell whether anybody may come from an address at all."""
        return self.config.promiscuous or any(each.may_come_from(address) for each in self.config.callers)

    def caller(self, request: pdu.Request, address: str, shown: frozenset[str]) -> Caller | None:
        """Return whose association it would be, None where it is nobody's."""
        for each in self.config.callers:
            if each.admits(request.calling_ae_title, address, shown):
                return each
        return Caller(ae_title="*") if self.config.promiscuous else None

    @property
    def limits(self) -> Limits:
        """What a peer may do once it is in."""
        config = self.config
        return Limits(
            config.maximum_pdu_bytes,
            int(config.maximum_instance_bytes),
            config.pdu_timeout_s,
            config.message_timeout_s,
            config.idle_timeout_s,
            config.whole_timeout_s,
        )


class Door(ThreadedAssociationServer):  # type: ignore[misc]  # the library is not typed
    """A listening socket; with certificates it speaks TLS only."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, *arguments: Any, admission: Admission, certificates: Certificates | None, **options: Any
    ) -> None:
        self.admission = admission
        self.certificates = certificates
        super().__init__(*arguments, request_handler=_Visitor, **options)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept, and nothing else: what takes time is done in the connection's own thread."""
        try:
            connection, address = self.socket.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                log.error("no more connections can be accepted", reason=error.strerror)
                threading.Event().wait(_OUT_OF_HANDLES_S)  # the connection still waits: this would spin
            raise
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - the base class's
        """Turn away at once who comes from an address that nobody has."""
        address = str(client_address[0])
        if self.admission.may_knock(address):
            return True
        self.admission.alerts.alert("connection refused: unknown address", address)
        return False

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's
        """Log what the standard library would print."""
        log.exception("a connection failed", address=str(client_address[0]))


class _Visitor(RequestHandler):  # type: ignore[misc]
    """One connection, from its first byte to its end."""

    server: Door

    def handle(self) -> None:
        """Hear what the peer wants, let it in or send it away."""
        address = str(self.client_address[0])
        visit = Visit(self.request, address)
        try:
            with self.server.admission.lobby.waits(visit):
                request = self._heard(visit)
            if request is not None:
                self._decide(visit, request)
        finally:
            with suppress(OSError):
                visit.connection.close()

    def _heard(self, visit: Visit) -> pdu.Request | None:
        """Do the handshake and read the association request; None where nothing proper came in time."""
        admission = self.server.admission
        timeout_s = admission.config.association_timeout_s
        deadline_s = time.monotonic() + timeout_s
        try:
            if self.server.certificates is not None:
                _secure(visit, self.server.certificates.context(), deadline_s)
            return _request(visit.connection, admission.config.maximum_pdu_bytes, deadline_s)
        except TimeoutError:
            admission.alerts.alert(f"no association request within {timeout_s:g} s", visit.address)
        except ssl.SSLError as error:
            admission.alerts.alert(f"TLS failed: {why(error)}", visit.address, NODE_AUTHENTICATION)
        except pdu.Forbidden as forbidden:
            admission.alerts.alert(f"connection cut: {forbidden}", visit.address)
        except OSError as error:
            # A peer that leaves without a word is no alert: load balancers ask so whether the port is open.
            log.debug("a peer left before it asked for anything", address=visit.address, reason=str(error))
            if visit.turned_away:
                admission.alerts.alert("connection cut: too many wait", visit.address)
        return None

    def _decide(self, visit: Visit, request: pdu.Request) -> None:
        admission = self.server.admission
        title = request.calling_ae_title
        shown = names(visit.connection) if isinstance(visit.connection, ssl.SSLSocket) else frozenset[str]()
        caller = admission.caller(request, visit.address, shown)
        if caller is None:
            self._reject(visit, _NOT_RECOGNISED, "association rejected: unknown caller", title)
            return
        try:
            with (
                admission.lobby.present(visit.address, title, caller.maximum_associations),
                metrics.ASSOCIATIONS.track_inprogress(),
            ):
                self._let_in(visit, request)
        except Full as full:
            self._reject(visit, _LIMIT_EXCEEDED, f"association rejected: {full}", title)

    def _let_in(self, visit: Visit, request: pdu.Request) -> None:
        """Give the connection to pynetdicom, and wait until the association has ended."""
        self.request = visit.connection
        association = self._create_association()
        association.dul.event_queue.get_nowait()  # the event of the socket that is replaced here
        admission, title = self.server.admission, request.calling_ae_title

        def cut(reason: str) -> None:
            admission.alerts.alert(f"association cut: {reason}", visit.address, calling_ae_title=title)

        guarded = Guarded(
            association,
            visit.connection,
            request.pdu,
            admission.limits,
            admission.memory,
            admission.store,
            cut,
        )
        association.dul.socket = guarded
        evt.trigger(association, evt.EVT_CONN_OPEN, {"address": self.client_address})
        try:
            association.start()
            association.join()
        finally:
            admission.memory.keep(guarded)
            admission.departed(association)

    def _reject(self, visit: Visit, reason: tuple[int, int, int], what: str, title: str) -> None:
        """Answer A-ASSOCIATE-RJ (PS3.8 9.3.4), and let the peer read it before the connection closes."""
        self.server.admission.alerts.alert(what, visit.address, calling_ae_title=title)
        with suppress(OSError):
            visit.connection.settimeout(_LINGER_S)
            visit.connection.sendall(struct.pack(">BxLxBBB", 0x03, 4, *reason))
            _exactly(visit.connection, 1, time.monotonic() + _LINGER_S)


def _secure(visit: Visit, context: ssl.SSLContext, deadline_s: float) -> None:
    """Do the TLS handshake; raises OSError, TimeoutError after the deadline."""
    secured = context.wrap_socket(visit.connection, server_side=True, do_handshake_on_connect=False)
    visit.connection = secured
    secured.settimeout(_left(deadline_s))
    secured.do_handshake()


def _request(connection: socket.socket, maximum_pdu_bytes: int, deadline_s: float) -> pdu.Request:
    """Read an A-ASSOCIATE-RQ; raises Forbidden where it is none, OSError where it does not come."""
    header = _exactly(connection, pdu.HEADER_BYTES, deadline_s)
    length = pdu.length_of(header, maximum_pdu_bytes, associated=False)
    return pdu.request(header + _exactly(connection, length, deadline_s))


def _exactly(connection: socket.socket, size_bytes: int, deadline_s: float) -> bytes:
    data = bytearray()
    while len(data) < size_bytes:
        connection.settimeout(_left(deadline_s))
        piece = connection.recv(size_bytes - len(data))
        if not piece:
            raise OSError("the peer closed the connection")
        data += piece
    return bytes(data)


def _left(deadline_s: float) -> float:
    left = deadline_s - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def listen(
    ae: Any,
    address: tuple[str, int],
    handlers: list[Any],
    admission: Admission,
    certificates: Certificates | None,
) -> Door:
    """Listen on an address, in a thread of its own; raises OSError when it is taken."""
    door = cast(
        Door,
        ae.make_server(
            address, evt_handlers=handlers, server_class=Door, admission=admission, certificates=certificates
        ),
    )
    ae._servers.append(door)  # as start_server does, which cannot make another class of server
    threading.Thread(target=door.serve_forever, name="door", daemon=True).start()
    return door
