"""The form of corrections in a real browser: filled in, refused, kept, and shown to who may only look."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from db.accounts import Role
from db.corrections import history
from rules.correction import Range
from tests.web.conftest import Visit
from tests.web.serving import page_config
from tests.web.test_api import fill
from tests.web.visiting import Site, running_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A page over five series with images at 5, 10 and 15 mm, the first two in one Frame of Reference."""
    with running_site(page_config(tmp_path_factory.mktemp("site"))) as running:
        fill(running.context)
        yield running


def _fill(lines: Locator, number: int, region: str, low: str, high: str) -> None:
    """Fill a line of the form."""
    lines.nth(number).locator("select").select_option(region)
    lines.nth(number).locator("input").nth(0).fill(low)
    lines.nth(number).locator("input").nth(1).fill(high)


def test_a_correction_by_clicks(site: Site, visit: Visit) -> None:
    """A mistake is said and what was filled in stays; then it is kept, carried over, and shown to viewers."""
    page = visit(site, Role.OPERATOR, expects="400").page
    page.goto("/series/1/correction")
    lines = page.locator("form tbody tr")
    _fill(lines, 0, "abdomen", "500", "510")
    page.get_by_role("button", name="Correct", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("no image lies between 500 and 510 mm")
    _fill(lines, 0, "abdomen", "5", "10,5")
    _fill(lines, 1, "chest", "15", "12")
    page.get_by_label("Note").fill("seen <b>here</b>")
    page.get_by_role("button", name="Correct", exact=True).click()
    expect(page.locator("#corrections")).to_contain_text("by operator")
    with site.context.database.reading() as session:
        [mine], [carried] = history(session, 1), history(session, 2)
    assert mine.ranges == (Range("abdomen", 5, 10.5), Range("chest", 12, 15))
    assert (mine.term, mine.note) == ("CHESTABDOMEN", "seen <b>here</b>")
    assert carried.carried_from == mine.correction_id
    viewer = visit(site, Role.VIEWER).page
    viewer.goto("/series/1")
    expect(viewer.locator("#corrections")).to_contain_text("seen <b>here</b>")
    expect(viewer.get_by_text("Correct the regions")).to_have_count(0)
