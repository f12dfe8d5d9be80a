"""What tests that decide series in-process start from: an empty spool and an empty database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.session import Database
from node.storage.spool import Spool
from tests.node.deciding import empty_database


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty spool."""
    return Spool(tmp_path / "spool", 0)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite database."""
    opened = empty_database(tmp_path)
    yield opened
    opened.close()
