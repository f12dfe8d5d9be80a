"""The pages: what they say of series, lists that page and filter, destinations, and who may change what."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from db.accounts import Role
from db.backlog import backlog
from db.destinations import hold
from db.session import migrate, open_database
from node.clock import utc_now
from node.web.context import Context, make_context
from node.web.pages import series_list
from tests.harness import free_port
from tests.web.browsing import logged_in
from tests.web.conftest import AsRole
from tests.web.filled import HOSTILE, filled
from tests.web.serving import HTML, client_of, page_config

ARCHIVE = {"name": "archive", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": free_port(), "timeout_s": 2}


@dataclass(frozen=True)
class Filled:
    """A page over series of every kind, and their numbers."""

    context: Context
    numbers: dict[str, int]

    def client(self, role: Role = Role.VIEWER) -> TestClient:
        """Make a client of a role that asks for pages."""
        return client_of(self.context, role, **HTML)

    def page(self, path: str) -> str:
        """Return a page as a viewer sees it."""
        answer = self.client().get(path)
        assert answer.status_code == 200, answer.text
        return answer.text


@contextmanager
def page_over(folder: Path) -> Iterator[Filled]:
    """Fill a database and a spool with something of everything."""
    config = page_config(folder, destinations=[ARCHIVE, {"name": "share", "type": "folder", "folder": "out"}])
    migrate(config.database.url)
    database = open_database(config.database.url)
    yield Filled(make_context(config, database), filled(database, utc_now(), config.spool.folder))
    database.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A page that is only read."""
    with page_over(tmp_path_factory.mktemp("read")) as made:
        yield made


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    """A page on which operators act."""
    with page_over(tmp_path_factory.mktemp("acted")) as made:
        yield made


def linked(page: str) -> list[int]:
    """List the series that a page links to, in their order."""
    return list(dict.fromkeys(int(number) for number in re.findall(r'href="/series/(\d+)"', page)))


def test_the_list_shows_every_series_newest_first(site: Filled) -> None:
    """All states are there, each with what was found or why not."""
    page = site.page("/series")
    assert linked(page) == sorted(site.numbers.values(), reverse=True)
    assert "6 series" in page
    assert "passed on: coronal plane" in page


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("region=chest", ["chest"]),
        ("tag=wrong", ["hostile", "knee"]),
        ("state=stable", ["waiting"]),
        ("region=unknown", ["unknown"]),
        ("text=roe+kne", ["knee"]),
        ("text=nobody", []),
        ("modality=ct&region=knee", ["knee"]),
        ("date_from=2030-01-01", []),
    ],
)
def test_filters_find_what_they_say(site: Filled, query: str, names: list[str]) -> None:
    """Each filter, alone and with others, leaves the series that fit."""
    assert linked(site.page(f"/series?{query}")) == [site.numbers[name] for name in names]


def test_a_filter_that_cannot_be_read_is_named(site: Filled) -> None:
    """The rest of the question is answered."""
    page = site.page("/series?date_from=tomorrow&region=chest&state=lost&cursor=xyz")
    for said in ("“tomorrow” is no date from.", "“lost” is no state.", "The cursor does not belong"):
        assert said in page
    assert linked(page) == [site.numbers["chest"]]


