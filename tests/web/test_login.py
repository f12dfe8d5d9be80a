"""Logging in and out: cookies, forms from elsewhere, guessing, the ends of sessions, and the trail of it."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from db.accounts import Role
from db.tables import SessionRow, UserRow
from node.clock import utc_now
from node.web import attempts, passwords
from node.web.attempts import Attempts
from node.web.context import Context
from node.web.pages.login import local_path
from node.web.users import FIRST, Users
from tests.web.browsing import csrf_of, logged_in, try_login
from tests.web.serving import HTML, PASSWORD, client_of, make_user


def audited(context: Context) -> list[dict[str, object]]:
    """Read the audit trail."""
    path = context.config.audit.file
    assert path is not None
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_login_leads_where_it_was_asked_for_and_out_again(context: Context) -> None:
    """The right password opens what was asked for; after the logout the old cookie opens nothing."""
    make_user(context.database, Role.VIEWER)
    client = client_of(context, **HTML)
    answer = try_login(client, " VIEWER ", PASSWORD, "/account?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account?x=1")
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=lax", "Path=/"))
    page = client.get("/account")
    assert page.status_code == 200
    kept = dict(client.cookies)
    assert client.post("/logout", data={"csrf": csrf_of(page)}).headers["location"] == "/login"
    client.cookies.update(kept)
    assert client.get("/account").headers["location"] == "/login?next=%2Faccount"
    assert [(each["action"], each["user"]) for each in audited(context)] == [
        ("login", "viewer"),
        ("logout", "viewer"),
    ]


def test_the_database_knows_neither_password_nor_cookie(context: Context) -> None:
    """Only Argon2id's hash and a digest are kept."""
    client = logged_in(context, Role.VIEWER)
    secret = client.cookies["bodytag"]
    with context.database.reading() as session:
        kept = session.scalars(select(UserRow.password_hash)).one()
        sessions = session.scalars(select(SessionRow.token_hash)).all()
    assert kept is not None
    assert kept.startswith("$argon2id$")
    assert PASSWORD not in kept
    assert secret not in sessions


def test_wrong_names_and_passwords_look_alike(context: Context) -> None:
    """A wrong password and an unknown name get the same answer, and a typed-in name is not in the trail."""
    make_user(context.database, Role.VIEWER)
    client = client_of(context, **HTML)
    known, unknown = try_login(client, "viewer", "x" * 12), try_login(client, "my-secret", "x" * 12)
    assert known.status_code == unknown.status_code == 401
    assert "The name or the password is wrong." in known.text
    assert "The name or the password is wrong." in unknown.text
    assert [each.get("user") for each in audited(context)] == ["viewer", None]


def test_a_form_from_elsewhere_logs_nobody_in(context: Context) -> None:
    """Without the proof of this browser's own login page a right password is refused."""
    make_user(context.database, Role.VIEWER)
    client = client_of(context, **HTML)
    form = {"name": "viewer", "password": PASSWORD}
    assert client.post("/login", data=form).status_code == 403
    other = csrf_of(client_of(context, **HTML).get("/login"))
    client.get("/login")
    assert client.post("/login", data={**form, "csrf": other}).status_code == 403


@pytest.mark.parametrize("headers", [{}, {"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": "ä"}])
def test_a_change_without_proof_is_refused(context: Context, headers: dict[str, str]) -> None:
    """A session alone changes nothing: the form must show its proof, in a field or a header."""
    client = logged_in(context, Role.ADMIN)
    answer = client.post("/users", data={"name": "eve", "role": "admin"}, headers=_encoded(headers))
    assert answer.status_code == 403
    assert [each.user.name for each in Users(context.database, context.trail, "x").all()] == ["admin"]


def _encoded(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in headers.items()}


