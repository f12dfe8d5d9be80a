"""The tally: what a destination took, noted in the database a few instances of a series at a time."""

import time
from typing import Final

from db.records import DeliveryWork
from db.sent import Sent, succeeded_together
from db.session import Database
from node import metrics
from node.auditing.ledger import Ledger
from node.clock import utc_now
from node.delivery.transport import Answer

_MOST: Final = 50
_LONGEST_S: Final = 0.5
"""What a kill finds not noted yet is sent again, the same bytes: so it is little, and soon noted.

It is best noted while a peer is busy with the next instance; where that does not happen, at twice as much.
"""


class Tally:
    """Counts for one connection; `note` writes down what is left at its end."""

    def __init__(self, destination: str, database: Database, ledger: Ledger) -> None:
        self._destination = destination
        self._database = database
        self._ledger = ledger
        self._taken: list[tuple[DeliveryWork, Answer]] = []
        self._since_s = 0.0

    def add(self, work: DeliveryWork, answer: Answer) -> None:
        """Count an instance that the destination has."""
        if self._taken and self._taken[0][0].series_id != work.series_id:
            self.note()
        if not self._taken:
            self._since_s = time.monotonic()
        self._taken.append((work, answer))
        self.note_if_many(2)

    def note_if_many(self, times: int = 1) -> None:
        """Write down what was counted if it is so many times what is little."""
        waited_s = time.monotonic() - self._since_s
        if len(self._taken) >= times * _MOST or (self._taken and waited_s > times * _LONGEST_S):
            self.note()

    def note(self) -> None:
        """Write down what was counted since the last time."""
        taken, self._taken = self._taken, []
        if not taken:
            return
        sent = [Sent(work.delivery_id, a.status, a.comment, work.correction_id) for work, a in taken]
        with self._database.session() as session:
            succeeded_together(session, taken[0][0].series_id, sent, utc_now())
        for work, answer in taken:
            self._ledger.delivered(work, answer.transcoded)
            metrics.delivered(self._destination, work.armed_at)
