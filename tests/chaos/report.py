"""RELIABILITY.md: the table of results, with versions and machine, as the program found them."""

import os
import platform
import sqlite3
import subprocess
from collections.abc import Sequence
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
It ended on {day} and took {took}.

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
shipped. Receiver, tracker and forwarders are threads of one process: what kills one of them kills the
three. The worker is a process of its own. Each fault is run to its end, then everything is given time to
arrive, and the ledger judges (tests/chaos/ledger.py).

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


def text(ended: Sequence[Ended], plan: Plan) -> str:
    """Write the whole document."""
    return "\n".join([*_head(plan), *_table(ended), *_tail()]) + "\n"


def _head(plan: Plan) -> list[str]:
    command = "make chaos" if not plan.short else "python -m tests.chaos --short"
    minutes = (60 * plan.minutes - plan.left_s()) / 60
    took = f"{minutes:.1f} minutes, bounded to {plan.minutes:g}"
    return [HEAD.format(command=command, day=f"{datetime.now(UTC):%Y-%m-%d}", took=took)]


def _table(ended: Sequence[Ended]) -> list[str]:
    lines = [
        "| fault | what was done | sent | Success | lost | wrong | twice | s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_line(each.name, _done(each), each.counts, each.took_s) for each in ended]
    whole = sum((each.counts for each in ended), Counts())
    took_s = sum(each.took_s for each in ended)
    return [*lines, _line("**all**", "some at the same time", whole, took_s), ""]


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
