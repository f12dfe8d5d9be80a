"""The receiver: storage and verification SCP. Success means safe: it is answered after the fsync."""

import threading
from collections.abc import Callable
from typing import Final

import structlog
from pydicom import config as pydicom_config
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.sop_class import Verification
from pynetdicom.transport import ThreadedAssociationServer

from node.config import Receive
from node.intake import Arrival, Offer, take_in
from node.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.scu import no_delay
from node.spool import SeriesKey, Spool
from node.status import CANNOT_UNDERSTAND, ERROR_COMMENT_CHARACTERS, SUCCESS, Rejection

log = structlog.get_logger()

_REJECTED_CALLING_AE: Final = (0x01, 0x01, 0x03)
"""A-ASSOCIATE-RJ: permanent, service user, calling AE title not recognised (PS3.8 Table 9-21)."""

# Every storage SOP class, private and unknown ones too, in the transfer syntax proposed first.
_config.UNRESTRICTED_STORAGE_SERVICE = True

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
    ) -> None:
        self._config = config
        self._spool = spool
        self._arrived = arrived
        self._released = released
        self._open: dict[int, set[SeriesKey]] = {}
        self._lock = threading.Lock()
        self._server: ThreadedAssociationServer | None = None

    def start(self) -> None:
        """Listen; raises OSError when the address is taken."""
        config = self._config
        ae = AE(ae_title=config.ae_title)
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.supported_contexts = AllStoragePresentationContexts
        ae.add_supported_context(Verification)
        ae.require_called_aet = True
        ae.maximum_associations = config.maximum_associations
        ae.maximum_pdu_size = config.maximum_pdu_bytes
        ae.acse_timeout = config.association_timeout_s
        ae.network_timeout = config.idle_timeout_s
        handlers = [
            (evt.EVT_CONN_OPEN, no_delay),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_C_ECHO, _on_echo),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_RELEASED, self._on_end, [True]),
            (evt.EVT_ABORTED, self._on_end, [False]),
            (evt.EVT_CONN_CLOSE, self._on_end, [False]),
        ]
        server = ae.start_server((config.host, config.port), block=False, evt_handlers=handlers)
        assert isinstance(server, ThreadedAssociationServer)  # noqa: S101 - what block=False returns
        self._server = server
        if config.promiscuous:
            log.warning("promiscuous: instances are taken from anybody; list receive.callers instead")
        log.info("listening", ae_title=config.ae_title, host=config.host, port=self.port)

    @property
    def port(self) -> int:
        """The port that is listened on; of use where the configuration says 0."""
        assert self._server is not None  # noqa: S101 - asked only after start
        return int(self._server.socket.getsockname()[1])

    def stop(self) -> None:
        """Stop listening and abort the associations that are still open."""
        if self._server is not None:
            self._server.shutdown()
            for association in self._server.active_associations:
                association.abort()

    def _on_requested(self, event: evt.Event) -> None:
        """Reject a requestor that is in nobody's list (PS3.8 section 9.3.4)."""
        if self._config.promiscuous:
            return
        title = str(event.assoc.requestor.primitive.calling_ae_title).strip()
        address = str(event.assoc.requestor.address)
        if any(caller.admits(title, address) for caller in self._config.callers):
            return
        log.warning("association rejected: unknown caller", calling_ae_title=title, address=address)
        event.assoc.acse.send_reject(*_REJECTED_CALLING_AE)
        event.assoc.kill()

    def _on_store(self, event: evt.Event) -> int | Dataset:
        """Answer a C-STORE request (PS3.4 Annex B)."""
        try:
            arrival = self._store(event)
        except Rejection as rejection:
            return self._refused(event, rejection)
        except Exception:
            log.exception("an instance could not be stored")
            return self._refused(event, Rejection(CANNOT_UNDERSTAND, "the node failed; see its log"))
        with self._lock:
            self._open.setdefault(id(event.assoc), set()).add(arrival.stored.key)
        if not arrival.stored.duplicate:
            self._arrived(arrival)
        return SUCCESS

    def _store(self, event: evt.Event) -> Arrival:
        request = event.request
        if request.DataSet is None:
            raise Rejection(CANNOT_UNDERSTAND, "the request has no data set")
        offer = Offer(
            str(request.AffectedSOPClassUID),
            str(request.AffectedSOPInstanceUID),
            str(event.context.transfer_syntax),
            str(event.assoc.requestor.ae_title).strip(),
        )
        return take_in(
            self._spool, offer, request.DataSet.getbuffer(), int(self._config.maximum_inflated_bytes)
        )

    def _refused(self, event: evt.Event, rejection: Rejection) -> Dataset:
        log.warning(
            "instance refused",
            status=f"0x{rejection.status:04X}",
            reason=rejection.comment,
            calling_ae_title=str(event.assoc.requestor.ae_title).strip(),
        )
        answer = Dataset()
        answer.Status = rejection.status
        answer.ErrorComment = rejection.comment[:ERROR_COMMENT_CHARACTERS]
        return answer

    def _on_end(self, event: evt.Event, properly: bool) -> None:
        with self._lock:
            keys = self._open.pop(id(event.assoc), None)
        if keys and properly:
            self._released(frozenset(keys))


def _on_echo(_event: evt.Event) -> int:
    return SUCCESS
