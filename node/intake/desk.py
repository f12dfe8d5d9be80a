"""The desk: gives pynetdicom only those connections that asked properly for an association.

Each connection has a thread of its own, which does the TLS handshake and reads the association request under
one absolute deadline, asks the office who may in, and waits for the end.
"""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.transport import AssociationServer, RequestHandler

from node.auditing.audit import NODE_AUTHENTICATION
from node.intake import pdu
from node.intake.bounds import Limits, Memory
from node.intake.certificates import Certificates, names, why
from node.intake.guard import Guarded
from node.intake.lane import Store
from node.intake.lobby import Visit
from node.intake.office import Office, Refusal
from node.settings.receive import Receive

log = structlog.get_logger()

_LINGER_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Service:
    """What all desks of a process serve with."""

    config: Receive
    office: Office
    memory: Memory
    store: Store
    departed: Callable[[Association], None]

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


class Desk(AssociationServer):  # type: ignore[misc]  # the library is not typed
    """Serves connections that were accepted elsewhere; with certificates it speaks TLS only."""

    def __init__(
        self, *arguments: Any, service: Service, certificates: Certificates | None, **options: Any
    ) -> None:
        self.service = service
        self.certificates = certificates
        self._threads: set[threading.Thread] = set()
        super().__init__(*arguments, request_handler=_Visitor, **options)
        self.socket.close()

    def server_bind(self) -> None:
        """Bind nothing: the door has the address."""

    def server_activate(self) -> None:
        """Listen to nothing."""

    def take(self, visit: Visit) -> None:
        """Serve a connection, in a thread of its own."""
        self.service_actions()  # as the library's own loop does: it collects what ended
        thread = threading.Thread(target=self._serve, args=(visit,), name="visitor", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:  # there are too many
            self._threads.discard(thread)
            log.error("a connection cannot be served", address=visit.address, reason=str(error))
            self._end(visit)

    def close(self, timeout_s: float) -> None:
        """Abort the associations that are open, and wait for their ends."""
        for association in self.active_associations:
            association.abort()
        deadline_s = time.monotonic() + timeout_s
        for thread in [*self._threads]:
            thread.join(max(0.0, deadline_s - time.monotonic()))

    def _serve(self, visit: Visit) -> None:
        try:
            _Visitor(visit, self)
        except Exception:
            log.exception("a connection failed", address=visit.address)
        finally:
            self._end(visit)
            self._threads.discard(threading.current_thread())

    def _end(self, visit: Visit) -> None:
        with suppress(OSError):
            visit.connection.close()
        self.service.office.left(visit)


class _Visitor(RequestHandler):  # type: ignore[misc]
    """One connection, from its first byte to its end."""

    server: Desk

    def __init__(self, visit: Visit, desk: Desk) -> None:
        self._visit = visit
        super().__init__(visit.connection, visit.peer, desk)

    def handle(self) -> None:
        """Hear what the peer wants, let it in or send it away."""
        visit, office = self._visit, self.server.service.office
        request = self._heard(visit)
        if request is None:
            return
        shown = names(visit.connection) if isinstance(visit.connection, ssl.SSLSocket) else frozenset[str]()
        refusal = office.asks(visit, request.calling_ae_title, shown)
        if refusal is None:
            self._let_in(visit, request)
        else:
            _reject(visit, refusal)

    def _heard(self, visit: Visit) -> pdu.Request | None:
        """Do the handshake and read the association request; None where nothing proper came in time."""
        service = self.server.service
        timeout_s, alert = service.config.association_timeout_s, service.office.alert
        deadline_s = time.monotonic() + timeout_s
        try:
            if self.server.certificates is not None:
                _secure(visit, self.server.certificates.context(), deadline_s)
            return _request(visit.connection, service.config.maximum_pdu_bytes, deadline_s)
        except TimeoutError:
            alert(f"no association request within {timeout_s:g} s", visit.address)
        except ssl.SSLError as error:
            alert(f"TLS failed: {why(error)}", visit.address, NODE_AUTHENTICATION)
        except pdu.Forbidden as forbidden:
            alert(f"connection cut: {forbidden}", visit.address)
        except OSError as error:
            # A peer that leaves without a word is no alert: load balancers ask so whether the port is open.
            log.debug("a peer left before it asked for anything", address=visit.address, reason=str(error))
        return None

    def _let_in(self, visit: Visit, request: pdu.Request) -> None:
        """Give the connection to pynetdicom, and wait until the association has ended."""
        self.request = visit.connection
        association = self._create_association()
        association.visit = visit  # for those who know of an association and not of its connection
        association.dul.event_queue.get_nowait()  # the event of the socket that is replaced here
        service, title = self.server.service, request.calling_ae_title

        def cut(reason: str) -> None:
            service.office.alert(f"association cut: {reason}", visit.address, calling_ae_title=title)

        guarded = Guarded(
            association,
            visit.connection,
            request.pdu,
            service.limits,
            service.memory,
            service.store,
            cut,
        )
        association.dul.socket = guarded
        evt.trigger(association, evt.EVT_CONN_OPEN, {"address": self.client_address})
        try:
            association.start()
            association.join()
        finally:
            service.memory.keep(guarded)
            service.departed(association)


def _reject(visit: Visit, refusal: Refusal) -> None:
    """Answer A-ASSOCIATE-RJ (PS3.8 9.3.4), and let the peer read it before the connection closes."""
    with suppress(OSError):
        visit.connection.settimeout(_LINGER_S)
        visit.connection.sendall(struct.pack(">BxLxBBB", 0x03, 4, *refusal))
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
