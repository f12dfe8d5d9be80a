"""The receiver: storage and verification SCP. Success means safe: it is answered after the fsync."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from node import metrics
from node.auditing.audit import Alerts, Trail
from node.delivery.scu import no_delay
from node.intake.bounds import Memory
from node.intake.certificates import Certificates
from node.intake.door import Admission, Door, listen
from node.intake.intake import Arrival, Offer, Transfer, draft, keep, take_in
from node.intake.lane import StoreRequest
from node.intake.lobby import Lobby
from node.relabelling.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.settings.receive import Receive
from node.status import CANNOT_UNDERSTAND, ERROR_COMMENT_CHARACTERS, SUCCESS, Rejection
from node.storage.spool import SeriesKey, Spool

log = structlog.get_logger()

# Every storage SOP class, private and unknown ones too, in the transfer syntax proposed first.
_config.UNRESTRICTED_STORAGE_SERVICE = True

# The library's own account of each message takes attributes for given that a hostile message lacks.
_config.LOG_HANDLER_LEVEL = "none"

# The node judges UIDs itself and answers with a status; a warning for each bad value is no use to anybody.
pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE


class Receiver:
    """Listens, stores, answers; tells `arrived` of each new instance and `released` of ended associations."""

    def __init__(
        self,
        config: Receive,
        spool: Spool,
        arrived: Callable[[Arrival], None],
        released: Callable[[frozenset[SeriesKey]], None],
        trail: Trail | None = None,
        on_action: Callable[[evt.Event], tuple[int | Dataset, None]] | None = None,
    ) -> None:
        """Without `on_action` requests for storage commitment find no presentation context."""
        self._config = config
        self._listed = frozenset(caller.ae_title for caller in config.callers)
        self._trail = trail or Trail(None)
        self.spool = spool
        self.cap_bytes = int(config.maximum_inflated_bytes)
        self._arrived = arrived
        self._released = released
        self._on_action = on_action
        self._open: dict[int, Transfer] = {}
        self._lock = threading.Lock()
        self._doors: list[Door] = []

    def start(self) -> None:
        """Listen; raises OSError when an address is taken or a certificate cannot be used."""
        config = self._config
        certificates = None if config.tls.port is None else Certificates(config.tls)
        admission = Admission(
            config,
            Lobby(config.maximum_waiting, config.maximum_associations_per_peer),
            Memory(int(config.maximum_memory_bytes)),
            Alerts(self._trail),
            self._on_plain_store,
            self._departed,
        )
        ae = self._application_entity()
        self._doors.append(listen(ae, (config.host, config.port), self._handlers(), admission, None))
        if config.tls.port is not None:
            address = (config.tls.host, config.tls.port)
            self._doors.append(listen(ae, address, self._handlers(), admission, certificates))
            log.info("listening with TLS", host=config.tls.host, port=self.tls_port)
        if config.promiscuous:
            log.warning("promiscuous: instances are taken from anybody; list receive.callers instead")
        log.info("listening", ae_title=config.ae_title, host=config.host, port=self.port)

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

    @property
    def port(self) -> int:
        """The port that is listened on; of use where the configuration says 0."""
        return int(self._doors[0].socket.getsockname()[1])

    @property
    def tls_port(self) -> int:
        """The same of the port that speaks TLS."""
        return int(self._doors[1].socket.getsockname()[1])

    def stop(self) -> None:
        """Stop listening and abort the associations that are still open."""
        for door in self._doors:
            door.shutdown()
            for association in door.active_associations:
                association.abort()

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
        try:
            with metrics.STORE_SECONDS.time():
                arrival = taken()
        except Rejection as rejection:
            return self._refused(association, rejection)
        except Exception:
            log.exception("an instance could not be stored")
            return self._refused(association, Rejection(CANNOT_UNDERSTAND, "the node failed; see its log"))
        stored, title = arrival.stored, metrics.source(arrival.calling_ae_title, self._listed)
        metrics.received("dicom", title, stored.size_bytes, stored.duplicate)
        transfer = self._transfer(association)
        transfer.store(stored.key)
        if not stored.duplicate:
            self._arrived(replace(arrival, transfer=transfer.name))
        return None

    def _refused(self, association: Association, rejection: Rejection) -> Rejection:
        self._transfer(association).refuse()
        metrics.refused("dicom", rejection.status)
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
            self._released(frozenset(received.stored))

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

    def __init__(self, receiver: Receiver, association: Association, offer: Offer) -> None:
        self._receiver, self._association, self._offer = receiver, association, offer
        self._draft = draft(receiver.spool, offer)

    def add(self, piece: memoryview) -> None:
        """Write a piece."""
        self._draft.add(piece)

    def whole(self, data: memoryview) -> Rejection | None:
        """Judge what was written."""
        spool, cap_bytes = self._receiver.spool, self._receiver.cap_bytes
        return self._receiver.judge(
            self._association, lambda: keep(spool, self._offer, self._draft, data, cap_bytes)
        )

    def close(self) -> None:
        """Leave nothing that has no name."""
        self._draft.close()


def _calling(association: Association) -> str:
    return str(association.requestor.ae_title).strip()


def _on_echo(_event: evt.Event) -> int:
    return SUCCESS
