"""Statistics of the tables, by which SQLite's planner chooses among indexes; PostgreSQL keeps its own."""

from typing import Final

from sqlalchemy import text

from db.session import Database

LIMIT: Final = 1000
"""Rows of each index that are looked at: milliseconds, whatever the size of the table."""


def refresh(database: Database) -> None:
    """Look at the tables anew, for the connections that are opened from now on."""
    if database.engine.dialect.name != "sqlite":
        return
    with database.session() as session:
        session.execute(text(f"PRAGMA analysis_limit = {LIMIT}"))
        session.execute(text("ANALYZE"))
