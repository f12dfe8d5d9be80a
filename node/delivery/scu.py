"""The node as storage SCU: one association, instances sent from their files without being decoded."""

import socket
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as StudyRootFind
from pynetdicom.sop_class import Verification

from node import status
from node.delivery.outgoing import Outgoing
from node.delivery.tls import NotingContext, client_context
from node.delivery.transport import Answer, Context, Identity, PeerError, RefusedError, idle
from node.delivery.wire import ENDED, MAXIMUM_PDU_BYTES, Wire
from node.intake.turnstile import Turnstile
from node.relabelling.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.settings.destinations import Tls

MAXIMUM_CONTEXTS: Final = 128
"""Presentation context identifiers are the odd numbers below 256 (PS3.8 section 9.3.2.2)."""

_IMPLICIT: Final = "1.2.840.10008.1.2"
_EXPLICIT: Final = "1.2.840.10008.1.2.1"

_ASKED_AT_ONCE: Final = 50
"""UIDs in one question; a list of UIDs matches any of them (PS3.4 C.2.2.2.2)."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom to call, and as whom."""

    ae_title: str
    host: str
    port: int
    calling_ae_title: str
    timeout_s: float
    tls: Tls | None = None

    @property
    def where(self) -> str:
        """The peer's name and address."""
        return f"{self.ae_title} at {self.host}:{self.port}"

    def connect(self, contexts: Collection[Context]) -> "AbstractContextManager[DicomSender]":
        """Open an association, as `connect` does."""
        return connect(self, contexts)

    def echo(self) -> str:
        """Ask by C-ECHO; raises PeerError."""
        return status.meaning(echo(self))

    def find(self, sent: Collection[Identity]) -> Mapping[str, str]:
        """Ask by C-FIND which instances the peer has; raises PeerError."""
        with connect(self, [(str(StudyRootFind), _EXPLICIT), (str(StudyRootFind), _IMPLICIT)]) as sender:
            return sender.find(sent)


