"""The node as storage SCU: one association, instances sent from their files without being decoded."""

import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from node.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.turnstile import Turnstile

# A file is sent in pieces and never parsed: what is stored is what goes out.
_config.STORE_SEND_CHUNKED_DATASET = True

MAXIMUM_CONTEXTS: Final = 128
"""Presentation context identifiers are the odd numbers below 256 (PS3.8 section 9.3.2.2)."""

MAXIMUM_PDU_BYTES: Final = 131072

Context = tuple[str, str]
"""Abstract syntax and transfer syntax UID."""


class PeerError(Exception):
    """The peer could not be reached, refused, or broke off; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom to call, and as whom."""

    ae_title: str
    host: str
    port: int
    calling_ae_title: str
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The peer's C-STORE response."""

    status: int
    comment: str


class Sender:
    """An established association; made by `connect`."""

    def __init__(self, association: Association, turnstile: Turnstile) -> None:
        self._association = association
        self._turnstile = turnstile
        self._accepted = {
            (str(context.abstract_syntax), str(context.transfer_syntax[0]))
            for context in association.accepted_contexts
        }
        self._message_id = 0

    def accepts(self, context: Context) -> bool:
        """Tell whether the peer agreed to take such instances as they are encoded."""
        return context in self._accepted

    def store(self, path: Path) -> Answer:
        """Send one Part 10 file by C-STORE; raises PeerError when no answer comes."""
        if not self._turnstile.data_transfer:
            raise PeerError("the destination ended the association")
        self._message_id = self._message_id % 65535 + 1
        try:
            answer = self._association.send_c_store(path, msg_id=self._message_id)
        except (RuntimeError, ValueError, AttributeError, OSError) as error:
            raise PeerError(f"the instance could not be sent: {error}") from error
        if "Status" not in answer:
            raise PeerError("the destination gave no answer in time")
        return Answer(int(answer.Status), str(answer.get("ErrorComment", "")))

    def echo(self) -> int:
        """Send C-ECHO and return the status; raises PeerError when no answer comes."""
        answer = self._association.send_c_echo()
        if "Status" not in answer:
            raise PeerError("no answer to C-ECHO in time")
        return int(answer.Status)


@contextmanager
def connect(peer: Peer, contexts: Collection[Context]) -> Iterator[Sender]:
    """Open an association that proposes these contexts, at most 128; release it at the end.

    Raises PeerError with the reason when it is not established.
    """
    ae = AE(ae_title=peer.calling_ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = peer.timeout_s
    proposed = [build_context(abstract, transfer) for abstract, transfer in sorted(contexts)]
    association = ae.associate(
        peer.host,
        peer.port,
        contexts=proposed[:MAXIMUM_CONTEXTS],
        ae_title=peer.ae_title,
        max_pdu=MAXIMUM_PDU_BYTES,
        evt_handlers=[(evt.EVT_CONN_OPEN, no_delay)],
    )
    if not association.is_established:
        raise PeerError(_why(association, peer))
    turnstile = Turnstile(association)
    try:
        yield Sender(association, turnstile)
    finally:
        if turnstile.data_transfer:
            association.release()
        turnstile.open()


def echo(peer: Peer) -> int:
    """Return the status of one C-ECHO; raises PeerError."""
    with connect(peer, [(str(Verification), "1.2.840.10008.1.2")]) as sender:
        return sender.echo()


def _why(association: Association, peer: Peer) -> str:
    where = f"{peer.ae_title} at {peer.host}:{peer.port}"
    if association.is_rejected:
        primitive = association.acceptor.primitive
        return f"{where} rejected the association: {primitive.reason_str}"
    if association.is_aborted and association.acceptor.primitive is not None:
        return f"{where} aborted the association or accepted nothing that was proposed"
    return f"{where} does not answer"


def no_delay(event: evt.Event) -> None:
    """Without TCP_NODELAY each image stalls about 45 ms (Nagle's algorithm and delayed acknowledgement)."""
    connection: Any = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
