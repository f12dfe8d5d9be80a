"""The audit trail: who sent what to whom and who changed what, one JSON object a line, in a file of its own.

Events have the names and codes of DICOM's audit messages (PS3.15 A.5, PS3.16 CID 400 and 401). Instances and
studies are named by UID; no patient's name, no other attribute of a data set and no secret ever stands here.
"""

import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from node import metrics
from node.clock import utc_now

log = structlog.get_logger()

_MODE: Final = 0o640
_ALERTS: Final = 20
_WINDOW_S: Final = 60.0
_REMEMBERED: Final = 1000

Fact = str | int | float | bool | None | list[str] | Mapping[str, "Fact"]


class AuditError(OSError):
    """The audit trail cannot be written; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Event:
    """A kind of event: the code's meaning, and the code itself (coding scheme DCM)."""

    meaning: str
    code: str


APPLICATION_START: Final = Event("Application Start", "110120")
APPLICATION_STOP: Final = Event("Application Stop", "110121")
TRANSFER_BEGUN: Final = Event("Begin Transferring DICOM Instances", "110102")
INSTANCES_TRANSFERRED: Final = Event("DICOM Instances Transferred", "110104")
STUDY_DELETED: Final = Event("DICOM Study Deleted", "110105")
SECURITY_ALERT: Final = Event("Security Alert", "110113")
NODE_AUTHENTICATION: Final = Event("Node Authentication", "110126")
SOFTWARE_CONFIGURATION: Final = Event("Software Configuration", "110131")
RESTRICTED_FUNCTION: Final = Event("Use of Restricted Function", "110132")


class Trail:
    """Appends to the file; a file that was moved away is begun anew, and several processes may write."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def check(self) -> None:
        """Raise AuditError where the trail could not be written."""
        if self._path is None:
            return
        try:
            os.close(self._open(self._path))
        except OSError as error:
            raise AuditError(f"audit.file: {self._path} cannot be written: {error.strerror}") from error

    def note(self, event: Event, succeeded: bool, **facts: Fact) -> None:
        """Write one line; where that fails the log says so, and the node goes on."""
        if self._path is None:
            return
        entry = {
            "time": utc_now().isoformat(),
            "event": event.meaning,
            "code": event.code,
            "outcome": "success" if succeeded else "failure",
            **{name: fact for name, fact in facts.items() if fact is not None},
        }
        line = json.dumps(entry, ensure_ascii=True, separators=(",", ":")) + "\n"
        try:
            handle = self._open(self._path)
            try:
                os.write(handle, line.encode("ascii"))  # one write: lines of several processes do not mix
            finally:
                os.close(handle)
        except OSError as error:
            log.error("the audit trail cannot be written", reason=error.strerror, event_lost=event.meaning)

    def _open(self, path: Path) -> int:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)


class Alerts:
    """Security alerts in log and trail, a few a minute for each address, so that no peer fills a disk."""

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self._counts: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def alert(self, what: str, address: str, event: Event = SECURITY_ALERT, **facts: Fact) -> None:
        """Tell of something that a peer tried; `what` is a few words without any of its data."""
        metrics.ALERTS.inc()
        suppressed = self._suppressed(address, time.monotonic())
        if suppressed is None:
            return
        more: dict[str, Fact] = {**facts, **({"not_told": suppressed} if suppressed else {})}
        log.warning(what, address=address, **more)
        self._trail.note(event, succeeded=False, reason=what, address=address, **more)

    def _suppressed(self, address: str, now: float) -> int | None:
        """Return how many alerts of the last minute were not told; None where this one is not, either."""
        with self._lock:
            began, count = self._counts.pop(address, (now, 0))
            left = 0
            if now - began > _WINDOW_S:
                left, began, count = max(0, count - _ALERTS), now, 0
            if len(self._counts) >= _REMEMBERED:
                del self._counts[next(iter(self._counts))]
            self._counts[address] = (began, count + 1)
            return left if count < _ALERTS else None
