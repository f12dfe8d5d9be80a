"""The doctor: holds the spool against the database, says what does not fit, and mends what can be mended.

Looking is safe beside a running node: what looks wrong is asked about twice, and what the node may just be
writing is left out. Mending needs the spool's lock, so the node must stand still.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydicom.errors import InvalidDicomError

from db.checkup import (
    FileRow,
    expected,
    file_rows,
    give_up,
    integrity,
    miscounted,
    recount,
    stuck,
    unstick,
)
from db.session import Database
from node import facts
from node.clock import utc_now
from node.relabelling.encoded import EncodedError
from node.relabelling.part10 import meta_end
from node.storage.spool import REPORTS, Spool, data_set_digest

DAMAGED: Final = "damaged"
"""Folder of the spool to which files go that are not what they should be."""

WAITING: Final = "waiting"
"""The one kind of finding that is no fault."""

_YOUNG_S: Final = 3600.0
"""Beside a running node younger files of its own are left out: it may be at work on them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit. `lost`: what was not delivered is gone; `mended`: `mend` was there."""

    kind: str
    what: str
    path: str | None = None
    series_id: int | None = None
    row: FileRow | None = None
    lost: bool = False
    mended: bool = False


class Doctor:
    """Examines one spool and one database; `running`: a node is at work on them."""

    def __init__(self, spool: Spool, database: Database, running: bool, thorough: bool = False) -> None:
        self._spool = spool
        self._database = database
        self._running = running
        self._thorough = thorough

    def examine(self) -> list[Finding]:
        """Look at everything; reads each file only if told to be thorough."""
        return [*self._database_findings(), *self._rows(), *self._strangers(), *self._leftovers()]

    def mend(self, finding: Finding) -> Finding:
        """Mend what can be; returns the finding as it is then."""
        if finding.row is not None:
            if finding.kind == DAMAGED:
                self._set_aside(finding.row.path)
            with self._database.session() as session:
                give_up(session, finding.row, utc_now())
        elif finding.series_id is not None:
            with self._database.session() as session:
                if finding.kind == "miscounted":
                    recount(session, finding.series_id)
                else:
                    unstick(session, finding.series_id, utc_now())
        elif finding.path is None or finding.kind == WAITING:
            return finding
        elif finding.kind == "unreadable":
            self._set_aside(finding.path)
        else:
            (self._spool.folder / finding.path).unlink(missing_ok=True)
        return replace(finding, mended=True)

    def _database_findings(self) -> Iterator[Finding]:
        with self._database.reading() as session:
            wrong = integrity(session)
            counts, states = miscounted(session), stuck(session)
        if wrong is not None:
            yield Finding("broken", f"the database is damaged, restore a copy of it: {wrong}")
        for series_id in counts:
            yield Finding("miscounted", "a series counts other files than it has", series_id=series_id)
        for series_id in states:
            yield Finding("stuck", "the state of a series contradicts its deliveries", series_id=series_id)

    def _rows(self) -> Iterator[Finding]:
        """Yield files that the database knows, and that are missing or not what they were."""
        with self._database.reading() as session:
            rows = list(file_rows(session))
        for row in rows:
            found = self._look(row)
            if found is not None and self._still(row):
                yield found

    def _look(self, row: FileRow) -> Finding | None:
        path = self._spool.path(row.path)
        try:
            start = meta_end(path)
            whole = path.stat().st_size - start == row.size_bytes
            if whole and self._thorough:
                whole = data_set_digest(path, start) == row.sha256
        except FileNotFoundError:
            return Finding("missing", _fate("is missing", row), row.path, row=row, lost=not row.delivered)
        except EncodedError:
            whole = False
        if whole:
            return None
        return Finding(DAMAGED, _fate("is damaged", row), row.path, row=row, lost=not row.delivered)

    def _still(self, row: FileRow) -> bool:
        """Ask again: retention may have removed the file since the rows were read."""
        with self._database.reading() as session:
            return expected(session, row.instance_id) == row.path and self._look(row) is not None

    def _strangers(self) -> Iterator[Finding]:
        """Yield files that lie among the instances and are not known to the database."""
        found = [path for _, paths in self._spool.series() for path in paths]
        with self._database.reading() as session:
            known = {row.path for row in file_rows(session)}
        for path in found:
            if path not in known and self._spool.path(path).exists():
                yield self._stranger(path)

    def _stranger(self, path: str) -> Finding:
        where = f"instances/{path}"
        try:
            facts.of_file(self._spool, path)
        except (EncodedError, InvalidDicomError, AttributeError, OSError):
            return Finding("unreadable", "a file is no instance that the node wrote", where)
        return Finding(WAITING, "an instance waits for its series to be complete, or for the node", where)

    def _leftovers(self) -> Iterator[Finding]:
        """Yield what a process that died left under way, and reports that no series knows."""
        folder = self._spool.folder
        with self._database.reading() as session:
            known = {row.path for row in file_rows(session)}
        own = [path for path in (folder / REPORTS).glob("*.dcm") if f"{REPORTS}/{path.name}" not in known]
        under_way = [*(folder / "incoming").rglob("*"), *folder.glob("outgoing/**/*.dcm")]
        under_way = [path for path in under_way if path.is_file()]
        for path in [*under_way, *own, *(folder / "requests").iterdir()]:
            if not self._young(path):
                yield Finding("leftover", "a file was left over", path.relative_to(folder).as_posix())

    def _young(self, path: Path) -> bool:
        if not self._running:
            return False
        try:
            return time.time() - path.stat().st_mtime < _YOUNG_S
        except FileNotFoundError:
            return True

    def _set_aside(self, relative: str) -> None:
        """Move a file to where it harms nobody and can be looked at."""
        relative = relative.removeprefix("instances/")
        target = self._spool.folder / DAMAGED / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            self._spool.path(relative).replace(target)


def _fate(what: str, row: FileRow) -> str:
    known = "it was delivered" if row.delivered else "it was NOT delivered everywhere: send it again"
    return f"a file of series {row.series_instance_uid} {what}; {known}"
