"""The connection: opening SQLite or PostgreSQL, transactions, and bringing the schema up to date."""

import sqlite3  # noqa: F401 - before TensorFlow, whose own SQLite has no full text and would take its place
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

BUSY_TIMEOUT_MS: Final = 30_000
MIGRATION_LOCK: Final = 0x626F6479746167
"""Key of the advisory lock that migrations of PostgreSQL take: the bytes of 'bodytag'."""

_READING: Final = "bodytag_reading"


class DatabaseError(Exception):
    """The database cannot be used; the message is one sentence without the password."""


@dataclass(frozen=True, slots=True)
class Database:
    """An opened database. Transactions for writing and for reading; both may run in any thread."""

    engine: Engine

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Run one writing transaction: committed at the end, rolled back when an error leaves it."""
        with Session(self.engine) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Run one reading transaction: it sees one moment, and on SQLite waits for no writer."""
        options: dict[str, Any] = {_READING: True}
        if self.engine.dialect.name == "postgresql":
            options["isolation_level"] = "REPEATABLE READ"
        with Session(self.engine.execution_options(**options)) as session, session.begin():
            yield session

    def close(self) -> None:
        """Close all connections that are not in use."""
        self.engine.dispose()


def open_database(url: str) -> Database:
    """Open the database at a SQLAlchemy URL and try it once; raises DatabaseError if that fails."""
    engine = _engine(_parse(url))
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        engine.dispose()
        raise DatabaseError(_sentence(engine.url, error)) from None
    return Database(engine)


def migrate(url: str) -> str:
    """Bring the schema to the newest revision and return it; several processes may do so at once."""
    database = open_database(url)
    try:
        with database.engine.begin() as connection:
            _lock_for_migration(connection)
            command.upgrade(_config(connection), "head")
    except (SQLAlchemyError, CommandError) as error:
        raise DatabaseError(_sentence(database.engine.url, error)) from None
    finally:
        database.close()
    return head()


def downgrade(url: str, to: str = "base") -> None:
    """Take the schema back to a revision, by default to nothing: everything stored is lost."""
    database = open_database(url)
    try:
        with database.engine.begin() as connection:
            _lock_for_migration(connection)
            command.downgrade(_config(connection), to)
    finally:
        database.close()


def revision(url: str) -> str | None:
    """Return the revision that the database has; None if it was never migrated."""
    database = open_database(url)
    try:
        with database.engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        database.close()


def open_migrated(url: str, newer: bool = False) -> Database:
    """Open a database whose tables are those of this version; raises DatabaseError otherwise.

    `newer`: those of a later version will do, too. While several machines are upgraded one by one, processes
    of the version before go on: the migrations of a release only add.
    """
    found = revision(url)
    if found != head() and not (newer and found is not None and _is_unknown(found)):
        has = "no tables yet" if found is None else f"tables of revision {found}"
        raise DatabaseError(f"the database has {has}, needed is {head()}: run bodytag migrate")
    return open_database(url)


def _is_unknown(found: str) -> bool:
    """Tell whether a revision came after this version of the software."""
    try:
        return ScriptDirectory.from_config(_config(None)).get_revision(found) is None
    except CommandError:
        return True


def head() -> str:
    """Return the newest revision that this version of the software knows."""
    newest = ScriptDirectory.from_config(_config(None)).get_current_head()
    if newest is None:
        raise DatabaseError("the installation holds no migrations.")
    return newest


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", "db:migrations")
    config.attributes["connection"] = connection
    return config


def _lock_for_migration(connection: Connection) -> None:
    """Let others wait: BEGIN IMMEDIATE has done so on SQLite, PostgreSQL needs a lock of its own."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})


def _parse(url: str) -> URL:
    """Read a URL; sqlite:///FILE and postgresql://... (with psycopg 3, whatever SQLAlchemy's default)."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseError("the database's URL cannot be read.") from None
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise DatabaseError(
            f"the database's URL begins with {parsed.drivername}://, only sqlite and postgresql are known."
        )
    if parsed.drivername.startswith("sqlite") and parsed.database in (None, "", ":memory:"):
        raise DatabaseError("a database in memory would be lost: give a file, sqlite:///FILE.")
    return parsed


def _engine(url: URL) -> Engine:
    """Make the engine; its error messages leave out parameters, which hold patients' names."""
    try:
        if url.drivername == "postgresql+psycopg":
            engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
            event.listen(engine, "connect", _prepare_postgresql)
            return engine
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, hide_parameters=True)
    except (ImportError, NoSuchModuleError):
        raise DatabaseError(
            "PostgreSQL needs the extra of that name: pip install bodytag[postgresql]."
        ) from None
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


_PLANNING: Final = (
    "plan_cache_mode = force_custom_plan",
    "jit = off",
    "max_parallel_workers_per_gather = 0",
    "random_page_cost = 1.1",
)
"""How PostgreSQL is to plan: every question for its own values, as a plan for any value walks a million rows
for a rare one; without compiling and without helpers, which take longer to start than a page takes to find;
and for discs without heads, so that indexes are used."""


def _prepare_postgresql(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for setting in _PLANNING:
        cursor.execute(f"SET {setting}")
    cursor.close()
    connection.commit()


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """Take transactions into our own hands, and ask for durability and foreign keys."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Begin as a writer at once: a reader that becomes one later could only fail with 'locked'."""
    reading = connection.get_execution_options().get(_READING, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _sentence(url: URL, error: Exception) -> str:
    """Say what is wrong in one sentence; neither the password nor the URL's options are shown."""
    cause = getattr(error, "orig", None) or error
    detail = " ".join(str(cause).split()).rstrip(".")
    for secret in (url.password, url.query.get("password")):
        if isinstance(secret, str) and secret:
            detail = detail.replace(secret, "***")
    place = url.database if url.host is None else f"{url.database} on {url.host}:{url.port or 5432}"
    return f"the database {place} cannot be used: {detail}."