class DicomSender:
    """An established association; made by `connect`."""

    def __init__(self, association: Association, turnstile: Turnstile, timeout_s: float) -> None:
        self._association = association
        self._turnstile = turnstile
        self._timeout_s = timeout_s
        self._accepted = {
            (str(context.abstract_syntax), str(context.transfer_syntax[0])): context.context_id
            for context in association.accepted_contexts
        }
        self._message_id = 0
        self._wire: Wire | None = None
        self.broken = False
        """Whether the peer failed amid an instance, so that nothing can follow."""

    def accepts(self, context: Context) -> bool:
        """Tell whether the peer agreed to take such instances as they are encoded."""
        return context in self._accepted

    def store(self, what: Outgoing, meanwhile: Callable[[], None] = idle) -> Answer:
        """Send one instance by C-STORE; raises PeerError when no answer comes, RefusedError for no DICOM."""
        encoded = what.encoded()
        context = self._accepted.get((encoded.sop_class_uid, encoded.transfer_syntax_uid))
        if context is None:
            raise RefusedError("the destination takes no such SOP class and transfer syntax")
        if not self._turnstile.data_transfer:
            raise PeerError(ENDED)
        self._message_id = self._message_id % 65535 + 1
        try:
            if self._wire is None:
                self._wire = Wire(self._association, self._timeout_s)
            return self._wire.store(context, self._message_id, encoded, meanwhile)
        except PeerError:
            self.broken = True
            raise

    def echo(self) -> int:
        """Send C-ECHO and return the status; raises PeerError when no answer comes."""
        self.give_back()
        answer = self._association.send_c_echo()
        if "Status" not in answer:
            raise PeerError("no answer to C-ECHO in time")
        return int(answer.Status)

    def give_back(self) -> None:
        """Let the library have the connection, to ask by it or to end it."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.give_back()

    def find(self, sent: Collection[Identity]) -> dict[str, str]:
        """Ask by C-FIND for instances: Body Part Examined by SOP Instance UID; raises PeerError.

        Source: PS3.4 C.6.2.1, the Study Root model, hierarchical: so every key above is unique.
        """
        self.give_back()
        series: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for each in sent:
            series[each.study_instance_uid, each.series_instance_uid].append(each.sop_instance_uid)
        found: dict[str, str] = {}
        for (study, one_series), uids in series.items():
            for start in range(0, len(uids), _ASKED_AT_ONCE):
                found |= self._ask(study, one_series, uids[start : start + _ASKED_AT_ONCE])
        return found

    def _ask(self, study: str, series: str, uids: list[str]) -> dict[str, str]:
        question = Dataset()
        question.QueryRetrieveLevel = "IMAGE"
        question.StudyInstanceUID, question.SeriesInstanceUID = study, series
        question.SOPInstanceUID = uids
        question.BodyPartExamined = ""
        found: dict[str, str] = {}
        try:
            for answer, each in self._association.send_c_find(question, StudyRootFind):
                code = int(answer.Status) if "Status" in answer else None
                if code in (0xFF00, 0xFF01) and each is not None:
                    found[str(each.get("SOPInstanceUID", ""))] = str(each.get("BodyPartExamined") or "")
                elif code != status.SUCCESS:
                    raise PeerError(f"C-FIND failed: {'no answer' if code is None else f'0x{code:04X}'}")
        except (RuntimeError, ValueError, AttributeError) as error:
            raise PeerError(f"C-FIND is not possible: {error}") from error
        return found


@contextmanager
def connect(peer: Peer, contexts: Collection[Context]) -> Iterator[DicomSender]:
    """Open an association that proposes these contexts, at most 128; release it at the end.

    Raises PeerError with the reason when it is not established.
    """
    ae = AE(ae_title=peer.calling_ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = peer.timeout_s
    proposed = [build_context(abstract, transfer) for abstract, transfer in sorted(contexts)]
    tls = None if peer.tls is None else client_context(peer.tls)
    heard: list[A_ASSOCIATE_RJ] = []
    association = ae.associate(
        peer.host,
        peer.port,
        contexts=proposed[:MAXIMUM_CONTEXTS],
        ae_title=peer.ae_title,
        max_pdu=MAXIMUM_PDU_BYTES,
        evt_handlers=[(evt.EVT_CONN_OPEN, no_delay), (evt.EVT_PDU_RECV, _hear_rejection, [heard])],
        tls_args=None if tls is None else (tls, peer.host),
    )
    if not association.is_established:
        raise PeerError(_why(association, heard, peer, tls))
    turnstile = Turnstile(association)
    sender = DicomSender(association, turnstile, peer.timeout_s)
    try:
        yield sender
    finally:
        sender.give_back()
        if sender.broken:
            association.abort(block=False)
        elif turnstile.data_transfer:
            association.release()
        turnstile.open()


def echo(peer: Peer) -> int:
    """Return the status of one C-ECHO; raises PeerError."""
    with connect(peer, [(str(Verification), _IMPLICIT)]) as sender:
        return sender.echo()


def _hear_rejection(event: evt.Event, heard: list[A_ASSOCIATE_RJ]) -> None:
    """Note a rejection as it is read.

    pynetdicom 3.0 overlooks one that came, and closed the connection, before its requesting thread woke
    from connecting: to that thread the connection was never made.
    """
    if isinstance(event.pdu, A_ASSOCIATE_RJ):
        heard.append(event.pdu)


def _why(
    association: Association, rejections: Sequence[A_ASSOCIATE_RJ], peer: Peer, tls: NotingContext | None
) -> str:
    where = peer.where
    if tls is not None and tls.said:
        return f"{where}: TLS failed: {tls.said}"
    for rejection in rejections:
        return f"{where} rejected the association: {rejection.reason_str}"
    if association.is_aborted and association.acceptor.primitive is not None:
        return f"{where} aborted the association or accepted nothing that was proposed"
    return f"{where} does not answer"


def no_delay(event: evt.Event) -> None:
    """Without TCP_NODELAY each image stalls about 45 ms (Nagle's algorithm and delayed acknowledgement)."""
    connection: Any = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
