"""RELIABILITY.md: the table of results, with versions and machine, as the program found them."""

import os
import platform
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from node.version import VERSION
from tests.chaos.ledger import Counts
from tests.chaos.plan import Plan, Result
from tests.postgres import BINARIES

ROOT: Final = Path(__file__).parents[2]

HEAD: Final = """\
# Reliability

Written by `{command}`, which breaks a running node and counts what became of every object.
It ended on {day} and took {took}. What was run by itself (`--only`)
replaced its line of the table.

*Sent* and *Success* count different objects, however often they were sent. *Lost*: answered with Success,
but neither at the destination nor shown as kept apart. *Wrong*: a copy of which any byte differs from what
was sent, outside the elements that CONFORMANCE.md declares. *Twice*: one instance that a destination got
with two different contents. The last three must be zero.
"""

TAIL: Final = """\
## How it was done

The node runs as its users run it, spool and SQLite database on a file system in memory. A killed process
loses nothing that the kernel has, so this says nothing about power cuts, which only fsync answers for. The
networks are replaced by a stand-in that decides at once, and processes are forked from one that has
imported everything, since loading takes longer than a node lives here; all else is the code that is
shipped. Receiver, tracker and forwarders are threads of one process here (`receive.processes: 1`): what
kills one of them kills the three. The worker is a process of its own. Each fault is run to its end, then
everything is given time to arrive, and the ledger judges (tests/chaos/ledger.py). Kills of processes that
receive for the node are in tests/test_receivers.py.

## Versions and machine
"""


@dataclass(frozen=True)
class Ended:
    """How one fault ended: its name, its result or why there is none, and how long it took."""

    name: str
    result: Result | None
    error: str
    took_s: float

    @property
    def good(self) -> bool:
        """Tell whether the fault was run to its end and the last three figures are zero."""
        return self.result is not None and self.result.complete and self.result.counts.good

    @property
    def counts(self) -> Counts:
        """The figures, all zero where there is no result."""
        return Counts() if self.result is None else self.result.counts


def text(ended: Sequence[Ended], plan: Plan, before: Mapping[str, str]) -> str:
    """Write the whole document; of faults that were not run now it keeps the lines `before`, by name."""
    return "\n".join([*_head(plan), *_table(ended, before), *_tail()]) + "\n"


def lines(document: Path | None) -> dict[str, str]:
    """Return the lines of an older document's table by the names of the faults."""
    if document is None or not document.exists():
        return {}
    found = [line for line in document.read_text(encoding="utf-8").splitlines() if line.count(" | ") == 7]
    return {line.strip("| ").split(" | ")[0]: line for line in found[1:] if "**all**" not in line}


def _head(plan: Plan) -> list[str]:
    command = "make chaos" if not plan.short else "python -m tests.chaos --short"
    minutes = (60 * plan.minutes - plan.left_s()) / 60
    took = f"{minutes:.1f} minutes, bounded to {plan.minutes:g}"
    return [HEAD.format(command=command, day=f"{datetime.now(UTC):%Y-%m-%d}", took=took)]


def _table(ended: Sequence[Ended], before: Mapping[str, str]) -> list[str]:
    head = [
        "| fault | what was done | sent | Success | lost | wrong | twice | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    now = {each.name: _line(each.name, _done(each), each.counts, each.took_s) for each in ended}
    rows = [*{**before, **now}.values()]
    figures = [[int(part) for part in row.strip("| ").split(" | ")[2:]] for row in rows]
    *whole, took_s = (sum(column) for column in zip(*figures, strict=True))
    return [*head, *rows, _line("**all**", "some at the same time", Counts(*whole), took_s), ""]


def _line(name: str, done: str, counts: Counts, took_s: float) -> str:
    figures = (counts.sent, counts.answered, counts.lost, counts.wrong, counts.twice, round(took_s))
    return f"| {name} | {done} | " + " | ".join(map(str, figures)) + " |"


def _done(ended: Ended) -> str:
    if ended.result is None:
        return f"**not passed**: {' '.join(ended.error.split())[:300]}"
    return ended.result.done + ("" if ended.result.complete else " (**cut short by the time limit**)")


def _tail() -> list[str]:
    packages = ("pynetdicom", "pydicom", "sqlalchemy", "psycopg")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return [
        TAIL,
        f"bodytag {VERSION} at commit {_commit()}; Python {platform.python_version()}, {versions},",
        f"SQLite {sqlite3.sqlite_version}, {_postgresql()}; {platform.platform()},",
        f"{os.cpu_count()} cores, {_memory()}, load average {os.getloadavg()[0]:.1f} at the end.",
    ]


def _commit() -> str:
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return said.stdout.strip() or "unknown"


def _postgresql() -> str:
    found = sorted(path.parent.name for path in BINARIES.glob("*/bin"))
    return f"PostgreSQL {found[-1]}" if found else "no PostgreSQL"


def _memory() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{pages / 2**30:.0f} GiB"
