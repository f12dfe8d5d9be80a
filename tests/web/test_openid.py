"""Logging in at an OpenID provider: who is let in as what, and every lie that is not believed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from httpx2 import Response
from starlette.testclient import TestClient

from db.accounts import Origin, Role
from db.session import migrate, open_database
from node.web.context import Context, make_context
from node.web.users import Users
from tests.web.provider import CLIENT, SECRET, Provider, new_key, running_provider
from tests.web.serving import HTML, client_of, make_user, page_config


@pytest.fixture(scope="module")
def server() -> Iterator[Provider]:
    """One provider for all tests of this file."""
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider(server: Provider) -> Provider:
    """The provider, honest again, and with somebody of the PACS group."""
    server.claims = {"preferred_username": "Jane", "groups": ["staff", "pacs"]}
    server.userinfo, server.cheat, server.refuse, server.signing = {}, {}, False, None
    return server


def settings(provider: Provider, **more: Any) -> dict[str, Any]:
    """Return the section `web` for a provider."""
    return {
        "port": 0,
        "url": "http://127.0.0.1",
        "oidc": {
            "issuer": provider.issuer,
            "client_id": CLIENT,
            "client_secret": SECRET,
            "roles": {"operator": ["pacs"], "admin": ["pacs-admins"]},
        }
        | more,
    }


@pytest.fixture
def context(tmp_path: Path, provider: Provider) -> Iterator[Context]:
    """A context whose users may log in at the provider."""
    config = page_config(tmp_path, web=settings(provider))
    migrate(config.database.url)
    database = open_database(config.database.url)
    yield make_context(config, database)
    database.close()


def come_back(client: TestClient, to: str = "/account") -> Response:
    """Go to the provider and come back, as a browser would."""
    away = client.get("/login/oidc", params={"next": to})
    assert away.status_code == 303, away.text
    back = requests.get(away.headers["location"], allow_redirects=False, timeout=30).headers["location"]
    parts = urlsplit(back)
    assert (parts.netloc, parts.path) == ("127.0.0.1", "/login/oidc/callback")
    return client.get(parts.path, params=dict(parse_qsl(parts.query)))


def test_who_comes_from_the_provider_is_let_in_with_the_role_of_its_group(context: Context) -> None:
    """The first login adds the user; the page asked for is shown; the user is known as such."""
    client = client_of(context, **HTML)
    answer = come_back(client)
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert "jane" in client.get("/account").text
    (account,) = Users(context.database, context.trail, "x").all()
    assert (account.user.name, account.user.role, account.user.origin) == ("jane", Role.OPERATOR, Origin.OIDC)
    assert account.password_hash is None


def test_the_role_follows_the_group(context: Context, provider: Provider) -> None:
    """Another group gives another role at the next login; no group lets nobody in any more."""
    client = client_of(context, **HTML)
    come_back(client)
    provider.claims["groups"] = ["pacs", "pacs-admins"]
    assert come_back(client_of(context, **HTML)).status_code == 303
    assert Users(context.database, context.trail, "x").named("jane").role is Role.ADMIN
    provider.claims["groups"] = []
    refused = come_back(client_of(context, **HTML))
    assert refused.status_code == 403
    assert "has no role here any more" in refused.text


def test_claims_may_stand_in_the_userinfo(context: Context, provider: Provider) -> None:
    """What the ID token leaves out is asked for, and believed of the same person alone."""
    provider.claims = {}
    provider.userinfo = {"sub": "s1", "preferred_username": "Joe", "groups": "pacs"}
    assert come_back(client_of(context, **HTML)).status_code == 303
    assert Users(context.database, context.trail, "x").named("joe").role is Role.OPERATOR
    provider.userinfo["sub"] = "s2"
    assert come_back(client_of(context, **HTML)).status_code == 403


def test_nobody_becomes_somebody_with_a_password_here(context: Context) -> None:
    """A name that a local user has is not given to somebody from the provider."""
    make_user(context.database, Role.ADMIN, "jane")
    answer = come_back(client_of(context, **HTML))
    assert answer.status_code == 403
    assert "Another user is called jane" in answer.text


LIES: dict[str, dict[str, Any]] = {
    "another nonce": {"nonce": "of another login"},
    "for another client": {"aud": "somebody-else"},
    "for several, by another": {"aud": [CLIENT, "other"], "azp": "other"},
    "of another issuer": {"iss": "http://127.0.0.1:1"},
    "expired": {"exp": 1_000_000},
    "of nobody": {"sub": None},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_token_that_is_not_for_this_login_is_refused(
    context: Context, provider: Provider, lie: str
) -> None:
    """Section 3.1.3.7 of OpenID Connect Core, point by point."""
    provider.cheat = LIES[lie]
    client = client_of(context, **HTML)
    assert come_back(client).status_code == 403
    assert client.get("/account").status_code == 303
    assert Users(context.database, context.trail, "x").all() == []


def test_a_token_signed_by_somebody_else_is_refused(context: Context, provider: Provider) -> None:
    """The right key's number and another key's signature do not go together."""
    provider.signing = new_key()
    assert come_back(client_of(context, **HTML)).status_code == 403


def test_new_keys_of_the_provider_are_read(context: Context, provider: Provider) -> None:
    """A provider that changed its keys needs no restart."""
    assert come_back(client_of(context, **HTML)).status_code == 303
    provider.key = new_key()
    assert come_back(client_of(context, **HTML)).status_code == 303


def test_an_answer_that_nobody_asked_for_is_refused(context: Context, provider: Provider) -> None:
    """A callback without this browser's cookie, with another state or a refusal logs nobody in."""
    stranger, client = client_of(context, **HTML), client_of(context, **HTML)
    assert stranger.get("/login/oidc/callback?code=x&state=y").status_code == 403
    client.get("/login/oidc")
    assert client.get("/login/oidc/callback?code=x&state=y").status_code == 403
    provider.refuse = True
    refused = come_back(client_of(context, **HTML))
    assert refused.status_code == 403
    assert "access_denied" in refused.text


def test_a_provider_that_is_away_is_one_sentence(tmp_path: Path, provider: Provider) -> None:
    """Who cannot be sent to the provider sees why, and can still log in with a password."""
    config = page_config(tmp_path, web=settings(provider, issuer="http://127.0.0.1:1"))
    migrate(config.database.url)
    database = open_database(config.database.url)
    answer = client_of(make_context(config, database), **HTML).get("/login/oidc")
    database.close()
    assert answer.status_code == 502
    assert "The provider does not answer" in answer.text
    assert 'name="password"' in answer.text
