"""The forwarder: one loop a destination, instance by instance, so that none waits for another."""

import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, Literal

import structlog

from db.deliveries import due, failed, postponed, succeeded
from db.records import DeliveryWork
from db.session import Database
from node import status
from node.backoff import pause_s
from node.clock import utc_now
from node.config_destinations import DicomDestination
from node.relabel import Modifier, write_copy
from node.scu import MAXIMUM_CONTEXTS, Answer, Context, Peer, PeerError, Sender, connect
from node.spool import Spool

log = structlog.get_logger()

_POLL_S: Final = 1.0
"""How often the database is asked for work that came from elsewhere (another process, `resend`)."""

_BATCH: Final = 200


class Forwarder:
    """Delivers what is due for one destination."""

    def __init__(
        self,
        destination: DicomDestination,
        calling: str,
        database: Database,
        spool: Spool,
        modifier: Modifier,
    ) -> None:
        self._destination = destination
        self._peer = Peer(
            destination.ae_title,
            destination.host,
            destination.port,
            destination.calling_ae_title or calling,
            destination.timeout_s,
        )
        self._database = database
        self._spool = spool
        self._modifier = modifier
        self._outgoing = spool.outgoing(destination.name)
        self._down = 0
        self._wake = threading.Event()

    def wake(self) -> None:
        """Tell the loop that there may be work."""
        self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Deliver until `stop` is set; while the destination is down, try with growing pauses."""
        while not stop.is_set():
            try:
                pause = self.deliver_due(stop)
            except Exception:
                log.exception("a forwarder failed; it goes on", destination=self._destination.name)
                pause = pause_s(self._destination.retry, 1)
            if self._down or pause > _POLL_S:
                stop.wait(pause)
            else:
                self._wake.wait(pause)
            self._wake.clear()

    def deliver_due(self, stop: threading.Event) -> float:
        """Send one batch of what is due; return for how long to pause, in seconds."""
        with self._database.reading() as session:
            batch = due(session, self._destination.name, utc_now(), _BATCH)
        work = [each for each in batch if not self._given_up(each)]
        if not work:
            return 0.0 if batch else _POLL_S
        contexts = _contexts(work)
        work = [each for each in work if _context(each) in contexts]
        try:
            with connect(self._peer, contexts) as sender:
                whole = self._send(sender, work, stop)
        except PeerError as error:
            whole = self._postpone(work[0], None, str(error))
        self._down = 0 if whole else self._down + 1
        return 0.0 if whole else pause_s(self._destination.retry, self._down)

    def _send(self, sender: Sender, work: Iterable[DeliveryWork], stop: threading.Event) -> bool:
        """Send until the work or the association ends; tell whether the work did."""
        for each in work:
            if stop.is_set():
                break
            if not sender.accepts(_context(each)):
                self._postpone(each, None, "the destination takes no such SOP class and transfer syntax")
                continue
            try:
                answer = self._store(sender, each)
            except PeerError as error:
                return self._postpone(each, None, str(error))
            except OSError as error:
                self._postpone(each, None, f"the spool gives no copy: {error.strerror}")
                continue
            self._down = 0
            self._record(each, answer)
        return True

    def _store(self, sender: Sender, work: DeliveryWork) -> Answer:
        source = self._spool.path(work.path)
        copy = self._outgoing / f"{work.delivery_id}.dcm"
        source.stat()  # a file that is gone is the spool's fault, not the peer's
        try:
            changed = write_copy(work, source, copy, self._modifier)
            return sender.store(copy if changed else source)
        finally:
            copy.unlink(missing_ok=True)

    def _record(self, work: DeliveryWork, answer: Answer) -> None:
        accepted = answer.status in self._destination.accepted_warnings
        if status.is_success(answer.status) or accepted:
            with self._database.session() as session:
                succeeded(session, work.delivery_id, answer.status, utc_now(), answer.comment)
            return
        said = f"{status.meaning(answer.status)} {answer.comment}".strip()
        if status.is_warning(answer.status):
            # The instance is stored there; to send it again would bring the same warning.
            with self._database.session() as session:
                failed(session, work.delivery_id, answer.status, said, utc_now())
            return
        self._postpone(work, answer.status, said)

    def _postpone(self, work: DeliveryWork, code: int | None, comment: str) -> Literal[False]:
        """Note why this instance did not arrive, and when it is tried again."""
        pause = pause_s(self._destination.retry, work.attempts + 1)
        log.warning(
            "instance not delivered; it is tried again",
            destination=self._destination.name,
            sop_instance_uid=work.sop_instance_uid,
            reason=comment,
            pause_s=round(pause, 1),
        )
        now = utc_now()
        with self._database.session() as session:
            postponed(session, work.delivery_id, code, comment, now + timedelta(seconds=pause), now)
        return False

    def _given_up(self, work: DeliveryWork) -> bool:
        """Fail what is older than the destination's maximum age."""
        age_s = (utc_now() - work.armed_at).total_seconds()
        if age_s <= self._destination.retry.maximum_age_s:
            return False
        reason = (
            f"not delivered within {self._destination.retry.maximum_age_s:g} s; bodytag resend tries again"
        )
        log.error(
            "delivery failed", destination=self._destination.name, sop_instance_uid=work.sop_instance_uid
        )
        with self._database.session() as session:
            failed(session, work.delivery_id, None, reason, utc_now())
        return True


def _context(work: DeliveryWork) -> Context:
    return work.sop_class_uid, work.transfer_syntax_uid


def _contexts(work: Iterable[DeliveryWork]) -> frozenset[Context]:
    """The contexts of the work, in its order, as many as one association can propose."""
    distinct = dict.fromkeys(_context(each) for each in work)
    return frozenset(list(distinct)[:MAXIMUM_CONTEXTS])
