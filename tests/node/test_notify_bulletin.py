"""Troubles and the bulletin: what counts as wrong, and one message for what changed, not one an image."""

from datetime import timedelta

import pytest

from db.backlog import Backlog, Waiting
from db.notices import Notice
from node.health import Outage
from node.notifying import troubles
from node.notifying.bulletin import Bulletin
from node.notifying.troubles import Disk, Trouble
from node.settings.notify import Notify
from tests.db.values import NOW

SETTINGS = Notify(gather_s=30, pause_s=300, again_s=3600, remind_s=86400)
NOTHING: frozenset[str] = frozenset()
DOWN = Trouble("destination_down", "archive", "it does not answer")
FULL = Trouble("disk_full", "spool", "no room")


def after(seconds: float) -> timedelta:
    """Name a span of time."""
    return timedelta(seconds=seconds)


def failed(count: int) -> Trouble:
    """So many instances were put aside."""
    return Trouble("failed", "archive", f"{count} instances", count)


@pytest.mark.parametrize(
    ("waiting", "kinds"),
    [
        (Waiting(3, 0, NOW - after(3500)), []),
        (Waiting(3, 0, NOW - after(3700)), ["queue_old"]),
        (Waiting(3, 2, NOW), ["failed"]),
        (Waiting(3, 0, NOW - after(3700), NOW - after(3600)), []),
        (Waiting(3, 0, NOW - after(99999), NOW - after(99999)), ["paused"]),
        (Waiting(0, 0, None, NOW - after(99999)), []),
    ],
)
def test_queues_are_judged(waiting: Waiting, kinds: list[str]) -> None:
    """Old is what waits too long, unless an admin holds it back; that is told after a day."""
    found = troubles.of_backlog(Backlog({}, None, {"archive": waiting}, 0), SETTINGS, NOW)
    assert [each.kind for each in found] == kinds


def test_series_that_nobody_looks_at_are_a_trouble() -> None:
    """The oldest stable series counts, and how many wait is said."""
    found = Backlog({"stable": 7}, NOW - after(2400), {}, 0)
    [trouble] = troubles.of_backlog(found, SETTINGS, NOW)
    assert trouble.sentence == "the oldest of 7 series waits to be looked at for 40 minutes"
    assert not [*troubles.of_backlog(found, Notify(series_age_s=3000), NOW)]


@pytest.mark.parametrize(
    ("disk", "kind"),
    [
        (Disk(11 << 30, 5 << 30), None),
        (Disk(9 << 30, 5 << 30), "disk_low"),
        (Disk(4 << 30, 5 << 30), "disk_full"),
        (Disk(99 << 30, 5 << 30, True), "disk_full"),
    ],
)
def test_disks_are_judged(disk: Disk, kind: str | None) -> None:
    """Room is short under twice the floor, and there is none under the floor or at the quota."""
    assert [each.kind for each in troubles.of_disk(disk, SETTINGS)] == ([kind] if kind else [])


def test_parts_are_judged() -> None:
    """An outage counts once it lasts, deaths once there are some."""
    outages = {"archive": Outage(301, "refused"), "reader": Outage(299, "refused")}
    found = troubles.of_parts(outages, {"worker": 3, "web": 2}, SETTINGS)
    assert [(each.kind, each.subject) for each in found] == [
        ("destination_down", "archive"),
        ("process_dying", "worker"),
    ]


def test_what_comes_and_goes_is_not_told() -> None:
    """A trouble that lasts less than gather_s leaves no trace."""
    bulletin = Bulletin(SETTINGS)
    bulletin.observe([DOWN], NOTHING, NOW)
    assert bulletin.due(NOW + after(29)) is None
    bulletin.observe([], NOTHING, NOW + after(29))
    assert bulletin.notices == ()
    assert bulletin.due(NOW + after(60)) is None


