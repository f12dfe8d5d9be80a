"""Commands about destinations: what waits, the result of each instance, holding back and going on."""

import getpass
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from sqlalchemy.orm import Session

from db import destinations as stored
from db.destinations import Hold, InstanceDelivery, Queue
from db.queries import Filters
from db.session import open_migrated
from db.states import DeliveryState
from node.auditing.admin import commanded
from node.cli.options import ConfigOption, JsonOption, sentences, terminal
from node.clock import utc_now
from node.delivery.destinations import transport
from node.settings.config import Config, load

Names = Annotated[list[str], typer.Argument(help="destinations")]
To = Annotated[list[str] | None, typer.Option(help="destinations; none: all")]
States = Annotated[list[DeliveryState] | None, typer.Option("--state", help="states; none: all")]


@dataclass(frozen=True, slots=True)
class _Line:
    """A destination as an admin sees it."""

    name: str
    type: str
    where: str
    hold: Hold
    queue: Queue

    @property
    def as_json(self) -> dict[str, Any]:
        """The line as plain values."""
        return {
            "name": self.name,
            "type": self.type,
            "where": self.where,
            "paused_at": _text(self.hold.paused_at),
            "reason": self.hold.reason,
            **asdict(self.queue),
            "oldest_at": _text(self.queue.oldest_at),
        }


def list_destinations(config: ConfigOption = Path("node.yaml"), as_json: JsonOption = False) -> None:
    """Say of each destination whether it is paused, and how many instances wait, were sent and failed."""
    with sentences():
        settings = load(config)
        lines = _lines(settings)
    if as_json:
        print(json.dumps([line.as_json for line in lines]))
        return
    table = Table()
    for heading in ("destination", "where", "state", "waiting", "since", "sent", "failed"):
        table.add_column(heading, overflow="fold")
    for line in lines:
        queue, held = line.queue, line.hold
        state = "goes on" if held.paused_at is None else f"paused: {held.reason}".removesuffix(": ")
        counts = (str(queue.pending), _text(queue.oldest_at) or "", str(queue.sent), str(queue.failed))
        table.add_row(f"{line.name} ({line.type})", line.where, state, *counts)
    terminal().print(table)


def deliveries(
    config: ConfigOption = Path("node.yaml"),
    to: To = None,
    states: States = None,
    study: Annotated[str | None, typer.Option(help="Study Instance UID")] = None,
    series: Annotated[str | None, typer.Option(help="Series Instance UID")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many, the latest tried first")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List what became of each instance at each destination; `--state failed` lists what was put aside."""
    with sentences():
        settings = load(config)
        database = open_migrated(settings.database.url)
        filters = Filters(study=study, series=series)
        with database.reading() as session:
            found = stored.results(session, filters, to or (), states or (), limit)
        database.close()
    if as_json:
        print(json.dumps([_plain(each) for each in found]))
        return
    table = Table()
    for heading in ("instance", "destination", "state", "tries", "last tried", "status", "answer"):
        table.add_column(heading, overflow="fold")
    for each in found:
        code = "" if each.last_status is None else f"0x{each.last_status:04X}"
        last = (_text(each.last_at) or "", code, each.last_comment or "")
        table.add_row(each.sop_instance_uid, each.destination, each.state, str(each.tries), *last)
    terminal().print(table)


def pause(
    names: Names,
    config: ConfigOption = Path("node.yaml"),
    reason: Annotated[str, typer.Option(help="why, for those who look later")] = "",
) -> None:
    """Hold destinations back: nothing is sent there, and nothing that waits becomes too old."""
    said = reason or f"by {getpass.getuser()}"
    _change(config, names, lambda session, name, now: stored.pause(session, name, said, now))


def resume(names: Names, config: ConfigOption = Path("node.yaml")) -> None:
    """Let destinations go on; all that waits for them is due at once."""
    _change(config, names, stored.resume)


def _change(config: Path, names: Sequence[str], change: Callable[[Session, str, datetime], bool]) -> None:
    """Say something of destinations, and what it changed."""
    with sentences():
        settings = load(config)
        known = [settings.destination(name).name for name in names]
        database = open_migrated(settings.database.url)
        for name in known:
            with database.session() as session:
                changed = change(session, name, utc_now())
                held = stored.hold(session, name).paused_at is not None
            commanded(settings, "pause" if held else "resume", destination=name, changed=changed)
            print(f"{name} {'is paused' if held else 'goes on'}{'' if changed else ', as before'}")
        database.close()


def _lines(settings: Config) -> list[_Line]:
    database = open_migrated(settings.database.url)
    with database.reading() as session:
        queues = stored.queues(session)
        holds = {each.name: stored.hold(session, each.name) for each in settings.destinations}
    database.close()
    return [
        _Line(
            each.name,
            each.type,
            transport(each, settings.receive.ae_title).where,
            holds[each.name],
            queues.get(each.name, Queue()),
        )
        for each in settings.destinations
    ]


def _plain(each: InstanceDelivery) -> dict[str, Any]:
    times = {"next_attempt_at": _text(each.next_attempt_at), "last_at": _text(each.last_at)}
    return asdict(each) | times


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="seconds")