def test_a_change_with_proof_from_another_site_is_refused(context: Context) -> None:
    """Where the browser says that another site sent the form, not even the proof helps."""
    client = logged_in(context, Role.ADMIN)
    proof = csrf_of(client.get("/users"))
    form = {"name": "jane", "role": "viewer", "csrf": proof}
    assert client.post("/users", data=form, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post("/users", data=form, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert client.post(
        "/users", data={**form, "csrf": "", "name": "joe"}, headers={"X-CSRF-Token": proof}
    ).is_success


def test_guessing_ends_after_a_few_tries(context: Context) -> None:
    """After five wrong passwords not even the right one helps, until the window is over."""
    make_user(context.database, Role.VIEWER)
    client = client_of(context, **HTML)
    wrong = [try_login(client, "viewer", "wrong").status_code for _ in range(6)]
    assert wrong == [401] * 5 + [429]
    refused = try_login(client, "viewer", PASSWORD)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0


def test_attempts_are_counted_for_pairs_addresses_and_users() -> None:
    """One address cannot try many users, many addresses not one; other addresses may still log in."""
    counted = Attempts()
    for number in range(5):
        counted.failed("10.0.0.1", "anna", float(number))
    assert counted.wait_s("10.0.0.1", "anna", 5.0) == pytest.approx(attempts.WINDOW_S - 5)
    assert counted.wait_s("10.0.0.2", "anna", 5.0) == 0
    assert counted.wait_s("10.0.0.1", "anna", attempts.WINDOW_S + 0.5) == 0
    for number in range(25):
        counted.failed("10.0.0.1", f"user{number}", 10.0)
    assert counted.wait_s("10.0.0.1", "anybody", 11.0) > 0
    for number in range(100):
        counted.failed(f"10.0.1.{number}", "bert", 10.0)
    assert counted.wait_s("10.9.9.9", "bert", 11.0) > 0
    counted.succeeded("10.0.0.1", "anna")
    assert counted.wait_s("10.0.0.3", "anna", 5.0) == 0


@pytest.mark.parametrize("way", ["idle", "absolute"])
def test_sessions_end_by_themselves(context: Context, way: str) -> None:
    """A session ends when nobody clicked for an hour, and twelve hours after the login in any case."""
    moment = utc_now()
    later = replace(context, clock=lambda: moment)
    client = logged_in(later, Role.VIEWER)
    start = moment
    for step in range(1, 13 if way == "absolute" else 1):
        moment = start + timedelta(minutes=59 * step)
        assert client.get("/account").status_code == 200
    moment += timedelta(minutes=61) if way == "idle" else timedelta(minutes=30)
    assert client.get("/account").status_code == 303


def test_what_a_page_asks_by_itself_keeps_no_session_alive(context: Context) -> None:
    """A page left open on a screen asks for news for ever; its session ends all the same."""
    moment = utc_now()
    later = replace(context, clock=lambda: moment)
    client, start = logged_in(later, Role.VIEWER), moment
    for minutes in (30, 59):
        moment = start + timedelta(minutes=minutes)
        assert client.get("/account", headers={"X-Background": "1"}).status_code == 200
    moment = start + timedelta(minutes=61)
    assert client.get("/account").status_code == 303


def test_the_first_admin_must_choose_a_password(context: Context) -> None:
    """The printed password opens nothing but the page where another is chosen, and is made only once."""
    users = Users(context.database, context.trail, "bodytag serve")
    password = users.first_admin()
    assert password is not None
    assert users.first_admin() is None
    client = client_of(context, **HTML)
    assert try_login(client, FIRST, password).status_code == 303
    assert client.get("/users").headers["location"] == "/account"
    form = {"csrf": csrf_of(client.get("/account")), "old": password, "new": PASSWORD, "again": PASSWORD}
    short = client.post("/account/password", data={**form, "new": "short", "again": "short"})
    assert "at least 12 characters" in short.text
    assert client.post("/account/password", data=form).headers["location"] == "/"
    assert client.get("/users").status_code == 200


def test_a_new_password_ends_every_other_session(context: Context) -> None:
    """Who changes the password stays logged in; another browser with the old cookie does not."""
    here, there = logged_in(context, Role.VIEWER), logged_in(context, Role.VIEWER)
    form = {
        "csrf": csrf_of(here.get("/account")),
        "old": PASSWORD,
        "new": "another-password",
        "again": "another-password",
    }
    assert here.post("/account/password", data=form).status_code == 303
    assert here.get("/account").status_code == 200
    assert there.get("/account").status_code == 303


def test_passwords_are_spelt_in_one_way() -> None:
    """A password with ü is the same whether the keyboard made one character of it or two."""
    kept = passwords.hashed("Fu\u0308r-Elise-1810")
    assert passwords.check(kept, "Für-Elise-1810").right
    assert not passwords.check(kept, "Fur-Elise-1810").right
    assert not passwords.check(None, "whatever").right
    assert not passwords.check("no hash", "whatever").right


@pytest.mark.parametrize(
    ("to", "lead"),
    [
        ("/series?region=knee", "/series?region=knee"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/a\r\nSet-Cookie: x", "/"),
        ("", "/"),
    ],
)
def test_the_login_leads_to_this_host_alone(to: str, lead: str) -> None:
    """Whatever the address of the login says, nobody is led elsewhere."""
    assert local_path(to) == lead