def test_one_message_for_what_began_and_one_for_the_end() -> None:
    """However often it is looked at, a lasting trouble is told once, and its end once."""
    bulletin = Bulletin(SETTINGS)
    for seconds in range(0, 60, 10):
        bulletin.observe([DOWN, FULL], NOTHING, NOW + after(seconds))
    message = bulletin.due(NOW + after(60))
    assert message is not None
    assert {each.subject for each in message.begun} == {"archive", "spool"}
    bulletin.told(message)
    for seconds in range(60, 3600, 10):
        bulletin.observe([DOWN, FULL], NOTHING, NOW + after(seconds))
        assert bulletin.due(NOW + after(seconds)) is None
    bulletin.observe([FULL], NOTHING, NOW + after(3600))
    over = bulletin.due(NOW + after(3640))
    assert over is not None
    assert [each.subject for each in over.ended] == ["archive"]
    assert [each.subject for each in over.still] == ["spool"]
    bulletin.told(over)
    assert [each.subject for each in bulletin.notices] == ["spool"]


def test_flapping_is_no_flood() -> None:
    """Between two messages pause_s pass, whatever happens; an end that did not last is not told."""
    bulletin = Bulletin(SETTINGS)
    told = 0
    for seconds in range(0, 3600, 10):
        up = (seconds // 100) % 2
        bulletin.observe([] if up else [DOWN], NOTHING, NOW + after(seconds))
        message = bulletin.due(NOW + after(seconds))
        if message is not None:
            bulletin.told(message)
            told += 1
    assert 2 <= told <= 3600 / 300


def test_more_failures_are_told_again_after_a_while() -> None:
    """A thousand images that fail are one message, and one more after again_s where there are more."""
    bulletin = Bulletin(SETTINGS)
    bulletin.observe([failed(1)], NOTHING, NOW - after(30))
    messages = []
    for second in range(0, 3600, 10):
        bulletin.observe([failed(1 + second)], NOTHING, NOW + after(second))
        if (message := bulletin.due(NOW + after(second))) is not None:
            messages.append(message)
            bulletin.told(message)
    assert len(messages) == 1
    bulletin.observe([failed(5000)], NOTHING, NOW + after(3600))
    grown = bulletin.due(NOW + after(3600))
    assert grown is not None
    assert [each.measure for each in grown.grown] == [5000]
    bulletin.told(grown)
    bulletin.observe([failed(4000)], NOTHING, NOW + after(9000))
    assert bulletin.due(NOW + after(9000)) is None
    bulletin.observe([failed(4001)], NOTHING, NOW + after(9010))
    assert bulletin.due(NOW + after(9010)) is not None


def test_what_lasts_is_reminded_of() -> None:
    """After remind_s, and never where that is null."""
    for settings, wanted in ((SETTINGS, True), (SETTINGS.model_copy(update={"remind_s": None}), False)):
        old = Notice("disk_full", "spool", "no room", 0, NOW, None, NOW)
        bulletin = Bulletin(settings, [old])
        bulletin.observe([FULL], NOTHING, NOW + after(86400))
        message = bulletin.due(NOW + after(86400))
        assert (message is not None) is wanted


def test_what_nobody_knows_stays() -> None:
    """While the database does not answer, queues are neither better nor worse."""
    bulletin = Bulletin(SETTINGS, [Notice("failed", "archive", "3 instances", 3, NOW, None, NOW, 3)])
    bulletin.observe([], troubles.FROM_DATABASE, NOW + after(600))
    assert bulletin.due(NOW + after(700)) is None
    bulletin.observe([], NOTHING, NOW + after(700))
    assert bulletin.due(NOW + after(730)) is not None


def test_what_ended_while_it_was_told_has_an_end() -> None:
    """Its end is told, too; and an end that is told while it begins anew leaves the beginning to be told."""
    bulletin = Bulletin(SETTINGS)
    bulletin.observe([DOWN], NOTHING, NOW)
    message = bulletin.due(NOW + after(30))
    assert message is not None
    bulletin.observe([], NOTHING, NOW + after(40))
    bulletin.told(message)
    over = bulletin.due(NOW + after(400))
    assert over is not None
    assert len(over.ended) == 1
    bulletin.observe([DOWN], NOTHING, NOW + after(410))
    bulletin.told(over)
    again = bulletin.due(NOW + after(800))
    assert again is not None
    assert len(again.begun) == 1


@pytest.mark.parametrize(
    ("seconds", "said"), [(90, "90 seconds"), (150, "2 minutes"), (7300, "2 hours"), (200000, "2 days")]
)
def test_durations_are_said_in_one_unit(seconds: float, said: str) -> None:
    """Nobody reads 7300 seconds."""
    assert troubles.duration(seconds) == said
