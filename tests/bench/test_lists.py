"""The made-up database, and the section of its times in the document."""

from pathlib import Path

from db.pages import page
from db.queries import Filters
from db.session import migrate, open_database
from tests.bench import million
from tests.bench.lists import QUESTIONS, TITLE, measured, split


def test_the_made_up_database_has_what_lists_need(tmp_path: Path) -> None:
    """Every question gets an answer, the same series stand there at every run, and words are found."""
    times = measured(f"sqlite:///{tmp_path / 'a.sqlite'}", tmp_path, 1000, 1)
    assert list(times) == list(QUESTIONS)
    assert all(len(each.html) == 1 and each.html[0] > 0 for each in times.values())
    found = []
    for name in ("a", "b"):
        url = f"sqlite:///{tmp_path / f'{name}.sqlite'}"
        migrate(url)
        database = open_database(url)
        if name == "b":
            million.fill(database, 1000)
        with database.reading() as session:
            found.append(page(session, Filters(text="knee")))
        database.close()
    assert found[0] == found[1]
    assert found[0].total > 50


def test_the_section_is_found_and_left_out() -> None:
    """Other sections stay, before and after."""
    before, after = "# B\n\ntext\n\n", "## Other\n\nmore\n"
    own = f"{TITLE}\n\n| a |\n\n"
    assert split(before + own + after) == (before + after.rstrip() + "\n\n", own)
    assert split(before + own) == (before, own)
    assert split(before) == (before, "")
