"""The ledger: what went to one destination since the audit trail was last told, series by series."""

import threading
from dataclasses import dataclass

from db.records import DeliveryWork
from node.auditing.audit import INSTANCES_TRANSFERRED, Trail
from node.relabelling.coercion import KEEP

_Key = tuple[str, str, str | None]
"""Study and series as the spool files them, and the Body Part Examined that was written, if one was."""


@dataclass(slots=True)
class _Count:
    """Instances of one series that arrived, some of them transcoded, or that were put aside."""

    delivered: int = 0
    transcoded: int = 0
    failed: int = 0


class Ledger:
    """Counts for one destination; safe for any number of threads."""

    def __init__(self, trail: Trail, node: str, destination: str) -> None:
        """`node` is the node's AE title, `destination` the name of the destination."""
        self._trail = trail
        self._node = node
        self._destination = destination
        self._counts: dict[_Key, _Count] = {}
        self._lock = threading.Lock()

    def delivered(self, work: DeliveryWork, transcoded: bool = False) -> None:
        """Count an instance that arrived, as it is encoded or in another transfer syntax."""
        with self._lock:
            count = self._counts.setdefault(_key(work), _Count())
            count.delivered += 1
            count.transcoded += transcoded

    def failed(self, work: DeliveryWork) -> None:
        """Count an instance that was put aside."""
        with self._lock:
            self._counts.setdefault(_key(work), _Count()).failed += 1

    def write(self) -> None:
        """Write one line for each series into the audit trail, and begin anew."""
        with self._lock:
            counts, self._counts = self._counts, {}
        for (study, series, term), count in counts.items():
            self._trail.note(
                INSTANCES_TRANSFERRED,
                succeeded=not count.failed,
                source={"ae_title": self._node},
                destination={"name": self._destination},
                study=study,
                series=[series],
                instances=count.delivered,
                transcoded=count.transcoded or None,
                failed=count.failed,
                body_part_examined=term,
            )


def _key(work: DeliveryWork) -> _Key:
    parts = work.path.split("/")  # study/series/instance, or reports/instance
    study, series = (parts[0], parts[1]) if len(parts) == 3 else ("", work.path)
    return study, series, None if work.policy == KEEP else work.term
