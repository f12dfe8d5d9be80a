"""A line to break: a modality, a node with faults built in, an archive, and the ledger that judges."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from db.session import DatabaseError, open_database
from db.tables import Instance, Series
from node.relabelling.part10 import meta_end
from node.storage.spool import Spool, data_set_digest
from tests.chaos import sender
from tests.chaos.archive import Archive
from tests.chaos.forked import QuickNode
from tests.chaos.ledger import Counts, Ledger
from tests.chaos.plan import AT_THE_END
from tests.harness import RunningNode, make_node, wait_until

MEMORY: Final = Path("/dev/shm")
"""Where the lines live: a killed process loses nothing that the kernel has, on whatever file system."""

_UNDER_WAY: Final = {"stable", "classified"}


class Line:
    """One node, one archive, one ledger; started by `line`. `quick`: its processes come from a zygote."""

    def __init__(self, folder: Path, quick: bool = True, **sections: Any) -> None:
        self.folder = folder
        self.archive = Archive(folder / "archive")
        self.ledger = Ledger()
        destinations = sections.pop("destinations", None) or [self.archive.destination()]
        blind = {"decoders": 0, "ct_series": "off"}  # the stand-in sees images, and nothing else looks
        sections["classify"] = blind | sections.get("classify", {})
        made = make_node(folder / "node", *destinations, **sections)
        self.node: RunningNode = QuickNode(made.folder, made.settings) if quick else made
        self.node.module = "tests.chaos.victim"

    def faults(self, **faults: Any) -> None:
        """Build these faults into the node that is started next."""
        if isinstance(self.node, QuickNode):
            self.node.faults = faults
        self.node.environment["BODYTAG_CHAOS"] = json.dumps(faults)

    def insist(self, files: Sequence[Path], deadline_s: float = 120.0) -> None:
        """Send until all is answered with Success."""
        sender.insist(self.node.port, files, self.ledger, deadline_s)

    def restart(self) -> None:
        """Start the node again after it was killed, if it was."""
        for _ in range(20):
            if self.node.process is not None and self.node.process.poll() is None:
                return
            with suppress(AssertionError):  # it may die of a built-in fault while it starts
                self.node.start()
        self.node.start()

    def kill(self) -> None:
        """Kill the node, not its worker, if it runs."""
        if self.node.process is not None and self.node.process.poll() is None:
            self.node.kill()

    def backlog(self) -> int:
        """Return how many objects were answered with Success and have not arrived, roughly."""
        return len(self.ledger.answered) - self.archive.distinct()

    def rows(self) -> list[tuple[str, str, str, str | None]]:
        """Return digest, path, state of the series and conflict of every instance the database knows."""
        database = open_database(self.node.config.database.url)
        try:
            with database.reading() as session:
                columns = (Instance.sha256, Instance.path, Series.state, Instance.conflict)
                found = session.execute(select(*columns).join(Series, Series.id == Instance.series_id))
                return [(row[0], row[1], row[2], row[3]) for row in found]
        finally:
            database.close()

    def settled(self, delivered: bool = False) -> bool:
        """Tell whether all that was answered is known and nothing is under way any more."""
        with suppress(SQLAlchemyError, DatabaseError):
            rows = self.rows()
            known = {digest for digest, _, _, _ in rows}
            states = {state for _, _, state, _ in rows}
            bad = _UNDER_WAY | ({"failed"} if delivered else set())
            return {one.digest for one in self.ledger.answered} <= known and not states & bad
        return False

    def settle(self, deadline_s: float = 180.0) -> Counts:
        """Wait until nothing is under way, and judge."""
        try:
            wait_until(self.settled, "everything is settled", deadline_s)
        except AssertionError as error:
            tail = self.node.log.read_text(errors="replace")[-3000:]
            raise AssertionError(f"{error}: {self.judge()}\n{tail}") from error
        return self.judge()

    def judge(self) -> Counts:
        """Hold what arrived against what was sent; what is shown as a conflict must lie in the spool."""
        spool = Spool(self.node.config.spool.folder, 0)
        apart = set()
        for digest, relative, _, conflict in self.rows():
            path = spool.path(relative)
            if conflict and path.is_file() and data_set_digest(path, meta_end(path)) == digest:
                apart.add(digest)
        return self.ledger.judge(self.archive.copies(), apart)

    def close(self) -> None:
        """End whatever still runs."""
        if self.node.process is not None and self.node.process.poll() is None:
            self.node.kill()
        if isinstance(self.node, QuickNode):
            self.node.end()
        self.archive.stop()


@contextmanager
def line(quick: bool = True, **sections: Any) -> Iterator[Line]:
    """Make a line in memory, its archive listening, its node not started; all ends with the block."""
    parent = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="bodytag-chaos-", dir=parent, ignore_cleanup_errors=True) as name:
        AT_THE_END.callback(shutil.rmtree, name, ignore_errors=True)
        made = Line(Path(name), quick, **sections)
        made.archive.start()
        try:
            yield made
        finally:
            made.close()
