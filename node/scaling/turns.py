"""Requests for commitment over several receivers: who has the asker's association goes first."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from db.claims import COMMITMENT
from db.commitments import CommitmentWork
from node.clock import utc_now
from node.intake.commitment import Turns
from node.scaling.lease import Lease

_FIRST: Final = timedelta(seconds=5)
"""For so long a new request is left to the receiver that was asked."""


class ClaimedTurns(Turns):
    """A request is claimed; the claim is kept while the association on which was asked is open."""

    def __init__(self, lease: Lease, clock: Callable[[], datetime] = utc_now) -> None:
        self._lease = lease
        self._clock = clock

    def take(self, work: CommitmentWork, at_hand: bool) -> bool:
        """Claim the request, or find that it is claimed for this process."""
        if not at_hand and self._clock() - work.requested_at < _FIRST:
            return False
        return self._lease.has(COMMITMENT, str(work.commitment_id))

    def give(self, work: CommitmentWork, at_hand: bool) -> None:
        """Give the claim back, unless the next step is easiest here."""
        if not at_hand:
            self._lease.release(COMMITMENT, [str(work.commitment_id)])
