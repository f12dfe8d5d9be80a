"""A real, throw-away PostgreSQL from Debian's binaries, and an empty, migrated database of each kind."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import NullPool, create_engine, text

from db.session import migrate
from tests.harness import free_port

BINARIES: Final = Path("/usr/lib/postgresql")
START_TIMEOUT_S: Final = 60


def _binaries() -> Path:
    """Find the newest installed server; a machine without one fails the test instead of skipping it."""
    found = [path for path in BINARIES.glob("*/bin") if (path / "initdb").exists()]
    if not found:
        raise AssertionError(f"no PostgreSQL server under {BINARIES}: apt-get install postgresql")
    return max(found, key=lambda path: int(path.parent.name))


def _run(*command: str | Path) -> None:
    """Run one of the server's programs, which refuse root, as the user that Debian made for them."""
    user = "postgres" if os.geteuid() == 0 else None
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        user=user,
        group=user,
        extra_groups=[] if user else None,
    )
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip()
        raise AssertionError(f"{Path(command[0]).name} failed: {said}")


class Server:
    """A server in a folder of its own; `url` is that of its first database."""

    def __init__(self, folder: Path) -> None:
        self._programs, password, port = _binaries(), secrets.token_hex(8), free_port()
        self.url = f"postgresql+psycopg://bodytag:{password}@127.0.0.1:{port}/postgres"
        self._data, self._log = folder / "data", folder / "log"
        self._options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        secret = folder / "password"
        secret.write_text(password)
        if os.geteuid() == 0:
            for path in (folder, secret):
                shutil.chown(path, "postgres", "postgres")
        _run(
            *(self._programs / "initdb", "--pgdata", self._data, "--username", "bodytag"),
            *("--auth", "scram-sha-256", "--pwfile", secret, "--encoding", "UTF8", "--no-sync"),
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        wait = ("--wait", "-t", str(START_TIMEOUT_S))
        _run(
            self._programs / "pg_ctl", "start", *wait, "-D", self._data, "-l", self._log, "-o", self._options
        )

    def stop(self) -> None:
        """Stop it at once, as a crash would; nothing if it does not run."""
        if (self._data / "postmaster.pid").exists():
            _run(self._programs / "pg_ctl", "stop", "-m", "immediate", "-D", self._data)


@contextmanager
def _cluster(folder: Path) -> Iterator[str]:
    """Run a server in a folder until the block ends; gives the URL of its first database."""
    server = Server(folder)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Give the URL of a running PostgreSQL, whose one database all tests share, one after the other."""
    folder = Path(tempfile.mkdtemp(prefix="bodytag-postgres-"))
    try:
        with _cluster(folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def empty_postgres(postgres_url: str) -> str:
    """Empty the database for tests, whatever a failed test left in it, and return its URL."""
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    end_others = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    with engine.connect() as connection:
        connection.execute(end_others)
        connection.execute(text("DROP SCHEMA IF EXISTS public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    return postgres_url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database without tables, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'bodytag.sqlite'}"
    return empty_postgres(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    """Give the URL of an empty, migrated database, once of each kind."""
    migrate(empty_database_url)
    return empty_database_url
