"""The notifier over a real database: each way is told once, after a restart and an outage of its own, too."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from db.deliveries import due, failed
from db.notices import notices
from db.session import Database, open_database
from node.notifying.bulletin import Message
from node.notifying.troubles import Disk
from node.notifying.ways import NotSent
from tests.db.values import NOW, add_classified
from tests.node.notifying import Desk


def at(seconds: float) -> timedelta:
    """Name a span of time."""
    return timedelta(seconds=seconds)


@dataclass
class Pager:
    """A way that keeps what it sent, or fails."""

    name: str = "pager"
    messages: list[Message] = field(default_factory=list)
    broken: bool = False

    def send(self, message: Message) -> None:
        """Keep it."""
        if self.broken:
            raise NotSent("no line")
        self.messages.append(message)


@pytest.fixture
def pager() -> Pager:
    """A way that works."""
    return Pager()


def put_aside(database: Database, number: int, count: int) -> None:
    """Have a series of so many instances put aside at one destination."""
    with database.session() as session:
        add_classified(session, number, count)
        for work in due(session, "archive", NOW, 9999):
            failed(session, work.delivery_id, 0xA700, "full", NOW)


def test_a_hundred_images_are_one_message(database: Database, pager: Pager) -> None:
    """All that was put aside is one piece of news; the number is in it."""
    desk = Desk(database, pager)
    put_aside(database, 1, 100)
    for seconds in range(0, 120, 10):
        desk.look(NOW + at(seconds))
    [message] = pager.messages
    [notice] = message.begun
    assert (notice.kind, notice.subject, notice.measure) == ("failed", "archive", 100)


def test_a_restart_tells_nothing_twice_and_forgets_nothing(database: Database, pager: Pager) -> None:
    """What was told is kept in the database; what ended while the node stood still is told as over."""
    first = Desk(database, pager)
    first.disk = Disk(1 << 30, 5 << 30)
    put_aside(database, 1, 3)
    first.look(NOW)
    first.look(NOW + at(60))
    assert len(pager.messages) == 1
    second = Desk(database, pager)
    second.look(NOW + at(600))
    second.look(NOW + at(700))
    assert [each.kind for each in pager.messages[1].ended] == ["disk_full"]
    assert [each.kind for each in pager.messages[1].still] == ["failed"]
    assert len(pager.messages) == 2


def test_a_way_that_was_broken_tells_what_holds_then(database: Database, pager: Pager) -> None:
    """Other ways are told meanwhile; tried again after a pause, it tells the present state."""
    broken = Pager("broken", broken=True)
    desk = Desk(database, pager, broken)
    desk.health.missed("archive", "refused")
    desk.monotonic_s = 400
    desk.disk = Disk(9 << 30, 5 << 30)
    desk.look(NOW)
    desk.look(NOW + at(40))
    assert [each.subject for each in pager.messages[0].begun] == ["archive", "spool"]
    desk.health.reached("archive")
    desk.look(NOW + at(50))
    broken.broken = False
    desk.look(NOW + at(60))
    assert broken.messages == []
    desk.look(NOW + at(80))
    [message] = broken.messages
    assert [each.subject for each in message.news] == ["spool"]


def test_the_page_can_ask_what_is_wrong(database: Database) -> None:
    """The log is a way like others; its notices are what lasts."""
    desk = Desk(database)
    desk.disk = Disk(1 << 30, 5 << 30)
    desk.look(NOW)
    with database.reading() as session:
        assert [each.kind for each in notices(session, "log")] == ["disk_full"]
    desk.disk = Disk(99 << 30, 5 << 30)
    desk.look(NOW + at(60))
    with database.reading() as session:
        assert notices(session, "log") == ()


@pytest.fixture
def without_tables(tmp_path: Path) -> Iterator[Database]:
    """A database that answers nothing."""
    opened = open_database(f"sqlite:///{tmp_path}/empty.sqlite")
    yield opened
    opened.close()


def test_a_database_that_does_not_answer_is_told(without_tables: Database, pager: Pager) -> None:
    """Without a database to keep anything in, the message goes out all the same, once."""
    desk = Desk(without_tables, pager)
    desk.look(NOW)
    desk.look(NOW + at(40))
    desk.look(NOW + at(1000))
    [message] = pager.messages
    assert [each.kind for each in message.begun] == ["database"]
