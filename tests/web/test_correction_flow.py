"""A correction from the form in a browser to the archive: the verdict stays, copies carry what was said."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect
from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import text

from db.accounts import Role
from db.corrections import heights, history
from db.session import open_database
from model.training import folder
from node.web.context import make_context
from tests.builders import Recipe, write
from tests.harness import Archive, RunningNode, free_port, make_node, running, storescu, wait_until
from tests.web.conftest import Visit
from tests.web.visiting import Site

PLACE = {"FrameOfReferenceUID": "1.2.826.0.1.3680043.8.1"}
FIRST = Recipe(n=4, seed="first", body_part="CHEST", overrides=PLACE)
SECOND = Recipe(n=3, seed="second", first_position=(-25.0, -25.0, -99.0), overrides=PLACE)
LATER = Recipe(n=3, seed="later", overrides=PLACE)
"""Heights in mm: -100 to -85, -99 to -89, -100 to -90."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """dcmtk's storescp, which keeps the last copy of an instance."""
    started = Archive(tmp_path_factory.mktemp("archive"), free_port()).start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def node(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node that wrote nothing yet, with two series of one Frame of Reference delivered as they came."""
    sections: dict[str, dict[str, Any]] = {
        "relabel": {"fill_confidence": 1.0, "replace_confidence": 1.0},
        "web": {"enabled": True, "port": free_port()},
    }
    made = make_node(tmp_path_factory.mktemp("node"), archive.destination(), **sections)
    with running(made) as node:
        for number, recipe in enumerate((FIRST, SECOND), 1):
            assert storescu(node.port, write(node.folder / recipe.seed, recipe)).returncode == 0
            node.wait_for_state("delivered", number)
        yield node


@pytest.fixture(scope="module")
def site(node: RunningNode) -> Iterator[Site]:
    """The node's own page."""
    config = node.config
    database = open_database(config.database.url)
    yield Site(f"http://127.0.0.1:{config.web.port}", make_context(config, database))
    database.close()


def _fill(lines: Locator, number: int, region: str, low: str, high: str) -> None:
    """Fill a line of the form."""
    lines.nth(number).locator("select").select_option(region)
    lines.nth(number).locator("input").nth(0).fill(low)
    lines.nth(number).locator("input").nth(1).fill(high)


def _received(archive: Archive, recipe: Recipe) -> list[Dataset]:
    """Return the copies of a series that the archive has now, from the feet up."""
    found = [dcmread(path) for path in archive.files()]
    mine = [each for each in found if each.SeriesInstanceUID == recipe.series_uid]
    return sorted(mine, key=lambda each: float(each.ImagePositionPatient[2]))


def _wait_for_term(archive: Archive, recipe: Recipe, term: str) -> list[Dataset]:
    def there() -> list[Dataset]:
        found = _received(archive, recipe)
        said = {each.get("BodyPartExamined") for each in found}
        return found if len(found) == recipe.n and said == {term} else []

    return list(wait_until(there, f"{recipe.seed} has arrived as {term}"))


def _regions(copies: list[Dataset]) -> list[str]:
    return [each.AnatomicRegionSequence[0].CodeMeaning for each in copies]


def test_the_archive_gets_what_the_person_said(
    node: RunningNode, archive: Archive, site: Site, visit: Visit
) -> None:
    """By clicks: copies go out again with the corrected term and each image's region."""
    [row] = node.rows(series=FIRST.series_uid)
    page = visit(site, Role.OPERATOR).page
    page.goto(f"/series/{row.series_id}")
    page.get_by_text("Correct the regions").click()
    lines = page.locator("#corrections tbody tr")
    _fill(lines, 0, "thigh", "-101", "-91")
    _fill(lines, 1, "knee", "-85", "-90")
    for number in range(2, lines.count()):
        _fill(lines, number, "", "", "")
    page.get_by_label("Note").fill("seen on the screen")
    page.get_by_label("Send the copies again").check()
    page.get_by_role("button", name="Correct").click()
    expect(page.locator("#corrections")).to_contain_text("by operator")
    expect(page.locator("#corrections")).to_contain_text("seen on the screen")
    copies = _wait_for_term(archive, FIRST, "LOWERLIMB")
    assert _regions(copies) == ["Thigh", "Thigh", "Knee", "Knee"]
    files = sorted((node.folder / FIRST.seed).iterdir())
    sent = {str(each.SOPInstanceUID): each for each in map(dcmread, files)}
    for copy in copies:
        assert copy.PixelData == sent[str(copy.SOPInstanceUID)].PixelData
        original = copy.OriginalAttributesSequence[-1].ModifiedAttributesSequence[0]
        assert original.BodyPartExamined == "CHEST"
        equipment = copy.ContributingEquipmentSequence[-1]
        assert equipment.ContributionDescription == "Body part corrected by a person"
    [after] = node.rows(series=FIRST.series_uid)
    assert (after.term, after.spans, after.corrected_term) == (row.term, row.spans, "LOWERLIMB")


def test_other_series_of_the_place_follow(node: RunningNode, archive: Archive) -> None:
    """The second series of the place is delivered again, too, with the regions at its own heights."""
    copies = _wait_for_term(archive, SECOND, "LOWERLIMB")
    assert _regions(copies) == ["Thigh", "Thigh", "Knee"]
    [row] = node.rows(series=SECOND.series_uid)
    database = open_database(node.config.database.url)
    with database.reading() as session:
        [followed] = history(session, row.series_id)
        assert [each.z_mm for each in heights(session, row.series_id)] == [-99, -94, -89]
    database.close()
    assert followed.carried_from is not None
    assert followed.made_by == "operator"


def test_a_series_that_comes_later_is_told_at_once(node: RunningNode, archive: Archive) -> None:
    """What arrives after the correction, in the same Frame of Reference, goes out by it the first time."""
    assert storescu(node.port, write(node.folder / LATER.seed, LATER)).returncode == 0
    copies = _wait_for_term(archive, LATER, "LOWERLIMB")
    assert _regions(copies) == ["Thigh", "Thigh", "Knee"]


def test_labels_come_back_as_training_reads_them(node: RunningNode, tmp_path: Path) -> None:
    """Exported, and read again beside the DICOM: every image has the region that the person gave it."""
    out = tmp_path / "labels.csv"
    told = node.bodytag("export-labels", "--out", str(out), "--by-hand", "--json")
    assert told.returncode == 0, told.stderr
    assert told.stdout.strip() == '{"series": 1, "ranges": 2, "left_out": 0}'
    [series] = folder.scan(node.folder / FIRST.seed, out, "CT")
    assert series.regions == ("thigh", "thigh", "knee", "knee")


def test_views_answer_in_sql(node: RunningNode) -> None:
    """Who wants to know in SQL what holds, asks the views."""
    shown = text(
        "SELECT region, decided_by FROM series_regions WHERE series_instance_uid = :uid ORDER BY ordinal"
    )
    tries = text("SELECT DISTINCT state, tries FROM delivery_results WHERE series_instance_uid = :uid")
    database = open_database(node.config.database.url)
    with database.reading() as session:
        regions = session.execute(shown, {"uid": FIRST.series_uid}).all()
        sent = session.execute(tries, {"uid": FIRST.series_uid}).all()
    database.close()
    assert [tuple(row) for row in regions] == [("thigh", "operator"), ("knee", "operator")]
    assert [tuple(row) for row in sent] == [("sent", 2)]


def test_a_mistake_is_said_and_what_was_filled_in_stays(node: RunningNode, site: Site, visit: Visit) -> None:
    """Ranges without an image: one sentence, the form as it was, and nothing is kept."""
    [row] = node.rows(series=SECOND.series_uid)
    page = visit(site, Role.OPERATOR, expects="400").page
    page.goto(f"/series/{row.series_id}/correction")
    lines = page.locator("tbody tr")
    for number in range(lines.count()):
        _fill(lines, number, "head" if number == 0 else "", "500", "510")
    page.get_by_role("button", name="Correct").click()
    expect(page.get_by_role("alert")).to_contain_text("no image lies between 500 and 510 mm")
    expect(lines.nth(0).locator("input").nth(0)).to_have_value("500.0")
    assert node.rows(series=SECOND.series_uid)[0].correction_id == row.correction_id


def test_viewers_see_corrections_and_make_none(node: RunningNode, site: Site, visit: Visit) -> None:
    """A viewer reads who said what, and gets no form."""
    [row] = node.rows(series=FIRST.series_uid)
    page = visit(site, Role.VIEWER).page
    page.goto(f"/series/{row.series_id}")
    expect(page.locator("#corrections")).to_contain_text("by operator")
    expect(page.get_by_text("Correct the regions")).to_have_count(0)
