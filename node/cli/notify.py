"""The command that tries out how admins are told."""

import json
import sys
from pathlib import Path
from typing import Final

import typer

from db.notices import Notice
from node.auditing.admin import commanded
from node.cli.options import ConfigOption, JsonOption, sentences
from node.clock import utc_now
from node.notifying.bulletin import Message
from node.notifying.ways import NotSent, Way, configured
from node.notifying.wording import Sender
from node.settings.config import load

_TRIAL: Final = "this is a trial by `bodytag notify`; nothing is wrong"


def notify(config: ConfigOption = Path("node.yaml"), as_json: JsonOption = False) -> None:
    """Send a trial message by every way of the section notify, and say which arrived."""
    with sentences():
        settings = load(config)
        commanded(settings, "notify")
        ways = [*configured(settings.notify, Sender.of(settings))]
    if not ways:
        print("error: notify names neither email nor webhooks", file=sys.stderr)
        raise typer.Exit(1)
    now = utc_now()
    message = Message(now, begun=(Notice("trial", "notify", _TRIAL, 0, now),))
    failures = {way.name: _failure(way, message) for way in ways}
    if as_json:
        print(
            json.dumps([{"way": way, "sent": not why, "error": why or None} for way, why in failures.items()])
        )
    else:
        print("\n".join(f"{way}: {why or 'sent'}" for way, why in failures.items()))
    if any(failures.values()):
        raise typer.Exit(1)


def _failure(way: Way, message: Message) -> str:
    """Send; return why that did not work, "" where it did."""
    try:
        way.send(message)
    except NotSent as error:
        return str(error)
    return ""
