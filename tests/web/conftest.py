"""What tests of the page share: a context, clients by role, and a real browser."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from starlette.testclient import TestClient

from db.accounts import Role
from db.session import migrate, open_database
from node.web.context import Context, make_context
from tests.harness import command
from tests.web.serving import PASSWORD, client_of, make_user, page_config

AsRole = Callable[[Role | None], TestClient]


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
def log_in(browser: Browser) -> Iterator[Callable[[Context, str, Role], Page]]:
    """Open a page as a user of a role; a message on the console or an error in a script fails the test."""
    contexts, said = [], []

    def opened(context: Context, url: str, role: Role, **options: object) -> Page:
        user = make_user(context.database, role)
        fresh = browser.new_context(base_url=url, **options)  # type: ignore[arg-type]
        contexts.append(fresh)
        page = fresh.new_page()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto("/login")
        page.get_by_label("Name").fill(user.name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        return page

    yield opened
    for each in contexts:
        each.close()
    assert said == []
