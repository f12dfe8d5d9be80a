"""Behind a proxy: whose word counts on who asks, from where, and over what."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from db.accounts import Origin, Role
from db.session import migrate, open_database
from node.web.context import Context, make_context
from node.web.server import application
from node.web.users import Users
from tests.web.browsing import csrf_of, try_login
from tests.web.serving import HTML, PASSWORD, make_user, page_config

PROXY, STRANGER = "10.0.0.1", "10.0.0.2"


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    """A context that believes one proxy."""
    proxy = {"addresses": [PROXY], "login": {"header": "X-Remote-User", "role": "viewer"}}
    config = page_config(tmp_path, web={"port": 0, "proxy": proxy})
    migrate(config.database.url)
    database = open_database(config.database.url)
    yield make_context(config, database)
    database.close()


def client_from(context: Context, address: str, **headers: str) -> TestClient:
    """Make a client whose connections come from an address."""
    return TestClient(
        application(context),
        base_url="http://page.example",
        headers={**HTML, **headers},
        client=(address, 50000),
        follow_redirects=False,
    )


def test_the_proxy_says_who_asks(context: Context) -> None:
    """Somebody new comes in as a viewer, has a form that works, and nothing to log out of."""
    client = client_from(context, PROXY, **{"X-Remote-User": "Anna"})
    page = client.get("/account")
    assert "anna" in page.text
    assert "Log out" not in page.text
    form = {"purpose": "a script", "role": "viewer", "days": "7"}
    assert client.post("/account/tokens", data=form).status_code == 403
    assert "shown only now" in client.post("/account/tokens", data={**form, "csrf": csrf_of(page)}).text
    (account,) = Users(context.database, context.trail, "x").all()
    assert (account.user.role, account.user.origin) == (Role.VIEWER, Origin.PROXY)
    assert account.last_login_at is not None


def test_nobody_else_is_believed(context: Context) -> None:
    """The same header from another address is nothing."""
    client = client_from(context, STRANGER, **{"X-Remote-User": "admin"})
    assert client.get("/account").headers["location"].startswith("/login")
    assert Users(context.database, context.trail, "x").all() == []


def test_a_role_given_here_stays(context: Context) -> None:
    """What an admin made of a user of the proxy is not undone by the next request."""
    users = Users(context.database, context.trail, "x")
    users.add("anna", Role.ADMIN, None, Origin.PROXY)
    assert client_from(context, PROXY, **{"X-Remote-User": "ANNA"}).get("/users").status_code == 200


def test_a_name_of_a_local_user_is_not_given_to_the_proxy(context: Context) -> None:
    """The proxy cannot speak for somebody who logs in with a password."""
    make_user(context.database, Role.ADMIN, "anna")
    answer = client_from(context, PROXY, **{"X-Remote-User": "anna"}).get("/account")
    assert answer.status_code == 403
    assert "another user is called anna" in answer.text


def test_cookies_follow_the_scheme_that_the_proxy_tells(context: Context) -> None:
    """Behind TLS cookies are for this host over TLS alone, and browsers are told to stay there."""
    make_user(context.database, Role.VIEWER)
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    client = client_from(context, PROXY, **forwarded)
    client.base_url = "https://page.example"
    answer = try_login(client, "viewer", PASSWORD)
    assert "__Host-bodytag=" in answer.headers["set-cookie"]
    assert "Secure" in answer.headers["set-cookie"]
    assert "strict-transport-security" in answer.headers
    assert context.config.audit.file is not None
    assert '"address":"192.0.2.7"' in context.config.audit.file.read_text()
    stranger = client_from(context, STRANGER, **forwarded).get("/login")
    assert "strict-transport-security" not in stranger.headers
