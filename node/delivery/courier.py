"""The courier: takes a part of a destination's queue there over one connection, and notes each result."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog
from pydicom.uid import UID

from db.deliveries import failed, postponed
from db.records import DeliveryWork
from db.session import Database
from node import metrics, status
from node.auditing.ledger import Ledger
from node.clock import utc_now
from node.delivery.backoff import pause_s
from node.delivery.outgoing import Ahead, Outgoing
from node.delivery.rate import Rate
from node.delivery.readback import read_back
from node.delivery.scu import MAXIMUM_CONTEXTS
from node.delivery.tally import Tally
from node.delivery.transcode import NATIVE, TranscodeError, Transcoder
from node.delivery.transport import (
    Answer,
    Context,
    Identity,
    PeerError,
    RefusedError,
    Sender,
    SyntaxRefusedError,
    Transport,
    identity,
)
from node.relabelling.coercion import KEEP
from node.relabelling.relabel import Modifier, relabelled
from node.settings.destinations import Destination
from node.storage.spool import Spool

log = structlog.get_logger()

NOT_TAKEN: Final = "the destination takes no such SOP class and transfer syntax"

Unread = dict[Identity, tuple[DeliveryWork, Answer]]
"""What the peer said it stored, and what is to be read back before that counts."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a part ended: how many instances got an answer, and whether the peer failed as a whole.

    `pause_s`: the peer asked to be left alone for so long; `why`: what failed, in a sentence.
    """

    answered: int = 0
    broke: bool = False
    pause_s: float = 0.0
    why: str = ""


class Courier:
    """Delivers parts of one destination's queue, for as many threads as it may have connections."""

    def __init__(
        self,
        destination: Destination,
        transport: Transport,
        database: Database,
        spool: Spool,
        modifier: Modifier,
        paused: Callable[[], bool],
        ledger: Ledger,
    ) -> None:
        self._destination = destination
        self._transport = transport
        self._database = database
        self._spool = spool
        self._modifier = modifier
        self._paused = paused
        self._ledger = ledger
        self._outgoing = spool.outgoing(destination.name)
        self._rate = Rate(destination.instances_per_s, destination.bytes_per_s)
        self._transcodes = bool(getattr(destination, "transcode", False))
        self._transcoder = Transcoder()

    def close(self) -> None:
        """End the process that transcodes, if there is one."""
        self._transcoder.close()

    def deliver(self, work: Sequence[DeliveryWork], stop: threading.Event) -> Ending:
        """Send a part of the queue until it, the connection or the node ends, and note each result."""
        contexts = self._contexts(work)
        work = [each for each in work if _context(each) in contexts]
        unread: Unread = {}
        tally = Tally(self._destination.name, self._database, self._ledger)
        try:
            with self._transport.connect(contexts) as sender:
                ending = self._send(sender, work, unread, tally, stop)
        except PeerError as error:
            self._postpone(work[0], None, str(error))
            self._give_up(work[1:])
            ending = Ending(0, True, error.pause_s, str(error))
        finally:
            tally.note()
        if unread:
            self._read_back(unread, tally, stop)
            tally.note()
        return ending

    def _contexts(self, work: Iterable[DeliveryWork]) -> frozenset[Context]:
        """The contexts of the work, in its order, as many as one association can propose.

        Beside the original transfer syntaxes stand those that are used where the peer refuses these.
        """
        chosen: dict[Context, None] = {}
        for each in work:
            instead = [(each.sop_class_uid, native) for native in NATIVE if self._transcodes]
            wanted = dict.fromkeys((_context(each), *instead))
            if len(chosen | wanted) <= MAXIMUM_CONTEXTS:
                chosen |= wanted
        return frozenset(chosen)

    def _send(
        self,
        sender: Sender,
        work: Sequence[DeliveryWork],
        unread: Unread,
        tally: Tally,
        stop: threading.Event,
    ) -> Ending:
        """Send one after the other; what is to be read back before it counts is put into `unread`."""
        answered = 0
        ahead = Ahead(work, self._made)
        for each in work:
            if self._paused() or self._stopped_in_turn(each, stop):
                break
            try:
                answer, named = self._store(sender, each, ahead, tally)
            except PeerError as error:
                self._postpone(each, None, str(error))
                return Ending(answered, True, error.pause_s, str(error))
            except RefusedError as error:
                self._refused(each, error)
                continue
            except TranscodeError as error:
                self._postpone(each, None, f"{NOT_TAKEN}, and {error}")
                continue
            except OSError as error:
                self._postpone(each, None, f"the spool gives no copy: {error.strerror}")
                continue
            answered += 1
            if named is not None and self._counts(answer.status):
                unread[named] = each, answer
            else:
                self._record(each, answer, tally)
        return Ending(answered)

    def _stopped_in_turn(self, work: DeliveryWork, stop: threading.Event) -> bool:
        """Wait for the instance's turn; tell whether the node stops meanwhile."""
        if self._rate.free:
            return stop.is_set()
        source = self._spool.path(work.path)
        return stop.wait(self._rate.take(source.stat().st_size if source.exists() else 0))

    def _made(self, work: DeliveryWork) -> Outgoing:
        """Make an instance ready; raises OSError."""
        source = self._spool.path(work.path)
        source.stat()  # a file that is gone is the spool's fault, not the peer's
        place = self._outgoing / f"{work.delivery_id}.dcm"
        return Outgoing(source, relabelled(work, source, self._modifier), place)

    def _store(
        self, sender: Sender, work: DeliveryWork, ahead: Ahead, tally: Tally
    ) -> tuple[Answer, Identity | None]:
        """Send one instance; return the answer, and what it calls itself where it is to be read back."""
        began = time.monotonic()

        def meanwhile() -> None:
            ahead.make_next(work)
            tally.note_if_many()

        with ahead.take(work) as what:
            named = identity(what.file()) if self._destination.verify else None
            answer = self._offer(sender, work, what, meanwhile)
        metrics.DELIVERY_SECONDS.labels(self._destination.name).observe(time.monotonic() - began)
        return answer, named

    def _offer(
        self, sender: Sender, work: DeliveryWork, what: Outgoing, meanwhile: Callable[[], None]
    ) -> Answer:
        """Send an instance as it is encoded or, where the peer takes only that, without compression."""
        if sender.accepts(_context(work)):
            try:
                return sender.store(what, meanwhile)
            except SyntaxRefusedError:
                if not self._transcodes:
                    raise
        for syntax in NATIVE if self._transcodes else ():
            if syntax != work.transfer_syntax_uid and sender.accepts((work.sop_class_uid, syntax)):
                return self._send_native(sender, work, what, syntax)
        raise RefusedError(NOT_TAKEN)

    def _send_native(self, sender: Sender, work: DeliveryWork, what: Outgoing, syntax: str) -> Answer:
        native = self._outgoing / f"{work.delivery_id}.native.dcm"
        try:
            self._transcoder.convert(what.file(), native, syntax)
            answer = sender.store(Outgoing(native))
        finally:
            native.unlink(missing_ok=True)
        return Answer(answer.status, f"{answer.comment} as {UID(syntax).name}".strip(), True)

    def _counts(self, code: int) -> bool:
        """Tell whether a status means that the instance is delivered."""
        return status.is_success(code) or code in self._destination.accepted_warnings

    def _read_back(self, unread: Unread, tally: Tally, stop: threading.Event) -> None:
        """Count as delivered what the peer finds, and send the rest again later."""
        found, why = read_back(self._transport, unread, self._destination.verify_within_s, stop)
        for one, (work, answer) in unread.items():
            part = found.get(one.sop_instance_uid)
            if part is None:
                if not stop.is_set():
                    self._postpone(work, answer.status, f"stored, as it said, but not read back: {why}")
            elif part and work.policy != KEEP and part != one.body_part:
                older = f"it has the instance with Body Part Examined {part}, not {one.body_part}"
                self._fail(work, answer.status, f"{older}: it keeps what it got before")
            else:
                self._record(work, replace(answer, comment=f"{answer.comment} read back".strip()), tally)

    def _record(self, work: DeliveryWork, answer: Answer, tally: Tally) -> None:
        if self._counts(answer.status):
            tally.add(work, answer)
            return
        said = f"{status.meaning(answer.status)} {answer.comment}".strip()
        if status.is_warning(answer.status):
            # The instance is stored there; to send it again would bring the same warning.
            self._fail(work, answer.status, said)
        else:
            self._postpone(work, answer.status, said)

    def _refused(self, work: DeliveryWork, error: RefusedError) -> None:
        if error.final:
            self._fail(work, None, str(error))
        else:
            self._postpone(work, None, str(error))

    def _postpone(self, work: DeliveryWork, code: int | None, comment: str) -> None:
        """Note why this instance did not arrive, and when it is tried again, if it is not too old."""
        pause = pause_s(self._destination.retry, work.attempts + 1)
        log.warning(
            "instance not delivered",
            destination=self._destination.name,
            series_id=work.series_id,
            sop_instance_uid=work.sop_instance_uid,
            reason=comment,
            pause_s=round(pause, 1),
        )
        now = utc_now()
        with self._database.session() as session:
            postponed(session, work.delivery_id, code, comment, now + timedelta(seconds=pause), now)
        metrics.TRIES.labels(self._destination.name, "postponed").inc()
        self._give_up([work])

    def _give_up(self, work: Iterable[DeliveryWork]) -> None:
        """Fail what is older than the destination's maximum age, now that it was in vain once more.

        Only then: a destination that is back, or a clock that jumped, loses nothing.
        """
        maximum_age_s = self._destination.retry.maximum_age_s
        for each in work:
            if (utc_now() - each.armed_at).total_seconds() > maximum_age_s:
                self._fail(
                    each, None, f"not delivered within {maximum_age_s:g} s; bodytag resend tries again"
                )

    def _fail(self, work: DeliveryWork, code: int | None, comment: str) -> None:
        """Put an instance aside: it is not tried again until somebody says so."""
        log.error(
            "delivery failed",
            destination=self._destination.name,
            series_id=work.series_id,
            sop_instance_uid=work.sop_instance_uid,
            reason=comment,
        )
        with self._database.session() as session:
            failed(session, work.delivery_id, code, comment, utc_now(), work.correction_id)
        self._ledger.failed(work)
        metrics.TRIES.labels(self._destination.name, "failed").inc()


def _context(work: DeliveryWork) -> Context:
    return work.sop_class_uid, work.transfer_syntax_uid
