"""python -m tests.bench.lists: how long lists and filters take over a million series, in both databases.

Rewrites its own section of BENCHMARKS.md and leaves the rest; `python -m tests.bench` keeps it.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import urlencode

from db.accounts import Role
from db.pages import CAP, page
from db.session import Database, migrate, open_database
from node.web.context import make_context
from node.web.pages.asking import question
from tests.bench import million
from tests.postgres import Server
from tests.web.serving import client_of, page_config

TITLE: Final = "## Lists of many series"
QUESTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "everything, newest first": {},
    "by patient": {"order": "patient-up"},
    "by study date": {"order": "study_date"},
    "least sure first": {"order": "confidence-up"},
    "modality CT (38 %)": {"modality": "CT"},
    "modality OT (0.5 %)": {"modality": "OT"},
    "knee": {"region": "knee"},
    "forearm (rare)": {"region": "forearm"},
    "failed (0.5 %)": {"state": "failed"},
    "tag wrong": {"tag": "wrong"},
    "one scanner": {"source": "CT1"},
    "two days": {"date_from": "2025-03-01", "date_to": "2025-03-02"},
    "words: mr": {"text": "mr"},
    "words: knee ax": {"text": "knee ax"},
    "words: a Patient ID": {"text": "1000500"},
    "CT, knee, wrong, by study date": {
        "modality": "CT", "region": "knee", "tag": "wrong", "order": "study_date",
    },
    "MR, words: knee, least sure first": {"modality": "MR", "text": "knee", "order": "confidence-up"},
    "nothing found": {"text": "zzzz"},
}  # fmt: skip
"""What is asked, as the fields of the page's address."""


@dataclass(frozen=True)
class Times:
    """Milliseconds of each round: the query alone, its second page, and the whole HTML page."""

    query: tuple[float, ...]
    following: tuple[float, ...]
    html: tuple[float, ...]


def main() -> None:
    """Fill both databases, ask, and write the section."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.lists", description=__doc__)
    parser.add_argument("--series", type=int, default=million.SERIES)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, default=None, help="where the databases lie meanwhile")
    parser.add_argument("--out", type=Path, default=Path("BENCHMARKS.md"))
    plan = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=plan.folder) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as a user of its own
        found = {}
        for name, url in _databases(Path(folder)):
            found[name] = measured(url, Path(folder), plan.series, plan.rounds)
            print(_table(name, found[name]), flush=True)
    others, _ = split(plan.out.read_text(encoding="utf-8") if plan.out.exists() else "")
    plan.out.write_text(others + _section(found, plan.series, plan.rounds), encoding="utf-8")


def split(document: str) -> tuple[str, str]:
    """Return a document without this section, and the section, empty where there is none."""
    start = document.find(TITLE)
    if start < 0:
        return document.rstrip() + "\n\n", ""
    end = document.find("\n## ", start + 1)
    own = document[start:] if end < 0 else document[start : end + 1]
    return (document[:start] + ("" if end < 0 else document[end + 1 :])).rstrip() + "\n\n", own


def _databases(folder: Path) -> Iterator[tuple[str, str]]:
    yield "SQLite", f"sqlite:///{folder / 'lists.sqlite'}"
    with _postgres(folder / "postgres") as url:
        yield "PostgreSQL", url


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    folder.mkdir()
    server = Server(folder)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def measured(url: str, folder: Path, series: int, rounds: int) -> dict[str, Times]:
    """Fill a database and ask every question so many times, in turn."""
    migrate(url)
    database = open_database(url)
    try:
        million.fill(database, series)
        config = page_config(folder, database={"url": url})
        client = client_of(make_context(config, database), Role.VIEWER, Accept="text/html")
        samples: dict[str, list[tuple[float, float, float]]] = {name: [] for name in QUESTIONS}
        for _ in range(rounds + 1):
            for name, fields in QUESTIONS.items():
                query, following = _asked(database, fields)
                address = f"/series?{urlencode(fields)}"
                html = _ms(lambda address=address: client.get(address).raise_for_status())  # type: ignore[misc]
                samples[name].append((query, following, html))
    finally:
        database.close()
    # The first round warms the caches and does not count.
    return {name: Times(*map(tuple, zip(*each[1:], strict=True))) for name, each in samples.items()}


def _asked(database: Database, fields: Mapping[str, str]) -> tuple[float, float]:
    """Return the milliseconds of the first page and, if there is one, of the second."""
    asked = question(fields)
    cursors: list[str | None] = [None]

    def ask() -> None:
        with database.reading() as session:
            found = page(session, asked.filters, asked.sorting, cursors[-1])
        cursors.append(found.next_cursor)

    first = _ms(ask)
    return first, _ms(ask) if cursors[-1] is not None else 0.0


def _ms(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def _section(found: Mapping[str, Mapping[str, Times]], series: int, rounds: int) -> str:
    head = (
        f"{TITLE}\n\n"
        f"Written by `python -m tests.bench.lists` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load "
        f"average {os.getloadavg()[0]:.1f}. {series:,} made-up series (tests/bench/million.py), "
        f"{rounds} rounds after one that does not count; milliseconds, median and in parentheses the lowest "
        f"and the highest. A page has 50 lines and the count of what matches up to {CAP:,}; the last column "
        "is the whole HTML page, made in the same process, without the network.\n\n"
    )
    return head + "\n".join(_table(name, times) for name, times in found.items())


def _table(name: str, times: Mapping[str, Times]) -> str:
    lines = [f"| {name} | first page, query | second page, query | HTML page |", "|---|---:|---:|---:|"]
    for asked, each in times.items():
        cells = [_spread(each.query), _spread(each.following), _spread(each.html)]
        lines.append(f"| {asked} | {' | '.join(cells)} |")
    medians = [
        median(median(getattr(each, column)) for each in times.values()) for column in ("query", "html")
    ]
    lines.append(f"| **median of all** | **{medians[0]:.0f}** | | **{medians[1]:.0f}** |")
    return "\n".join(lines) + "\n"


def _spread(values: tuple[float, ...]) -> str:
    if not any(values):
        return "–"
    return f"{median(values):.0f} ({min(values):.0f}–{max(values):.0f})"


if __name__ == "__main__":
    main()
