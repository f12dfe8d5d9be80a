"""Troubles: what is wrong right now, from what the database, the disk and the node's parts say. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from db.backlog import Backlog, Waiting
from node.health import Outage
from node.settings.notify import Notify

DESTINATION_DOWN: Final = "destination_down"
QUEUE_OLD: Final = "queue_old"
PAUSED: Final = "paused"
FAILED: Final = "failed"
SERIES_WAITING: Final = "series_waiting"
PROCESS_DYING: Final = "process_dying"
DISK_LOW: Final = "disk_low"
DISK_FULL: Final = "disk_full"
DATABASE: Final = "database"

FROM_DATABASE: Final = frozenset({QUEUE_OLD, PAUSED, FAILED, SERIES_WAITING})
"""Kinds that nothing is known of while the database does not answer."""

OVER: Final[dict[str, str]] = {
    DESTINATION_DOWN: "destination {} answers again",
    QUEUE_OLD: "nothing that is old waits for {} any more",
    PAUSED: "destination {} goes on, or nothing waits for it",
    FAILED: "nothing is put aside for {} any more",
    SERIES_WAITING: "series are decided in time again",
    PROCESS_DYING: "the process {} stays alive",
    DISK_LOW: "the spool's disk has room again",
    DISK_FULL: "instances are accepted again",
    DATABASE: "the database answers again",
}
"""What is said at the end of a trouble; with its subject."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with what, in a sentence without a word of patients; `measure` counts what may grow."""

    kind: str
    subject: str
    sentence: str
    measure: int = 0


@dataclass(frozen=True, slots=True)
class Disk:
    """The spool's disk: `floor_bytes` must stay free; `quota_reached`: the spool holds what it may."""

    free_bytes: int
    floor_bytes: int
    quota_reached: bool = False


def of_backlog(found: Backlog, settings: Notify, now: datetime) -> Iterator[Trouble]:
    """Yield what is wrong with queues and series."""
    for name, waiting in found.queues.items():
        yield from _of_queue(name, waiting, settings, now)
    waits_s = _age_s(found.oldest_stable_at, now)
    if waits_s > settings.series_age_s:
        count = found.series.get("stable", 0)
        told = f"the oldest of {count} series waits to be looked at for {duration(waits_s)}"
        yield Trouble(SERIES_WAITING, "worker", told)


def _of_queue(name: str, waiting: Waiting, settings: Notify, now: datetime) -> Iterator[Trouble]:
    if waiting.failed:
        told = f"{_instances(waiting.failed)} for {name} put aside; see bodytag deliveries --state failed"
        yield Trouble(FAILED, name, told, waiting.failed)
    if not waiting.pending:
        return
    age_s, held_s = _age_s(waiting.oldest_at, now), _age_s(waiting.paused_at, now)
    if waiting.paused_at is None and age_s > settings.queue_age_s:
        told = f"of {_instances(waiting.pending)} that wait for {name} the oldest does for {duration(age_s)}"
        yield Trouble(QUEUE_OLD, name, told)
    if held_s > settings.paused_s:
        told = f"destination {name} is held back for {duration(held_s)}: {_instances(waiting.pending)} wait"
        yield Trouble(PAUSED, name, told)


def of_parts(outages: Mapping[str, Outage], deaths: Mapping[str, int], settings: Notify) -> Iterator[Trouble]:
    """Yield what is wrong with destinations and with the node's processes."""
    for name, outage in outages.items():
        if outage.for_s > settings.destination_down_s:
            told = f"destination {name} does not answer: {outage.why}"
            yield Trouble(DESTINATION_DOWN, name, told)
    for process, count in deaths.items():
        if count >= settings.deaths:
            within = duration(settings.deaths_within_s)
            yield Trouble(PROCESS_DYING, process, f"the process {process} died {count} times within {within}")


def of_disk(disk: Disk, settings: Notify) -> Iterator[Trouble]:
    """Yield that room is short, or that there is none."""
    wanted = 2 * disk.floor_bytes if settings.disk_free is None else int(settings.disk_free)
    has = f"the spool's disk has {size(disk.free_bytes)} left"
    if disk.quota_reached:
        yield Trouble(DISK_FULL, "spool", "instances are refused: the spool has reached its quota")
    elif disk.free_bytes < disk.floor_bytes:
        floor = size(disk.floor_bytes)
        yield Trouble(DISK_FULL, "spool", f"instances are refused: {has}, and {floor} must stay free")
    elif disk.free_bytes < wanted:
        yield Trouble(DISK_LOW, "spool", f"{has}; under {size(disk.floor_bytes)} instances are refused")


def of_database(why: str) -> Trouble:
    """Return that the database cannot be asked."""
    return Trouble(DATABASE, "database", f"the database does not answer: {why}")


def duration(seconds: float) -> str:
    """Say how long something lasts, in one unit."""
    for unit_s, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds:.0f} seconds"


def size(count: int) -> str:
    """Say how much something is."""
    return f"{count / 1024**3:.1f} GiB" if count >= 1024**3 // 10 else f"{count / 1024**2:.0f} MiB"


def _instances(count: int) -> str:
    return "1 instance" if count == 1 else f"{count} instances"


def _age_s(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else (now - since).total_seconds()