def test_pages_of_the_list_follow_each_other(site: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    """Next leads on to the end, without a line twice or left out."""
    monkeypatch.setattr(series_list, "LINES", 4)
    first = site.page("/series")
    [following] = re.findall(r'rel="next" href="([^"]+)"', first)
    second = site.page(following.replace("&amp;", "&"))
    assert linked(first) + linked(second) == sorted(site.numbers.values(), reverse=True)
    assert 'rel="next"' not in second
    assert "First page" in second


def test_an_empty_node_says_what_to_do(as_role: AsRole) -> None:
    """Every page of a node that got nothing yet says so."""
    client = as_role(Role.VIEWER)
    assert "Nothing has arrived yet" in client.get("/series").text
    assert "Nothing to review" in client.get("/review").text
    assert "No destination is configured" in client.get("/destinations").text
    assert "Nothing waits" in client.get("/dashboard").text
    assert client.get("/series?text=x").text.count("No series fits") == 1


def test_what_to_review(site: Filled) -> None:
    """No term, little confidence and remarks are listed, with the reason; what is sure is not."""
    page = site.page("/review")
    assert set(linked(page)) == {site.numbers[name] for name in ("knee", "unknown", "hostile")}
    assert "no term" in page
    assert "unsure" in page


def test_a_series_tells_its_story(site: Filled) -> None:
    """Tag against verdict, the rule, band, picture and deliveries stand on one page."""
    page = site.page(f"/series/{site.numbers['chest']}")
    for said in ("CHEST", "the order of the regions along the body", 'class="strip coronal"',
                 'class="band"', 'class="plot"', 'class="tile"', "data set does not match"):  # fmt: skip
        assert said in page
    picture = site.client().get(f"/series/{site.numbers['chest']}/picture.jpg")
    assert (picture.headers["content-type"], picture.content[:3]) == ("image/jpeg", b"\xff\xd8\xff")


def test_tags_are_judged_in_a_word(site: Filled) -> None:
    """Wrong, missing to compare, and not yet known are told apart."""
    assert ">wrong</span>" in site.page(f"/series/{site.numbers['knee']}")
    assert ">no verdict</span>" in site.page(f"/series/{site.numbers['unknown']}")
    waiting = site.page(f"/series/{site.numbers['waiting']}")
    assert ">waiting</span>" in waiting
    assert "The worker has not looked at this series yet." in waiting


def test_every_try_is_listed(site: Filled) -> None:
    """The failed instance comes first, then the one that waits with its next time, then the rest."""
    page = site.page(f"/series/{site.numbers['chest']}/deliveries")
    rows = re.findall(r"<tr>\s*<td>(.+?)</tr>", page, re.DOTALL)
    assert "0xA900" in rows[0]
    assert any("no answer" in row and "next <time" in row for row in rows)
    assert "1 to 40 of 40" in page
    assert "chest" in site.page(f"/series/{site.numbers['chest']}/images")


def test_what_is_not_there_is_not_found(site: Filled) -> None:
    """Numbers, studies, pictures and destinations that do not exist get 404, and a page that says so."""
    for path in ("/series/999999", f"/series/{10**30}", "/studies/1.9", "/series/999999/picture.jpg",
                 f"/series/{site.numbers['knee']}/picture.jpg", "/series/1/images?offset=-1"):  # fmt: skip
        assert site.client().get(path).status_code in (400, 404), path
    assert site.client(Role.OPERATOR).post("/destinations/elsewhere/echo").status_code == 404


def test_a_study_lists_its_series(site: Filled) -> None:
    """A study's page leads to its series and back."""
    assert linked(site.page("/studies/1.2.1")) == [site.numbers["chest"]]


@pytest.mark.parametrize("page", ["/series", "/review", "/dashboard", "/destinations"])
def test_odd_names_stay_text(site: Filled, page: str) -> None:
    """No tag of a series becomes markup, on lists and on its own pages."""
    mine = f"/series/{site.numbers['hostile']}"
    for path in (page, mine, f"{mine}/images", f"{mine}/deliveries", "/studies/1.2.4"):
        text = site.page(path)
        assert HOSTILE not in text
        assert "<script>document" not in text
        assert "<img src=x" not in text
        assert "<b>odd" not in text


def test_viewers_see_and_operators_act(site: Filled) -> None:
    """A viewer gets neither the buttons nor what they would do."""
    mine = f"/series/{site.numbers['chest']}"
    assert "Resend" not in site.page(mine)
    assert "Hold back" not in site.page("/destinations")
    for path in (f"{mine}/resend", "/destinations/archive/pause", "/destinations/archive/resume",
                 "/destinations/archive/resend", "/destinations/archive/echo"):  # fmt: skip
        assert site.client().post(path).status_code == 403, path


def test_an_operator_resends_a_series(desk: Filled) -> None:
    """What failed is due again, and the trail says who asked."""
    client = desk.client(Role.OPERATOR)
    mine = f"/series/{desk.numbers['chest']}"
    answer = client.post(f"{mine}/resend", data={"destination": "archive"})
    assert answer.headers["location"] == f"{mine}?sent=1#deliveries"
    assert "1 delivery is due again." in client.get(f"{mine}?sent=1").text
    trail = (desk.context.config.audit.file or Path()).read_text(encoding="utf-8")
    assert '"resend"' in trail
    assert '"operator"' in trail


def test_an_operator_holds_back_and_lets_go_on(desk: Filled) -> None:
    """The database knows, the page says since when and why."""
    client = desk.client(Role.OPERATOR)
    client.post("/destinations/archive/pause", data={"reason": "moves to another room"})
    assert "moves to another room" in client.get("/destinations").text
    with desk.context.database.reading() as session:
        assert hold(session, "archive").paused_at is not None
    client.post("/destinations/archive/resume")
    with desk.context.database.reading() as session:
        assert hold(session, "archive").paused_at is None


def test_an_operator_sends_again_what_was_put_aside(desk: Filled) -> None:
    """All failed deliveries of the destination are armed, those of others are not."""
    with desk.context.database.reading() as session:
        failed = backlog(session).queues["archive"].failed
    assert failed > 1
    answer = desk.client(Role.OPERATOR).post("/destinations/archive/resend")
    assert answer.headers["location"] == f"/destinations?sent={failed}"
    with desk.context.database.reading() as session:
        assert backlog(session).queues["archive"].failed == 0


def test_a_destination_that_does_not_answer_says_so(desk: Filled) -> None:
    """An echo to a closed port, and a look at a folder that is not there, end in a sentence."""
    client = desk.client(Role.OPERATOR)
    for name in ("archive", "share"):
        said = client.post(f"/destinations/{name}/echo").text
        assert 'badge bad">no' in said


def test_forms_of_a_browser_need_their_proof(desk: Filled) -> None:
    """A post with a cookie alone changes nothing."""
    client = logged_in(desk.context, Role.OPERATOR)
    assert client.post("/destinations/archive/pause").status_code == 403
    with desk.context.database.reading() as session:
        assert hold(session, "archive").paused_at is None


def test_the_dashboard_counts(site: Filled) -> None:
    """Arrivals, terms and wrong tags of each source are those of the database."""
    page = site.page("/dashboard?days=30")
    assert "in 6 series" in page
    assert "KNEE" in page
    assert re.search(r"SCANNER</a></th><td>CT</td>.*?50 % \(1 of 2\)", page, re.DOTALL)
    assert site.client().get("/dashboard?days=31").status_code == 400


def test_a_ct_series_as_a_whole(site: Filled) -> None:
    """Label, axis and contrast stand on the series' page, a contradiction marked, and can be filtered by."""
    chest, knee = site.numbers["chest"], site.numbers["knee"]
    page = site.page(f"/series/{chest}")
    assert all(
        word in page for word in ("The series as a whole", "looks coronal 0.95", "IV contrast", "0.88")
    )
    assert "The series as a whole" not in site.page(f"/series/{knee}")
    for asked in ("part=chest", "axis=axial", "contrast=with"):
        assert linked(site.page(f"/series?{asked}")) == [chest]
    assert linked(site.page("/series?part=pelvis")) == []
    assert "is no axis" in site.page("/series?axis=oblique")
