"""The pages in a real browser: what moves by itself, what is pressed, odd names, keyboard, contrast."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import expect

from db.accounts import Role
from db.series import register
from db.session import open_database
from node.clock import utc_now
from node.web.context import make_context
from tests.builders import series
from tests.db.values import series_facts
from tests.harness import Archive, free_port, make_node, running, storescu
from tests.web.conftest import Visit
from tests.web.filled import HOSTILE, ROUTES, filled, instances
from tests.web.serving import page_config
from tests.web.visiting import DESK, PHONE, Site, running_site


@dataclass(frozen=True)
class Filled:
    """A running page over series of every kind, and their numbers."""

    site: Site
    numbers: dict[str, int]

    @property
    def paths(self) -> list[str]:
        """The addresses of all pages."""
        mine = [f"/series/{self.numbers[name]}" for name in ("chest", "unknown", "hostile", "waiting")]
        return ["/series", "/review", "/dashboard", "/destinations", "/studies/1.2.4", *mine]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A page over a filled database, with an archive that answers."""
    folder = tmp_path_factory.mktemp("full")
    archive = Archive(folder / "archive", free_port()).start()
    with running_site(page_config(folder, destinations=[archive.destination()])) as site:
        spool = site.context.config.spool.folder
        yield Filled(site, filled(site.context.database, utc_now(), spool))
    archive.stop()


def test_odd_names_are_shown_as_they_are(full: Filled, visit: Visit) -> None:
    """Markup and scripts in tags, flags and answers of peers stay text on every page; nothing runs."""
    page = visit(full.site, Role.OPERATOR).page
    for path in full.paths:
        page.goto(path)
        assert page.title().endswith("· bodytag"), path
        assert page.locator("img[src=x]").count() == 0, path
    page.goto(f"/series/{full.numbers['hostile']}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(HOSTILE)
    expect(page.locator(".flags li")).to_have_text(HOSTILE)
    page.get_by_text("Each instance, with every try").click()
    expect(page.get_by_role("region", name="Deliveries of each instance")).to_contain_text(HOSTILE)


def test_what_arrives_appears_by_itself(full: Filled, visit: Visit) -> None:
    """A series that is registered while the list is open is in it soon."""
    page = visit(full.site, Role.VIEWER).page
    page.goto("/series")
    expect(page.get_by_role("link", name="Late, Lara")).to_have_count(0)
    with full.site.context.database.session() as session:
        facts = series_facts(77, patient_name="Late^Lara")
        register(session, facts, instances(77, 2), ROUTES, utc_now())
    expect(page.get_by_role("link", name="Late, Lara")).to_be_visible(timeout=60_000)


def test_a_search_narrows_the_list_while_one_types(full: Filled, visit: Visit) -> None:
    """The lines follow the words, and the address can be sent to a colleague."""
    page = visit(full.site, Role.VIEWER).page
    page.goto("/series")
    page.get_by_role("searchbox").press_sequentially("roe kne")
    expect(page.locator("table.list tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile("text=roe"))
    page.locator("select[name=tag]").select_option("right")
    expect(page.get_by_text("No series fits.")).to_be_visible()


def test_the_story_of_a_series_unfolds(full: Filled, visit: Visit) -> None:
    """Strips, band and plot are drawn beside each other, and tables are fetched when they are opened."""
    page = visit(full.site, Role.VIEWER).page
    page.goto(f"/series/{full.numbers['chest']}")
    script = (
        "() => new Set([...document.querySelectorAll('.along > svg')].map(each => each.clientHeight)).size"
    )
    assert page.evaluate(script) == 1
    loaded = "() => [...document.querySelectorAll('.tile image')].length"
    assert page.evaluate(loaded) == 20
    page.get_by_text("Each of the 20 images").click()
    expect(page.get_by_role("region", name="Images of the series")).to_contain_text("95.0")
    page.get_by_text("Each instance, with every try").click()
    expect(page.get_by_text("0xA900")).to_be_visible()


def test_an_operator_tries_and_holds_back_a_destination(full: Filled, visit: Visit) -> None:
    """C-ECHO says that the archive answers; holding back asks first; going on lets it go on."""
    page = visit(full.site, Role.OPERATOR).page
    page.goto("/destinations")
    page.get_by_role("button", name="C-ECHO").click()
    expect(page.get_by_text("answers", exact=True)).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Hold back").click()
    expect(page.get_by_text("held back", exact=True)).to_be_visible()
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("held back", exact=True)).to_have_count(0)


def test_a_series_is_opened_by_keyboard(full: Filled, visit: Visit) -> None:
    """Skip the bar, reach the first line by Tab, and open it."""
    page = visit(full.site, Role.VIEWER).page
    page.goto("/series?region=chest")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('table.list') !== null"):
            break
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{full.site.url}/series/{full.numbers['chest']}")


@pytest.mark.parametrize(
    "options",
    [{"viewport": DESK, "color_scheme": "light"}, {"viewport": PHONE, "color_scheme": "dark"}],
    ids=["desk", "phone"],
)
def test_nothing_is_in_the_way(full: Filled, visit: Visit, options: dict[str, Any]) -> None:
    """Every page passes axe, contrast included, and fits into the window."""
    visitor = visit(full.site, Role.OPERATOR, **options)
    found = {}
    for path in full.paths:
        visitor.page.goto(path)
        found[path] = visitor.barriers(), visitor.overhang()
    assert found == {path: ([], 0) for path in full.paths}


def test_a_series_goes_from_the_scanner_to_the_page(
    tmp_path_factory: pytest.TempPathFactory, visit: Visit
) -> None:
    """Sent to a real node, decided by the real networks, drawn by its worker, and seen in a browser."""
    folder = tmp_path_factory.mktemp("whole")
    node = make_node(folder / "node", web={"enabled": True, "port": free_port()})
    with running(node):
        assert storescu(node.port, series(folder / "images", n=8)).returncode == 0
        [row] = node.wait_for_state("delivered")
        database = open_database(node.config.database.url)
        site = Site(f"http://127.0.0.1:{node.config.web.port}", make_context(node.config, database))
        page = visit(site, Role.VIEWER).page
        page.get_by_role("link", name="Synthetic, Series").click()
        expect(page.locator(".tile")).to_have_count(8)
        expect(page.locator(".strip")).to_have_count(2)
        expect(page.get_by_text("It was meant for no destination.")).to_be_visible()
        assert page.evaluate("fetch(document.querySelector('image').href.baseVal).then(r => r.status)") == 200
        assert page.url.endswith(f"/series/{row.series_id}")
        database.close()
