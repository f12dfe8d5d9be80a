"""The page as such: who gets in, what each answer carries, and that every route asks for somebody."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from db.accounts import Role
from db.session import open_database
from node.web.access import viewer
from node.web.app import OPEN, make_app
from node.web.context import Context
from node.web.outer import HEADERS, outer
from node.web.rendering import FOLDER
from tests.web.conftest import AsRole
from tests.web.serving import HTML, client_of


def test_nobody_sees_anything_without_a_login(as_role: AsRole) -> None:
    """Pages lead to the login, which leads back; programs are told what to show."""
    client = as_role(None)
    answer = client.get("/?region=knee")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2F%3Fregion%3Dknee")
    told = client.get("/api/v1/openapi.json")
    assert told.status_code == 401
    assert told.headers["www-authenticate"].startswith("Bearer")


def test_a_token_lets_programs_in(as_role: AsRole) -> None:
    """With a token of a viewer the API describes itself."""
    assert as_role(Role.VIEWER).get("/api/v1/openapi.json").json()["info"]["title"] == "bodytag"


def test_every_other_route_asks_for_a_viewer(context: Context) -> None:
    """Whatever is added later: only the routers of OPEN decide themselves who may use them."""
    open_paths = {route.path for router in OPEN for route in router.routes if isinstance(route, APIRoute)}
    routes = [route for route in make_app(context).routes if isinstance(route, APIRoute)]
    asking = [route for route in routes if viewer in [each.call for each in route.dependant.dependencies]]
    assert {route.path for route in routes} - {route.path for route in asking} <= open_paths


def test_health_needs_no_login(context: Context) -> None:
    """Who restarts or balances is told the state without a token."""
    client = client_of(context)
    assert client.get("/healthz").text == "alive\n"
    assert client.get("/readyz").text == "ready\n"


def test_every_answer_carries_its_headers(context: Context) -> None:
    """Pages, refusals, errors and files: the policy is on all of them, and nothing but files is kept."""
    client = client_of(context, **HTML)
    for path, status in (("/login", 200), ("/", 303), ("/nothing", 404), ("/static/style.css", 200)):
        answer = client.get(path)
        assert answer.status_code == status
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert ("no-store" in answer.headers["cache-control"]) == (not path.startswith("/static"))
        assert "strict-transport-security" not in answer.headers


def test_a_fault_is_a_page_and_a_sentence(context: Context) -> None:
    """What nobody foresaw tells people and programs nothing but where to look, headers included."""
    app = make_app(context)

    def fault(request: Request) -> Response:
        raise KeyError("Doe^Jane", request.url.path)

    for path in ("/fault", "/api/v1/fault"):
        app.router.add_route(path, fault)
    client = TestClient(outer(app, context.config.web), headers=HTML, raise_server_exceptions=False)
    page, told = client.get("/fault"), client.get("/api/v1/fault")
    assert page.status_code == told.status_code == 500
    assert "The fault is in the node&#39;s log" in page.text
    assert told.json() == {"detail": "The fault is in the node's log. Nothing that was received is lost."}
    assert "Doe" not in page.text + told.text
    assert page.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]


def test_readiness_needs_the_database(context: Context, tmp_path: Path) -> None:
    """Without its database the page is alive, but not ready."""
    gone = replace(context, database=open_database(f"sqlite:///{tmp_path / 'other.sqlite'}"))
    gone.database.close()
    for file in tmp_path.glob("other.sqlite*"):
        file.unlink()
    (tmp_path / "other.sqlite").mkdir()
    client = client_of(gone)
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503


def test_what_browsers_get_is_whole_and_from_here() -> None:
    """htmx is the published file, byte for byte; no template or style names another host."""
    told = (FOLDER / "static/README.md").read_text()
    digest = hashlib.sha256((FOLDER / "static/htmx.min.js").read_bytes()).hexdigest()
    assert digest in told
    written = [*(FOLDER / "templates").glob("*.html"), *(FOLDER / "static").glob("*.css")]
    assert len(written) > 5
    elsewhere = re.compile(r"""(src|href|action|url)\s*[=(]\s*["']?(https?:)?//""")
    inline = re.compile(r"<style|<script(?![^>]*src=)|\son[a-z]+=|\sstyle=|javascript:")
    for file in written:
        assert not elsewhere.search(file.read_text()), file.name
        assert not inline.search(file.read_text()), file.name
