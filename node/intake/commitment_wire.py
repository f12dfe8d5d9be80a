"""Storage commitment on the wire: reading what is asked, and sending reports (PS3.4 Annex J)."""

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final, Protocol

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import StorageCommitmentPushModel

from node.delivery.scu import no_delay
from node.delivery.tls import client_context
from node.delivery.transport import PeerError
from node.delivery.wire import MAXIMUM_PDU_BYTES
from node.intake.turnstile import Turnstile
from node.relabelling.encoded import Buffer, Element, EncodedError, Syntax, elements, items
from node.relabelling.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.settings.commitment import CommitmentPeer
from node.status import ERROR_COMMENT_CHARACTERS, SUCCESS
from node.storage.spool import UID_PATTERN

if TYPE_CHECKING:
    from db.commitments import CommitmentWork, Failure, Reference

CLASS_UID: Final = str(StorageCommitmentPushModel)
INSTANCE_UID: Final = "1.2.840.10008.1.20.1.1"
"""The well-known SOP instance that every request names (PS3.4 J.3.5)."""

_TRANSACTION: Final = 0x00081195
_SEQUENCE: Final = 0x00081199
_CLASS: Final = 0x00081150
_INSTANCE: Final = 0x00081155
_ALL_COMMITTED: Final = 1
_SOME_FAILED: Final = 2


