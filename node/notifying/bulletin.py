"""The bulletin: what one way has told of which trouble, and what it should tell next.

One message holds all that changed: troubles that began and have lasted for a moment, those that ended, those
that grew, and those of which it is time to remind. What comes and goes within a moment is never told.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from db.notices import Notice
from node.notifying.troubles import Trouble
from node.settings.notify import Notify

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Message:
    """What is told at one go; `still` lasts and was told before."""

    at: datetime
    begun: tuple[Notice, ...] = ()
    grown: tuple[Notice, ...] = ()
    reminded: tuple[Notice, ...] = ()
    ended: tuple[Notice, ...] = ()
    still: tuple[Notice, ...] = ()

    @property
    def news(self) -> tuple[Notice, ...]:
        """What the message is sent for."""
        return (*self.begun, *self.grown, *self.reminded, *self.ended)


class Bulletin:
    """The notices of one way; not safe for threads."""

    def __init__(self, settings: Notify, found: Iterable[Notice] = ()) -> None:
        """`found`: what was told before a restart."""
        self._gather = timedelta(seconds=settings.gather_s)
        self._pause = timedelta(seconds=settings.pause_s)
        self._again = timedelta(seconds=settings.again_s)
        self._remind = None if settings.remind_s is None else timedelta(seconds=settings.remind_s)
        self._notices = {(each.kind, each.subject): each for each in found}
        self._told_at: datetime | None = None
        self.changed = False

    @property
    def notices(self) -> tuple[Notice, ...]:
        """All troubles that last, and those whose end was not told yet."""
        return tuple(self._notices.values())

    def observe(self, troubles: Iterable[Trouble], unknown: Collection[str], now: datetime) -> None:
        """Take what is wrong now; kinds in `unknown` cannot be told, so they stay as they were."""
        present = {(each.kind, each.subject): each for each in troubles}
        for key, trouble in present.items():
            self._go_on(key, trouble, now)
        for key in [key for key in self._notices if key not in present and key[0] not in unknown]:
            self._end(key, now)

    def _go_on(self, key: _Key, trouble: Trouble, now: datetime) -> None:
        before = self._notices.get(key)
        if before is None:
            before = Notice(trouble.kind, trouble.subject, trouble.sentence, trouble.measure, now)
            self.changed = True
        elif before.ended_at is not None:
            self.changed = True
        # What was told last counts: less than that is no growth later on.
        told_measure = min(before.told_measure, trouble.measure)
        self._notices[key] = replace(
            before,
            sentence=trouble.sentence,
            measure=trouble.measure,
            ended_at=None,
            told_measure=told_measure,
        )

    def _end(self, key: _Key, now: datetime) -> None:
        before = self._notices[key]
        if before.told_at is None:
            del self._notices[key]
        elif before.ended_at is None:
            self._notices[key] = replace(before, ended_at=now)
        else:
            return
        self.changed = True

    def due(self, now: datetime) -> Message | None:
        """Return what should be told now; None if nothing, or if too little time passed since the last."""
        if self._told_at is not None and now - self._told_at < self._pause:
            return None
        lasting = [each for each in self._notices.values() if each.ended_at is None]
        told = [each for each in lasting if each.told_at is not None]
        begun = [each for each in lasting if each.told_at is None and now - each.since >= self._gather]
        grown = [each for each in told if self._has_grown(each, now)]
        reminded = [each for each in told if each not in grown and self._is_old_news(each, now)]
        gone = [each for each in self._notices.values() if each.ended_at is not None]
        ended = [each for each in gone if each.ended_at is not None and now - each.ended_at >= self._gather]
        if not (begun or grown or reminded or ended):
            return None
        still = [each for each in told if each not in grown and each not in reminded]
        return Message(now, tuple(begun), tuple(grown), tuple(reminded), tuple(ended), tuple(still))

    def _has_grown(self, notice: Notice, now: datetime) -> bool:
        assert notice.told_at is not None  # noqa: S101 - asked of those that were told
        return notice.measure > notice.told_measure and now - notice.told_at >= self._again

    def _is_old_news(self, notice: Notice, now: datetime) -> bool:
        assert notice.told_at is not None  # noqa: S101 - asked of those that were told
        return self._remind is not None and now - notice.told_at >= self._remind

    def told(self, message: Message) -> None:
        """Note that a message arrived."""
        self._told_at = message.at
        self.changed = True
        for each in message.ended:
            key = each.kind, each.subject
            now = self._notices.get(key)
            if now is not None and now.ended_at is not None:
                del self._notices[key]
            elif now is not None:  # it began anew meanwhile: to be told like any other
                self._notices[key] = replace(now, since=message.at, told_at=None, told_measure=0)
        for each in (*message.begun, *message.grown, *message.reminded):
            key = each.kind, each.subject
            # What ended before it was told, but after the message was made, has an end to be told.
            now = self._notices.get(key) or replace(each, ended_at=message.at)
            self._notices[key] = replace(now, told_at=message.at, told_measure=each.measure)
