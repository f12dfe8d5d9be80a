"""The opened database that most tests of the database work on."""

from collections.abc import Iterator

import pytest

from db.session import Database, open_database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Give an open, empty, migrated database, once of each kind."""
    opened = open_database(database_url)
    yield opened
    opened.close()
