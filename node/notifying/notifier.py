"""The notifier: looks at the node now and then, and lets each way tell its admins what changed."""

import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from db.backlog import backlog
from db.notices import forget, keep, notices
from db.session import Database
from node import metrics
from node.clock import utc_now
from node.health import Health
from node.notifying import troubles
from node.notifying.bulletin import Bulletin, Message
from node.notifying.troubles import Disk, Trouble
from node.notifying.ways import LOG, NotSent, ToLog, Way
from node.settings.notify import Notify

log = structlog.get_logger()

_FIRST_PAUSE: Final = timedelta(seconds=30)
_LONGEST_PAUSE: Final = timedelta(minutes=10)


class Post:
    """One way with its bulletin; a message is sent in a thread of its own, so a slow server delays nobody.

    What did not arrive is not kept: the bulletin still holds it as untold, and the next message has it as it
    is by then. So an outage of the mail server ends with one message, not with a queue.
    """

    def __init__(self, way: Way, settings: Notify, database: Database) -> None:
        self._way = way
        self._settings = settings
        self._database = database
        self._bulletin: Bulletin | None = None
        self._sending: threading.Thread | None = None
        self._message: Message | None = None
        self._arrived = False
        self._pause = _FIRST_PAUSE
        self._not_before: datetime | None = None

    def step(self, found: Iterable[Trouble], unknown: frozenset[str], now: datetime) -> None:
        """Take what is wrong now, and begin to tell what is due."""
        bulletin = self._opened()
        bulletin.observe(found, unknown, now)
        if self._settled(bulletin, now) and (self._not_before is None or now >= self._not_before):
            message = bulletin.due(now)
            if message is not None:
                self._begin(message)
        self._keep(bulletin)

    def wait(self, timeout_s: float) -> None:
        """Wait for the message that is under way, if one is."""
        if self._sending is not None:
            self._sending.join(timeout_s)

    def _begin(self, message: Message) -> None:
        self._message, self._arrived = message, False
        self._sending = threading.Thread(
            target=self._send, args=(message,), name=f"notify {self._way.name}", daemon=True
        )
        self._sending.start()

    def _send(self, message: Message) -> None:
        try:
            self._way.send(message)
        except NotSent as error:
            log.error("admins are not told", way=self._way.name, reason=str(error))
        else:
            self._arrived = True

    def _settled(self, bulletin: Bulletin, now: datetime) -> bool:
        """Note how the last message ended; False while it is under way."""
        if self._sending is None or self._message is None:
            return True
        if self._sending.is_alive():
            return False
        metrics.NOTIFICATIONS.labels(self._way.name, "sent" if self._arrived else "failed").inc()
        if self._arrived:
            bulletin.told(self._message)
            self._pause, self._not_before = _FIRST_PAUSE, None
        else:
            self._not_before = now + self._pause
            self._pause = min(_LONGEST_PAUSE, 2 * self._pause)
        self._sending = self._message = None
        return True

    def _opened(self) -> Bulletin:
        """Take up what was told before a restart; where nobody knows, it is told again."""
        if self._bulletin is None:
            try:
                with self._database.reading() as session:
                    found = notices(session, self._way.name)
            except SQLAlchemyError:
                found = ()
            self._bulletin = Bulletin(self._settings, found)
        return self._bulletin

    def _keep(self, bulletin: Bulletin) -> None:
        if not bulletin.changed:
            return
        try:
            with self._database.session() as session:
                keep(session, self._way.name, bulletin.notices)
        except SQLAlchemyError as error:
            log.warning("what admins are told cannot be kept; tried again", reason=type(error).__name__)
        else:
            bulletin.changed = False


class Notifier:
    """Looks at everything every `check_s`; one loop."""

    def __init__(
        self,
        settings: Notify,
        database: Database,
        health: Health,
        disk: Callable[[], Disk],
        ways: Sequence[Way],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`disk` says how the spool's disk is, or raises OSError; beside the `ways` the log is told."""
        self._settings = settings
        self._database = database
        self._health = health
        self._disk = disk
        self._names = [LOG, *(way.name for way in ways)]
        at_once = settings.model_copy(update={"pause_s": 0.0, "remind_s": None})
        self._posts = [Post(ToLog(), at_once, database), *(Post(way, settings, database) for way in ways)]
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set."""
        self._forget()
        while not stop.wait(self._settings.check_s):
            try:
                self.look()
            except Exception:
                log.exception("the notifier failed; it goes on")

    def look(self) -> None:
        """Look once, and let every way begin to tell what is due."""
        now = self._clock()
        found, unknown = self._troubles(now)
        for post in self._posts:
            post.step(found, unknown, now)

    def wait(self, timeout_s: float) -> None:
        """Wait for the messages that are under way."""
        for post in self._posts:
            post.wait(timeout_s)

    def _troubles(self, now: datetime) -> tuple[list[Trouble], frozenset[str]]:
        """Return what is wrong, and the kinds of which nothing is known."""
        settings, health = self._settings, self._health
        deaths = health.deaths(settings.deaths_within_s)
        found = [*troubles.of_parts(health.outages(), deaths, settings)]
        unknown: frozenset[str] = frozenset()
        try:
            found += troubles.of_disk(self._disk(), settings)
        except OSError as error:
            log.error("the spool's disk cannot be looked at", reason=error.strerror)
            unknown |= {troubles.DISK_LOW, troubles.DISK_FULL}
        try:
            with self._database.reading() as session:
                found += troubles.of_backlog(backlog(session), settings, now)
        except SQLAlchemyError as error:
            found.append(troubles.of_database(type(error).__name__))
            unknown |= troubles.FROM_DATABASE
        return found, unknown

    def _forget(self) -> None:
        try:
            with self._database.session() as session:
                forget(session, self._names)
        except SQLAlchemyError as error:
            log.warning("notices cannot be read", reason=type(error).__name__)
