"""Opening databases, transactions, and the history of the schema."""

import re
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from db.session import (
    Database,
    DatabaseError,
    downgrade,
    head,
    migrate,
    open_database,
    open_migrated,
    revision,
)
from db.tables import Base


def _is_ours(name: str | None, kind: str, _: object) -> bool:
    """Leave out the full text, which each database keeps in its own way (db/words.py)."""
    return not (kind == "table" and name is not None and name.startswith("series_text"))


def test_migrations_give_exactly_the_tables(empty_database_url: str) -> None:
    """The migrations of an empty database end in what tables.py says, to the last index."""
    assert revision(empty_database_url) is None
    assert migrate(empty_database_url) == head() == revision(empty_database_url)
    database = open_database(empty_database_url)
    with database.engine.connect() as connection:
        options = {"include_name": _is_ours}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []
    database.close()


def test_migrating_twice_changes_nothing(database_url: str) -> None:
    """A database that is up to date stays as it is."""
    assert migrate(database_url) == head()


def test_a_schema_of_the_future_is_one_sentence(database_url: str) -> None:
    """A database that a newer version has migrated is refused, not changed."""
    database = open_database(database_url)
    with database.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(DatabaseError, match="cannot be used: Can't locate revision identified by '9999'"):
        migrate(database_url)
    assert revision(database_url) == "9999"


def test_a_version_goes_on_while_another_takes_its_place(database_url: str) -> None:
    """Where it is asked for, tables of a later version will do, and those of an earlier one will not."""
    database = open_database(database_url)

    def set_revision(name: str) -> None:
        with database.session() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :n"), {"n": name})

    set_revision("9999")
    open_migrated(database_url, newer=True).close()
    with pytest.raises(DatabaseError, match="tables of revision 9999"):
        open_migrated(database_url)
    set_revision("0001")
    with pytest.raises(DatabaseError, match="run bodytag migrate"):
        open_migrated(database_url, newer=True)
    database.close()


def test_downgrade_leaves_no_table(database_url: str) -> None:
    """Going back to the beginning drops everything, and the way up again works."""
    downgrade(database_url)
    database = open_database(database_url)
    assert set(inspect(database.engine).get_table_names()) <= {"alembic_version"}
    database.close()
    assert revision(database_url) is None
    assert migrate(database_url) == head()


def test_processes_may_migrate_at_once(empty_database_url: str, tmp_path: Path) -> None:
    """Several processes that start on an empty database together all end at the newest revision."""
    code = f"from db.session import migrate; print(migrate({empty_database_url!r}))"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
        for _ in range(4)
    ]
    results = [process.communicate(timeout=200) for process in running]
    assert results == [(f"{head()}\n", "")] * 4


def _delete_and_fail(database: Database) -> None:
    with database.session() as session:
        session.execute(text("DELETE FROM alembic_version"))
        raise KeyError


def test_an_error_rolls_back(database_url: str) -> None:
    """What was written before an error left the block is gone."""
    database = open_database(database_url)
    with pytest.raises(KeyError):
        _delete_and_fail(database)
    database.close()
    assert revision(database_url) == head()


def _insert_orphan(database: Database) -> None:
    with database.session() as session:
        session.execute(text("INSERT INTO crashes (series_id, at, reason) VALUES (1, '2024-01-01', 'x')"))


def test_foreign_keys_are_enforced(database_url: str) -> None:
    """A row cannot belong to a series that does not exist."""
    database = open_database(database_url)
    with pytest.raises(IntegrityError):
        _insert_orphan(database)
    database.close()


def test_sqlite_is_durable(tmp_path: Path) -> None:
    """SQLite runs with a write-ahead log, full synchronisation, foreign keys and patience for writers."""
    database = open_database(f"sqlite:///{tmp_path / 'a.sqlite'}")
    with database.session() as session:
        pragmas = {
            name: session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    database.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_postgresql_plans_for_each_question(postgres_url: str) -> None:
    """Every connection says so, and still does after a transaction that was rolled back."""
    database = open_database(postgres_url)
    with suppress(RuntimeError), database.session() as session:
        session.execute(text("SELECT 1"))
        raise RuntimeError
    with database.reading() as session:
        found = [
            session.scalar(text(f"SHOW {name}"))
            for name in ("plan_cache_mode", "jit", "max_parallel_workers_per_gather", "random_page_cost")
        ]
    database.close()
    assert found == ["force_custom_plan", "off", "0", "1.1"]


def test_reading_waits_for_no_writer(database_url: str) -> None:
    """A reader sees the state before an open writing transaction, and the new one after it."""
    database = open_database(database_url)
    count = text("SELECT count(*) FROM alembic_version")
    with database.session() as writer:
        writer.execute(text("DELETE FROM alembic_version"))
        with database.reading() as reader:
            assert reader.scalar(count) == 1
    with database.reading() as reader:
        assert reader.scalar(count) == 0
    database.close()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("no url", "the database's URL cannot be read."),
        ("mysql://u:secret@h/d", "begins with mysql://, only sqlite and postgresql are known."),
        ("sqlite://", "a database in memory would be lost: give a file, sqlite:///FILE."),
        ("sqlite:////no/such/folder/a.sqlite", "the database /no/such/folder/a.sqlite cannot be used: "),
        ("postgresql://u:secret@127.0.0.1:1/d", "the database d on 127.0.0.1:1 cannot be used: "),
        ("postgresql://u@127.0.0.1:1/d?password=secret", "the database d on 127.0.0.1:1 cannot be used: "),
        ("postgresql://u:secret@127.0.0.1:x/d", "the database's URL cannot be read."),
    ],
)
def test_a_database_that_cannot_be_opened_is_one_sentence(url: str, sentence: str) -> None:
    """What cannot be opened is said in one line, never with the password."""
    with pytest.raises(DatabaseError, match=re.escape(sentence)) as raised:
        open_database(url)
    assert "secret" not in "".join(traceback.format_exception(raised.value))
    assert "\n" not in str(raised.value)


def test_a_wrong_password_is_not_shown(postgres_url: str) -> None:
    """A refused password appears neither whole nor in the server's words."""
    wrong = re.sub(":[0-9a-f]{16}@", ":wrong-secret@", postgres_url)
    assert wrong != postgres_url
    with pytest.raises(DatabaseError, match="authentication failed") as raised:
        open_database(wrong)
    assert "wrong-secret" not in str(raised.value)


def test_full_text_is_there_beside_tensorflow(tmp_path: Path) -> None:
    """TensorFlow brings a SQLite without full text; what was loaded first serves the process."""
    url = f"sqlite:///{tmp_path / 'test.sqlite'}"
    program = f"import db.session; import tensorflow; db.session.migrate({url!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
