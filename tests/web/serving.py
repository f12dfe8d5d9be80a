"""A page to test against: users of every role, clients that show a token, and the page's own process."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

import yaml
from starlette.testclient import TestClient

from db import accounts, sessions
from db.accounts import Origin, Role, User
from db.session import Database
from node.clock import utc_now
from node.settings.config import Config, load
from node.web import passwords
from node.web.context import Context
from node.web.process import WebPage
from node.web.secrets import digest, new_token
from node.web.server import application
from tests.harness import wait_until

PASSWORD: Final = "a-password-for-tests"
HTML: Final = {"Accept": "text/html"}


def page_config(folder: Path, **sections: Any) -> Config:
    """Write and read a configuration with its database in `folder` and the page on a free port."""
    settings = {
        "receive": {"promiscuous": True},
        "spool": {"folder": "spool", "minimum_free": "1MiB"},
        "web": {"port": 0} | sections.pop("web", {}),
    }
    path = folder / "node.yaml"
    path.write_text(yaml.safe_dump(settings | sections), encoding="utf-8")
    return load(path)


@cache
def _password_hash() -> str:
    return passwords.hashed(PASSWORD)


def make_user(database: Database, role: Role, name: str = "", now: datetime | None = None) -> User:
    """Add a user called like the role unless said otherwise, with PASSWORD; the one that is there, if any."""
    with database.session() as session:
        found = accounts.named(session, name or str(role))
        if found is not None:
            return found.user
        return accounts.add(
            session, name or str(role), role, Origin.LOCAL, now or utc_now(), _password_hash()
        )


def make_token(database: Database, role: Role) -> str:
    """Make a bearer token of the user of a role."""
    user, token = make_user(database, role), new_token()
    with database.session() as session:
        sessions.add_token(session, digest(token), user.id, role, "tests", utc_now(), None)
    return token


def client_of(context: Context, role: Role | None = None, /, **headers: str) -> TestClient:
    """Make a client in this process, that shows the token of a role, or nothing; it follows no redirects."""
    if role is not None:
        headers["Authorization"] = f"Bearer {make_token(context.database, role)}"
    return TestClient(
        application(context),
        base_url="http://127.0.0.1",
        headers=headers,
        follow_redirects=False,
        raise_server_exceptions=False,
    )


def is_alive(url: str) -> bool:
    """Tell whether the page at an address answers, whoever signed its certificate."""
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=unchecked))
    with suppress(OSError), opener.open(f"{url}/healthz", timeout=60) as answer:
        return bool(answer.read() == b"alive\n")
    return False


@contextmanager
def serving(config: Config) -> Iterator[str]:
    """Run the page's process until the block ends; gives the address of the page, without a slash."""
    listener, stop = WebPage(config), threading.Event()
    listener.listen()
    thread = threading.Thread(target=listener.run, args=(stop,), daemon=True)
    thread.start()
    scheme = "http" if config.web.certificate is None else "https"
    url = f"{scheme}://127.0.0.1:{listener.port}"
    try:
        wait_until(lambda: is_alive(url), "the page answers")
        yield url
    finally:
        stop.set()
        thread.join(30)
