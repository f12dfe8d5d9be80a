"""Kills of every process and every server of an installation under load, and what became of each object."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from db.scaling import GatheringRow
from db.session import DatabaseError, open_database
from db.states import State
from db.tables import Instance, Series
from node.relabelling.part10 import meta_end
from node.storage.spool import Spool, data_set_digest
from tests.chaos import sender
from tests.chaos.ledger import Counts, Ledger
from tests.chaos.objects import series
from tests.harness import wait_until
from tests.scale.cluster import Cluster

_PAUSE: Final = threading.Event()
BROKER: Final = "broker"
DATABASE: Final = "database"


@dataclass
class Outcome:
    """What came of a run: the objects, how often each part was killed, and how the series were decided."""

    counts: Counts = field(default_factory=Counts)
    series: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    split: int = 0
    differently: int = 0
    late: int = 0
    took_s: float = 0.0

    @property
    def good(self) -> bool:
        """Tell whether nothing was lost, doubled, or decided twice differently."""
        return self.counts.good and not self.split and not self.differently


def run(
    cluster: Cluster, count: int, kills: Sequence[str], seed: int = 7, deadline_s: float = 300
) -> Outcome:
    """Send series over all receivers while the named parts are killed one after the other; then judge."""
    began = time.monotonic()
    chance, ledger = random.Random(seed), Ledger()
    queue = iter([series(cluster.folder / "in", chance.randint(2, 10)) for _ in range(count)])
    sent: list[list[Path]] = []
    lock = threading.Lock()

    def send(number: int) -> None:
        own = random.Random(seed + number)
        while True:
            with lock:
                files = next(queue, None)
            if files is None:
                return
            insist(cluster, files, ledger, own)
            sent.append(files)

    senders = [threading.Thread(target=send, args=(number,)) for number in range(3)]
    for each in senders:
        each.start()
    done = _kill(cluster, kills, chance)
    for each in senders:
        each.join(deadline_s)
    wait_until(lambda: settled(cluster, ledger), f"everything is settled\n{cluster.tail()}", deadline_s)
    found = judge(cluster, ledger, sent)
    found.kills, found.took_s = done, time.monotonic() - began
    return found


def insist(
    cluster: Cluster, files: Sequence[Path], ledger: Ledger, chance: random.Random, deadline_s: float = 180
) -> None:
    """Send a series in parts over receivers by chance, as a balancer does, until all is answered."""
    end = time.monotonic() + deadline_s
    parts = [list(files[0::2]), list(files[1::2])]
    while any(parts):
        assert time.monotonic() < end, f"not accepted within {deadline_s:g} s"
        parts = [sender.send(cluster.port(chance), part, ledger, 10) if part else [] for part in parts]
        _PAUSE.wait(0.1 if any(parts) else 0)


def _kill(cluster: Cluster, kills: Sequence[str], chance: random.Random) -> dict[str, int]:
    """Kill parts and start them again; return how often each was."""
    done: dict[str, int] = defaultdict(int)
    for name in kills:
        _PAUSE.wait(chance.uniform(0.2, 1.5))
        _revive(cluster)
        if name == BROKER:
            cluster.broker.kill()
            cluster.broker.begin()
        elif name == DATABASE:
            cluster.database.stop()
            _PAUSE.wait(chance.uniform(0, 1))
            cluster.database.start()
        else:
            cluster.kill(name)
            _PAUSE.wait(chance.uniform(0, 1))
        done[name.split("-")[0]] += 1
    cluster.broker.wait()
    _revive(cluster)
    return dict(done)


def _revive(cluster: Cluster) -> None:
    """Start every process that is dead: killed, or without the database when it started."""
    for name, process in cluster.processes.items():
        if process.poll() is not None:
            cluster.start(name)


def _rows(cluster: Cluster) -> list[Any]:
    database = open_database(cluster.database.url)
    try:
        with database.reading() as session:
            columns = (Instance.sha256, Instance.path, Instance.conflict, Instance.series_id, Series.state)
            return list(session.execute(select(*columns).join(Series, Series.id == Instance.series_id)))
    finally:
        database.close()


def settled(cluster: Cluster, ledger: Ledger) -> bool:
    """Tell whether all that was answered is known, decided and delivered; start what has died meanwhile."""
    _revive(cluster)
    with suppress(SQLAlchemyError, DatabaseError):
        rows = _rows(cluster)
        known = {row.sha256 for row in rows}
        busy = {row.state for row in rows} & {State.STABLE, State.CLASSIFIED}
        return {one.digest for one in ledger.answered} <= known and not busy and not _growing(cluster)
    return False


def _growing(cluster: Cluster) -> int:
    database = open_database(cluster.database.url)
    try:
        with database.reading() as session:
            return session.scalar(select(func.count()).select_from(GatheringRow)) or 0
    finally:
        database.close()


def judge(cluster: Cluster, ledger: Ledger, sent: Sequence[Sequence[Path]]) -> Outcome:
    """Hold what arrived against what was sent, and what was decided against what was logged."""
    rows = _rows(cluster)
    spool = Spool(cluster.folder / "spool", 0)
    apart = {row.sha256 for row in rows if row.conflict and _lies(spool, row.path, row.sha256)}
    of = {row.path.rsplit("/", 1)[-1].split(".dcm")[0]: row.series_id for row in rows}
    split = [files for files in sent if len({of.get(path.name.split("+")[0]) for path in files}) != 1]
    terms: dict[int, set[str]] = defaultdict(set)
    for line in cluster.lines(event="series classified"):
        terms[line["series_id"]].add(str(line["term"]))
    return Outcome(
        counts=ledger.judge(cluster.archive.copies(), apart),
        series=len({row.series_id for row in rows}),
        split=len(split),
        differently=sum(len(each) > 1 for each in terms.values()),
        late=len(cluster.lines(event="late instances registered")),
    )


def _lies(spool: Spool, relative: str, digest: str) -> bool:
    path = spool.path(relative)
    return path.is_file() and data_set_digest(path, meta_end(path)) == digest
