"""A person with a browser: logs in, looks, and hears every complaint of the browser on the way."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from db.accounts import Role
from db.session import migrate, open_database
from node.settings.config import Config
from node.web.context import Context, make_context
from tests.web.serving import PASSWORD, make_user, serving

PATIENCE_MS = 60_000
"""How long something may take to be seen: machines that run tests are busy."""

expect.set_options(timeout=PATIENCE_MS)

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@dataclass(frozen=True)
class Site:
    """A page that runs in its own process: its address without a slash, and its context."""

    url: str
    context: Context


@contextmanager
def running_site(config: Config) -> Iterator[Site]:
    """Run the page over a migrated database until the block ends."""
    migrate(config.database.url)
    database = open_database(config.database.url)
    try:
        with serving(config) as url:
            yield Site(url, make_context(config, database))
    finally:
        database.close()


class Visitor:
    """One browser without a past; `complaints` are what its console said, but for what `expects` fits."""

    def __init__(self, browser: Browser, site: Site, expects: str = "^$", **options: Any) -> None:
        """`options` are those of playwright's new_context."""
        self.site = site
        self.complaints: list[str] = []
        self._expects = expects
        self._context = browser.new_context(base_url=site.url, **({"viewport": DESK} | options))
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", lambda message: self._hear(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self._hear(f"error: {error}"))

    def _hear(self, said: str) -> None:
        if not re.search(self._expects, said):
            self.complaints.append(said)

    def log_in(self, role: Role) -> None:
        """Log in as the user that is called like the role."""
        user = make_user(self.site.context.database, role)
        self.page.goto("/login")
        self.submit_login(user.name, PASSWORD)
        self.page.wait_for_url(lambda url: "/login" not in url)

    def submit_login(self, name: str, password: str) -> None:
        """Fill the form that is shown, and send it."""
        self.page.get_by_label("Name", exact=True).fill(name)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Log in", exact=True).click()

    def barriers(self) -> list[str]:
        """Return what axe finds in the way of people with disabilities: WCAG 2.2 A and AA, contrast."""
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        options = {"runOnly": {"type": "tag", "values": tags}, "resultTypes": ["violations"]}
        found = Axe().run(self.page, options=options).response["violations"]
        return [f"{each['id']}: {node['html'][:120]}" for each in found for node in each["nodes"]]

    def overhang(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(script))

    def close(self) -> None:
        """Close the browser's windows."""
        self._context.close()
