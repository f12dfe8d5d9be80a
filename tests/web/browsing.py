"""A browser's way through the forms, for clients in this process: cookies, and the proof in each form."""

import re

from httpx2 import Response
from starlette.testclient import TestClient

from db.accounts import Role
from node.web.context import Context
from tests.web.serving import HTML, PASSWORD, client_of, make_user


def csrf_of(page: Response) -> str:
    """Return the proof that the first form of a page shows."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
    assert found, page.text
    return found[1]


def try_login(client: TestClient, name: str, password: str, to: str = "/") -> Response:
    """Open the login and send its form."""
    csrf = csrf_of(client.get("/login"))
    return client.post("/login", data={"name": name, "password": password, "next": to, "csrf": csrf})


def logged_in(context: Context, role: Role) -> TestClient:
    """Return a client whose cookie is that of a user of this role."""
    user, client = make_user(context.database, role), client_of(context, **HTML)
    assert try_login(client, user.name, PASSWORD).status_code == 303
    return client
