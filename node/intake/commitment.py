"""Storage commitment: a request is kept, its instances read back from the disk, and the asker told.

An instance is committed when its file in the spool has the content that the database holds for it. What is
not registered yet is waited for. What was removed or cannot be told apart is not committed.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final

import structlog
from pydicom.dataset import Dataset
from pynetdicom import evt

from db.commitments import (
    CommitmentWork,
    Holding,
    ask,
    closed,
    decided,
    holdings,
    open_requests,
    postponed,
)
from db.session import Database
from db.states import CommitmentState
from node.clock import utc_now
from node.delivery.backoff import pause_s
from node.delivery.transport import PeerError
from node.intake.commitment_wire import (
    INSTANCE_UID,
    Action,
    BadRequest,
    WayBack,
    answered,
    read_request,
    report_anew,
)
from node.relabelling.encoded import EncodedError
from node.relabelling.part10 import meta_end
from node.settings.commitment import CommitmentSection
from node.status import SUCCESS
from node.storage.spool import Spool, data_set_digest

log = structlog.get_logger()

PROCESSING_FAILURE: Final = 0x0110
NO_SUCH_INSTANCE: Final = 0x0112
INVALID_ARGUMENT: Final = 0x0115
CLASS_INSTANCE_CONFLICT: Final = 0x0119
NO_SUCH_ACTION: Final = 0x0123
"""Statuses of N-ACTION (PS3.7 10.1.4.1.10); the first, second and fourth are Failure Reasons, too."""

_ACTION: Final = 1
_POLL_S: Final = 0.5
_BATCH: Final = 100
_AT_ONCE: Final = 4
"""Reports under way: a peer that does not answer holds up a few others at most, and those for a moment."""


class Turns:
    """Who works on a request: on one machine always this process."""

    def take(self, work: CommitmentWork, at_hand: bool) -> bool:  # noqa: ARG002 - others look at them
        """Tell whether this process may; `at_hand`: the association on which was asked is open here."""
        return True

    def give(self, work: CommitmentWork, at_hand: bool) -> None:
        """Let others."""


class Commitments:
    """Takes requests and works them off; `gathered` tells which instances wait to be registered."""

    def __init__(
        self,
        settings: CommitmentSection,
        calling: str,
        spool: Spool,
        database: Database,
        gathered: Callable[[], frozenset[str]],
        turns: Turns | None = None,
    ) -> None:
        self._settings = settings
        self._calling = calling
        self._spool = spool
        self._database = database
        self._gathered = gathered
        self._turns = turns or Turns()
        self._ways_back: dict[tuple[str, str], WayBack] = {}
        self._busy: set[int] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def on_action(self, event: evt.Event) -> tuple[int | Dataset, None]:
        """Answer N-ACTION (PS3.4 J.3.2): Success means that the request is kept and will be reported on."""
        return answered(event, self.take)

    def take(self, action: Action, way_back: WayBack) -> tuple[int, str]:
        """Keep a request; return the status to answer, and a comment where it is refused."""
        try:
            status, comment = self._take(action, way_back)
        except BadRequest as error:
            status, comment = INVALID_ARGUMENT, str(error)
        except Exception:
            log.exception("a request for storage commitment could not be kept")
            status, comment = PROCESSING_FAILURE, "the node failed; see its log"
        if status == SUCCESS:
            self._wake.set()
        else:
            log.warning("storage commitment refused", status=f"0x{status:04X}", reason=comment)
        return status, comment

    def _take(self, action: Action, way_back: WayBack) -> tuple[int, str]:
        if action.instance_uid != INSTANCE_UID:
            return NO_SUCH_INSTANCE, "the well-known SOP instance is not named"
        if action.action_type != _ACTION:
            return NO_SUCH_ACTION, "the only action is 1, request storage commitment"
        if action.information is None:
            return INVALID_ARGUMENT, "the request has no action information"
        most, title = self._settings.maximum_instances, action.calling_ae_title
        asked = read_request(action.information, action.transfer_syntax_uid, most)
        with self._database.session() as session:
            if not ask(session, title, asked.transaction_uid, asked.references, utc_now()):
                return PROCESSING_FAILURE, "the transaction is under way with other instances"
        with self._lock:
            self._ways_back = {key: each for key, each in self._ways_back.items() if each.open}
            self._ways_back[title, asked.transaction_uid] = way_back
        log.info("storage commitment requested", calling_ae_title=title, instances=len(asked.references))
        return SUCCESS, ""

    def run(self, stop: threading.Event) -> None:
        """Work requests off until `stop` is set."""
        with ThreadPoolExecutor(_AT_ONCE, "commitment") as pool:
            while not stop.is_set():
                try:
                    self._start_due(pool)
                except Exception:
                    log.exception("storage commitment failed; it goes on")
                self._wake.wait(_POLL_S)
                self._wake.clear()

    def wake(self) -> None:
        """End the pause of the loop."""
        self._wake.set()

    def _start_due(self, pool: ThreadPoolExecutor) -> None:
        with self._database.reading() as session:
            due = open_requests(session, utc_now(), _BATCH)
        for work in due:
            with self._lock:
                if work.commitment_id in self._busy:
                    continue
                self._busy.add(work.commitment_id)
            if self._turns.take(work, self._at_hand(work)):
                pool.submit(self._step, work)
            else:
                with self._lock:
                    self._busy.discard(work.commitment_id)

    def _step(self, work: CommitmentWork) -> None:
        try:
            if work.failures is None:
                self._decide(work)
            else:
                self._report(work)
        except Exception:
            log.exception("a request for storage commitment failed; it is tried again")
            self._postpone(work, "the node failed; see its log")
        finally:
            self._turns.give(work, self._at_hand(work))
            with self._lock:
                self._busy.discard(work.commitment_id)
            self._wake.set()

    def _at_hand(self, work: CommitmentWork) -> bool:
        with self._lock:
            way_back = self._ways_back.get((work.calling_ae_title, work.transaction_uid))
        return way_back is not None and way_back.open

    def _decide(self, work: CommitmentWork) -> None:
        """Look at every instance; wait where some may still come."""
        gathered = self._gathered()  # asked before the database: what is registered meanwhile is found there
        uids = [instance for _, instance in work.asked]
        with self._database.reading() as session:
            held = holdings(session, uids)
        now = utc_now()
        unknown = [uid for uid in uids if uid not in held]
        patient = (now - work.requested_at).total_seconds() < self._settings.wait_s
        if unknown and (patient or not gathered.isdisjoint(unknown)):
            with self._database.session() as session:
                postponed(session, work.commitment_id, None, now + timedelta(seconds=_POLL_S))
            return
        failures = [
            (sop_class, instance, reason)
            for sop_class, instance in work.asked
            if (reason := self._reason(sop_class, held.get(instance, []))) is not None
        ]
        with self._database.session() as session:
            decided(session, work.commitment_id, failures, utc_now())
        log.info(
            "storage commitment decided",
            calling_ae_title=work.calling_ae_title,
            committed=len(work.asked) - len(failures),
            failed=len(failures),
        )

    def _reason(self, sop_class_uid: str, held: list[Holding]) -> int | None:
        """Say why an instance is not committed; None where it is."""
        if not held or all(each.removed for each in held):
            return NO_SUCH_INSTANCE
        if len(held) > 1 or held[0].in_conflict:
            return PROCESSING_FAILURE  # two objects with one UID: nobody can say which is meant
        if held[0].sop_class_uid != sop_class_uid:
            return CLASS_INSTANCE_CONFLICT
        return None if self._is_whole(held[0]) else PROCESSING_FAILURE

    def _is_whole(self, held: Holding) -> bool:
        path = self._spool.path(held.path)
        try:
            whole = data_set_digest(path, meta_end(path)) == held.sha256
        except (OSError, EncodedError) as error:
            log.error("an instance of the spool cannot be read", file=held.path, error=str(error))
            return False
        if not whole:
            log.error("an instance of the spool is not what was received", file=held.path)
        return whole

    def _report(self, work: CommitmentWork) -> None:
        """Tell the asker, on its own association while that is open, otherwise on a new one."""
        try:
            status = self._send(work)
        except PeerError as error:
            self._postpone(work, str(error))
            return
        if status != SUCCESS:
            self._postpone(work, f"the peer answered the report with 0x{status:04X}")
            return
        with self._lock:
            self._ways_back.pop((work.calling_ae_title, work.transaction_uid), None)
        with self._database.session() as session:
            closed(session, work.commitment_id, CommitmentState.REPORTED, None)
        log.info("storage commitment reported", calling_ae_title=work.calling_ae_title)

    def _send(self, work: CommitmentWork) -> int:
        with self._lock:
            way_back = self._ways_back.get((work.calling_ae_title, work.transaction_uid))
        if way_back is not None and way_back.open:
            try:
                return way_back.report(work, self._settings.timeout_s)
            except PeerError as error:
                log.debug("the association is of no use any more", reason=str(error))
        peer = self._settings.peer(work.calling_ae_title)
        if peer is None:
            raise PeerError("the association has ended, and commitment.peers names no address")
        return report_anew(work, self._calling, peer, self._settings.timeout_s)

    def _postpone(self, work: CommitmentWork, comment: str) -> None:
        retry = self._settings.retry
        now = utc_now()
        log.warning(
            "storage commitment not reported; it is tried again",
            calling_ae_title=work.calling_ae_title,
            reason=comment,
        )
        with self._database.session() as session:
            if (now - work.requested_at).total_seconds() > retry.maximum_age_s:
                closed(session, work.commitment_id, CommitmentState.FAILED, comment)
                return
            pause = timedelta(seconds=pause_s(retry, work.attempts + 1))
            postponed(session, work.commitment_id, comment, now + pause)