class BadRequest(Exception):  # noqa: N818 - the peer's fault; the message is one sentence
    """The action information is no request for storage commitment."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    transaction_uid: str
    references: "tuple[Reference, ...]"


def read_request(data: Buffer, transfer_syntax_uid: str, most: int) -> Asked:
    """Read the action information of PS3.4 Table J.3-1 from its bytes; raises BadRequest."""
    syntax = Syntax.of(transfer_syntax_uid)
    try:
        found = {each.tag: each for each in elements(data, syntax)}
        transaction = _uid(data, found.get(_TRANSACTION), "Transaction UID")
        references = []
        if _SEQUENCE in found:
            for item in items(data, found[_SEQUENCE], syntax):
                references.append(_reference(data, item, syntax))
                if len(references) > most:
                    raise BadRequest(f"more than {most} instances are referenced")
    except EncodedError as error:
        raise BadRequest(str(error)) from error
    if not references:
        raise BadRequest("no instance is referenced")
    return Asked(transaction, tuple(references))


def report_of(work: "CommitmentWork") -> Dataset:
    """Return the event information of PS3.4 Table J.3-2."""
    failures = work.failures or ()
    failed = {(sop_class, instance) for sop_class, instance, _ in failures}
    report = Dataset()
    report.TransactionUID = work.transaction_uid
    committed = [each for each in work.asked if each not in failed]
    if committed:
        report.ReferencedSOPSequence = [_item(*each) for each in committed]
    if failures:
        report.FailedSOPSequence = [_item(*each) for each in failures]
    return report


def event_type(failures: "Sequence[Failure] | None") -> int:
    """Return the Event Type ID: 1 where all are committed, 2 where failures exist (PS3.4 J.3.3)."""
    return _SOME_FAILED if failures else _ALL_COMMITTED


@dataclass(frozen=True, slots=True)
class Action:
    """An N-ACTION request as it came; `visit` is the number of the connection."""

    visit: int
    calling_ae_title: str
    instance_uid: str
    action_type: int
    information: bytes | None
    transfer_syntax_uid: str


class WayBack(Protocol):
    """A way to report on the association on which commitment was asked for."""

    @property
    def open(self) -> bool:
        """Tell whether the association is still established."""

    def report(self, work: "CommitmentWork", timeout_s: float) -> int:
        """Send a report and return the status of the answer; raises PeerError when none comes."""


class Hatch(threading.Event):
    """A way to send a report on an association that the node accepted, while its own requests go on.

    It takes the place of the association's checkpoint, which its reactor passes between two messages: only
    there nothing else is being sent. The answer comes as a message among the peer's requests, and is taken
    from the queue before the reactor sees it. Source: pynetdicom 3.0, Association._run_reactor.

    What is to be reported waits until the hatch is installed.
    """

    def __init__(self, association: Association, context_id: int, transfer_syntax_uid: str) -> None:
        super().__init__()
        self.set()
        self._association: Any = association
        self._context_id = context_id
        self._syntax = UID(transfer_syntax_uid)
        self._lock = threading.Lock()
        self._waiting: N_EVENT_REPORT | None = None
        self._answers: queue.SimpleQueue[int] = queue.SimpleQueue()

    def install(self) -> None:
        """Take the place of the checkpoint."""
        self._association._reactor_checkpoint = self

    @property
    def open(self) -> bool:
        """Tell whether the association is still established."""
        return bool(self._association.is_established)

    def report(self, work: "CommitmentWork", timeout_s: float) -> int:
        """Send a report and return the status of the answer; raises PeerError when none comes."""
        with self._lock:
            self._waiting = _request(work, self._syntax)
            try:
                return self._answers.get(timeout=timeout_s)
            except queue.Empty:
                raise PeerError("the association gave no answer to the report") from None
            finally:
                self._waiting = None

    def wait(self, timeout: float | None = None) -> bool:
        """Called by the reactor between two messages."""
        self._take_answer()
        request, self._waiting = self._waiting, None
        if request is not None and self.open:
            self._association.dimse.send_msg(request, self._context_id)
        return super().wait(timeout)

    def _take_answer(self) -> None:
        messages = self._association.dimse.msg_queue
        with messages.mutex:
            if not messages.queue:
                return
            message = messages.queue[0][1]
            if not isinstance(message, N_EVENT_REPORT) or message.Status is None:
                return
            messages.queue.popleft()
        self._answers.put(int(message.Status))


def answered(
    event: evt.Event, take: Callable[[Action, Hatch], tuple[int, str]]
) -> tuple[int | Dataset, None]:
    """Have somebody take an N-ACTION request, and answer it with the status and comment that he returns."""
    request, information = event.request, event.request.ActionInformation
    action = Action(
        event.assoc.visit.number,
        str(event.assoc.requestor.ae_title).strip(),
        str(request.RequestedSOPInstanceUID),
        request.ActionTypeID,
        None if information is None else information.getvalue(),
        str(event.context.transfer_syntax),
    )
    hatch = Hatch(event.assoc, event.context.context_id, action.transfer_syntax_uid)
    status, comment = take(action, hatch)
    if status == SUCCESS:
        hatch.install()
        return SUCCESS, None
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment[:ERROR_COMMENT_CHARACTERS]
    return answer, None


def report_anew(work: "CommitmentWork", calling: str, peer: CommitmentPeer, timeout_s: float) -> int:
    """Send a report on an association of its own, as SCP (PS3.4 J.3.3); return the status of the answer.

    Raises PeerError.
    """
    ae = AE(ae_title=calling)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = timeout_s
    ae.add_requested_context(StorageCommitmentPushModel)
    tls = None if peer.tls is None else client_context(peer.tls)
    association = ae.associate(
        peer.host,
        peer.port,
        ae_title=peer.ae_title,
        max_pdu=MAXIMUM_PDU_BYTES,
        ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)],
        evt_handlers=[(evt.EVT_CONN_OPEN, no_delay)],
        tls_args=None if tls is None else (tls, peer.host),
    )
    if not association.is_established:
        why = f": TLS failed: {tls.said}" if tls is not None and tls.said else ""
        raise PeerError(f"{peer.ae_title} at {peer.host}:{peer.port} does not take the report{why}")
    turnstile = Turnstile(association)
    try:
        answer, _ = association.send_n_event_report(
            report_of(work), event_type(work.failures), CLASS_UID, INSTANCE_UID
        )
        if "Status" not in answer:
            raise PeerError(f"{peer.ae_title} gave no answer to the report in time")
        return int(answer.Status)
    except (RuntimeError, ValueError, AttributeError, OSError) as error:
        raise PeerError(f"the report could not be sent: {error}") from error
    finally:
        if turnstile.data_transfer:
            association.release()
        turnstile.open()


def _request(work: "CommitmentWork", syntax: UID) -> N_EVENT_REPORT:
    request = N_EVENT_REPORT()
    request.MessageID = work.commitment_id % 65535 + 1
    request.AffectedSOPClassUID = UID(CLASS_UID)
    request.AffectedSOPInstanceUID = UID(INSTANCE_UID)
    request.EventTypeID = event_type(work.failures)
    encoded = encode(report_of(work), syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    request.EventInformation = BytesIO(encoded or b"")
    return request


def _item(sop_class_uid: str, sop_instance_uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    if reason is not None:
        item.FailureReason = reason
    return item


def _reference(data: Buffer, item: Element, syntax: Syntax) -> "Reference":
    found = {each.tag: each for each in elements(data, syntax, item.value, item.value_end)}
    sop_class = _uid(data, found.get(_CLASS), "Referenced SOP Class UID")
    return sop_class, _uid(data, found.get(_INSTANCE), "Referenced SOP Instance UID")


def _uid(data: Buffer, element: Element | None, keyword: str) -> str:
    raw = b"" if element is None else bytes(data[element.value : element.end])
    text = raw.rstrip(b"\0 ").decode("ascii", errors="replace")
    if len(text) > 64 or not UID_PATTERN.fullmatch(text):
        raise BadRequest(f"{keyword} is missing or no UID")
    return text
