"""Storage and verification SCP, in one process. Success means safe: it is answered after the fsync.

The node's own process is one, and those that receive for it each are (node/intake/clerk.py).
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import structlog
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from node.auditing.audit import Trail
from node.delivery.scu import no_delay
from node.intake.bounds import Memory
from node.intake.certificates import Certificates
from node.intake.desk import Desk, Service
from node.intake.intake import Arrival, Offer, Transfer, draft, keep, take_in
from node.intake.lane import StoreRequest
from node.intake.lobby import Visit
from node.intake.office import Office
from node.relabelling.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.settings.receive import Receive
from node.status import CANNOT_UNDERSTAND, ERROR_COMMENT_CHARACTERS, SUCCESS, Rejection
from node.storage.spool import Spool

log = structlog.get_logger()

_END_S: Final = 5.0
"""How long associations that are aborted may take to end."""

# Every storage SOP class, private and unknown ones too, in the transfer syntax proposed first.
_config.UNRESTRICTED_STORAGE_SERVICE = True

# The library's own account of each message takes attributes for given that a hostile message lacks.
_config.LOG_HANDLER_LEVEL = "none"

# The node judges UIDs itself and answers with a status; a warning for each bad value is no use to anybody.
pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE


OnAction = Callable[[evt.Event], tuple[int | Dataset, None]]


class StorageScp:
    """Serves connections, stores, answers; tells the office of each instance and of ended associations."""

    def __init__(
        self,
        config: Receive,
        spool: Spool,
        office: Office,
        memory: Memory,
        trail: Trail,
        on_action: OnAction | None = None,
    ) -> None:
        """Without `on_action` requests for storage commitment find no presentation context.

        Raises CertificateError when a certificate cannot be used.
        """
        self._config = config
        self._office = office
        self._trail = trail
        self.spool = spool
        self.cap_bytes = int(config.maximum_inflated_bytes)
        self._on_action = on_action
        self._open: dict[int, Transfer] = {}
        self._lock = threading.Lock()
        service = Service(config, office, memory, self._on_plain_store, self._departed)
        ae = self._application_entity()

        def desk(host: str, port: int, certificates: Certificates | None) -> Desk:
            options = {"service": service, "certificates": certificates, "evt_handlers": self._handlers()}
            made: Desk = ae.make_server((host, port), server_class=Desk, **options)
            return made

        tls = config.tls
        self._desks = [desk(config.host, config.port, None)]
        if tls.port is not None:
            self._desks.append(desk(tls.host, tls.port, Certificates(tls)))

    def take(self, visit: Visit, secure: bool) -> None:
        """Serve a connection, in a thread of its own; a `secure` one came by the port that speaks TLS."""
        self._desks[secure].take(visit)

    def stop(self) -> None:
        """Abort the associations that are still open, and wait for their ends."""
        for desk in self._desks:
            desk.close(_END_S)

    def _application_entity(self) -> AE:
        config = self._config
        ae = AE(ae_title=config.ae_title)
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.supported_contexts = AllStoragePresentationContexts
        ae.add_supported_context(Verification)
        if self._on_action is not None:
            ae.add_supported_context(StorageCommitmentPushModel)
        ae.require_called_aet = True
        ae.maximum_associations = config.maximum_associations
        ae.maximum_pdu_size = config.maximum_pdu_bytes
        ae.acse_timeout = config.association_timeout_s
        ae.network_timeout = None  # node/intake/guard.py has the deadlines
        return ae

    def _handlers(self) -> list[evt.EventHandlerType]:
        asked = [] if self._on_action is None else [(evt.EVT_N_ACTION, self._on_action)]
        return [
            *asked,
            (evt.EVT_CONN_OPEN, no_delay),
            (evt.EVT_C_ECHO, _on_echo),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_RELEASED, self._on_end, [True]),
            (evt.EVT_ABORTED, self._on_end, [False]),
            (evt.EVT_CONN_CLOSE, self._on_end, [False]),
        ]

    def _on_store(self, event: evt.Event) -> int | Dataset:
        """Answer a C-STORE request that came through the library (PS3.4 Annex B)."""
        request = event.request
        if request.DataSet is None:
            why = Rejection(CANNOT_UNDERSTAND, "the request has no data set")
            rejection: Rejection | None = self._refused(event.assoc, why)
        else:
            sop_class, sop_instance = str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
            syntax = str(event.context.transfer_syntax)
            offer = Offer(sop_class, sop_instance, syntax, _calling(event.assoc))
            rejection = self.judge(
                event.assoc, partial(take_in, self.spool, offer, request.DataSet.getbuffer(), self.cap_bytes)
            )
        if rejection is None:
            return SUCCESS
        answer = Dataset()
        answer.Status = rejection.status
        answer.ErrorComment = rejection.comment[:ERROR_COMMENT_CHARACTERS]
        return answer

    def _on_plain_store(self, association: Association, request: StoreRequest) -> "_PlainStore":
        """Begin to answer a C-STORE request that comes along the fast lane."""
        sop_class, sop_instance = request.sop_class_uid, request.sop_instance_uid
        offer = Offer(sop_class, sop_instance, request.transfer_syntax_uid, _calling(association))
        return _PlainStore(self, association, offer)

    def judge(self, association: Association, taken: Callable[[], Arrival]) -> Rejection | None:
        """Store an instance, and tell who has to know; return why it is refused, if it is."""
        began_s = time.perf_counter()
        try:
            arrival = taken()
        except Rejection as rejection:
            return self._refused(association, rejection, time.perf_counter() - began_s)
        except Exception:
            log.exception("an instance could not be stored")
            failed = Rejection(CANNOT_UNDERSTAND, "the node failed; see its log")
            return self._refused(association, failed, time.perf_counter() - began_s)
        transfer = self._transfer(association)
        transfer.store(arrival.stored.key)
        self._office.stored(replace(arrival, transfer=transfer.name), time.perf_counter() - began_s)
        return None

    def _refused(
        self, association: Association, rejection: Rejection, seconds: float | None = None
    ) -> Rejection:
        self._transfer(association).refuse()
        self._office.refused(rejection.status, seconds)
        log.warning(
            "instance refused",
            status=f"0x{rejection.status:04X}",
            reason=rejection.comment,
            calling_ae_title=_calling(association),
        )
        return rejection

    def _on_end(self, event: evt.Event, properly: bool) -> None:
        self._end(event.assoc, properly)

    def _departed(self, association: Association) -> None:
        """Note the end of an association of which no event told."""
        self._end(association, properly=False)

    def _end(self, association: Association, properly: bool) -> None:
        with self._lock:
            received = self._open.pop(id(association), None)
        if received is None:
            return
        received.end()
        if received.stored and properly:
            self._office.released(frozenset(received.stored))

    def _transfer(self, association: Association) -> Transfer:
        """Return what came over an association so far."""
        with self._lock:
            found = self._open.get(id(association))
            if found is None:
                source = {"ae_title": _calling(association), "address": str(association.requestor.address)}
                found = Transfer(self._trail, source, self._config.ae_title)
                self._open[id(association)] = found
        return found


class _PlainStore:
    """An instance that comes along the fast lane: written while it comes, judged when it is whole."""

    def __init__(self, scp: StorageScp, association: Association, offer: Offer) -> None:
        self._scp, self._association, self._offer = scp, association, offer
        self._draft = draft(scp.spool, offer)

    def add(self, piece: memoryview) -> None:
        """Write a piece."""
        self._draft.add(piece)

    def whole(self, data: memoryview) -> Rejection | None:
        """Judge what was written."""
        scp = self._scp
        return scp.judge(
            self._association, lambda: keep(scp.spool, self._offer, self._draft, data, scp.cap_bytes)
        )

    def close(self) -> None:
        """Leave nothing that has no name."""
        self._draft.close()


def _calling(association: Association) -> str:
    return str(association.requestor.ae_title).strip()


def _on_echo(_event: evt.Event) -> int:
    return SUCCESS
