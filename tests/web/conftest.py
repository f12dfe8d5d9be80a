"""What tests of the page share: a context, clients by role, and a real browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright
from starlette.testclient import TestClient

from db.accounts import Role
from db.session import migrate, open_database
from node.web.context import Context, make_context
from tests.harness import command
from tests.web.serving import client_of, page_config
from tests.web.visiting import Site, Visitor

AsRole = Callable[[Role | None], TestClient]
Visit = Callable[..., Visitor]


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    """A context on an empty SQLite database."""
    config = page_config(tmp_path)
    migrate(config.database.url)
    database = open_database(config.database.url)
    yield make_context(config, database)
    database.close()


@pytest.fixture
def as_role(context: Context) -> AsRole:
    """Give clients that show the token of a role, or none."""
    return lambda role: client_of(context, role, Accept="text/html")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's chromium, started once."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=command("chromium"), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Give fresh browsers at a site; what one of them complains of, and was not expected, fails the test."""
    visitors: list[Visitor] = []

    def fresh(site: Site, role: Role | None = None, **options: Any) -> Visitor:
        visitors.append(Visitor(browser, site, **options))
        if role is not None:
            visitors[-1].log_in(role)
        return visitors[-1]

    yield fresh
    for each in visitors:
        each.close()
    assert [said for each in visitors for said in each.complaints] == []
