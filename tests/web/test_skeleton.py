"""The page as such: who gets in, what each answer carries, and that every route asks for somebody."""

from fastapi.routing import APIRoute

from db.accounts import Role
from node.web.access import viewer
from node.web.app import OPEN, make_app
from node.web.context import Context
from tests.web.conftest import AsRole
from tests.web.serving import client_of


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
