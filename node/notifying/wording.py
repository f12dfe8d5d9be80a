"""The words of a message: a subject and lines for people, and the same as plain values for programs."""

import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from db.notices import Notice
from node.notifying.bulletin import Message
from node.notifying.troubles import OVER
from node.settings.config import Config
from node.version import VERSION


@dataclass(frozen=True, slots=True)
class Sender:
    """The node that speaks: its AE title, its machine, and where its page is, if anywhere."""

    ae_title: str
    host: str
    page: str | None

    @classmethod
    def of(cls, config: Config) -> "Sender":
        """Return the node of a configuration."""
        return cls(config.receive.ae_title, socket.gethostname(), config.web.url)


def subject(message: Message, sender: Sender) -> str:
    """Say the first news in a line, and how many more there are."""
    first, more = message.news[0], len(message.news) - 1
    said = OVER[first.kind].format(first.subject) if first in message.ended else first.sentence
    return f"[bodytag {sender.ae_title}] {_line(said)}{f' (and {more} more)' if more else ''}"


def text(message: Message, sender: Sender) -> str:
    """Say all of it in lines."""
    lines = [f"Node {sender.ae_title} on {sender.host}, {_utc(message.at)}", ""]
    parts = (
        ("New:", message.begun),
        ("More than was told:", message.grown),
        ("Over:", message.ended),
        ("Still:", (*message.reminded, *message.still)),
    )
    for heading, found in parts:
        if found:
            lines += [heading, *(f"- {line}" for line in _lines(found)), ""]
    if sender.page is not None:
        lines += [f"{sender.page}/dashboard", ""]
    return "\n".join(lines)


def _lines(found: Iterable[Notice]) -> Iterator[str]:
    for each in found:
        if each.ended_at is None:
            yield f"{_line(each.sentence)} (since {_utc(each.since)})"
        else:
            over = _line(OVER[each.kind].format(each.subject))
            yield f"{over} ({_utc(each.since)} to {_utc(each.ended_at)})"


def values(message: Message, sender: Sender) -> dict[str, Any]:
    """Return it as plain values; `text` is what chat programs show."""
    data = {name: [_plain(each) for each in getattr(message, name)] for name in
            ("begun", "grown", "reminded", "ended", "still")}  # fmt: skip
    node = {"ae_title": sender.ae_title, "host": sender.host, "version": VERSION}
    return {
        "type": "bodytag.troubles",
        "timestamp": message.at.astimezone(UTC).isoformat(),
        "text": f"{subject(message, sender)}\n{text(message, sender)}",
        "data": {"node": node, **data},
    }


def _plain(notice: Notice) -> dict[str, Any]:
    ended_at = notice.ended_at
    return {
        "kind": notice.kind,
        "subject": notice.subject,
        "sentence": notice.sentence,
        "count": notice.measure or None,
        "since": notice.since.astimezone(UTC).isoformat(),
        "ended_at": None if ended_at is None else ended_at.astimezone(UTC).isoformat(),
    }


def _line(told: str) -> str:
    """Put on one line what may quote a peer."""
    return " ".join(told.split())


def _utc(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
