"""The database is locked or gone for a minute, while instances arrive."""

import sqlite3
import tempfile
import threading
from pathlib import Path

from tests.chaos.line import line
from tests.chaos.objects import series
from tests.chaos.plan import AT_THE_END, Plan, Result
from tests.postgres import Server

_PAUSE = threading.Event()


def locked(plan: Plan) -> Result:
    """Hold SQLite's write lock for longer than any transaction waits; receiving goes on meanwhile."""
    seconds = plan.scaled(60, 4)
    with line() as made:
        made.faults()
        made.node.start()
        made.insist(series(made.folder / "in", 10))
        connection = sqlite3.connect(made.node.folder / "bodytag.sqlite", timeout=30, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        for _ in range(5):
            made.insist(series(made.folder / "in", 10))
        _PAUSE.wait(seconds)
        connection.execute("ROLLBACK")
        connection.close()
        made.insist(series(made.folder / "in", 10))
        return Result(made.settle(), f"SQLite locked for {seconds:g} s, receiving went on")


def stopped(plan: Plan) -> Result:
    """Stop PostgreSQL for a minute, at once and without asking, and start it again."""
    seconds = plan.scaled(60, 4)
    with tempfile.TemporaryDirectory(prefix="bodytag-postgres-") as folder:
        server = Server(Path(folder))
        AT_THE_END.callback(server.stop)
        server.start()
        try:
            with line(database={"url": server.url}) as made:
                made.faults()
                made.node.start()
                made.insist(series(made.folder / "in", 30))
                server.stop()
                for _ in range(5):
                    made.insist(series(made.folder / "in", 10))
                _PAUSE.wait(seconds)
                server.start()
                made.insist(series(made.folder / "in", 10))
                return Result(made.settle(), f"PostgreSQL stopped for {seconds:g} s, receiving went on")
        finally:
            server.stop()
