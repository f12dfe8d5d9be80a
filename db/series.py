"""Series: registering stable ones and late instances, and finding the next one to classify."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from db.columns import clean_key
from db.deliveries import create, late_routes
from db.moves import insert_unless_there, lock_series, move
from db.records import InstanceFacts, Route, SeriesFacts
from db.states import DECIDED, State
from db.tables import Crash, Instance, Series
from db.words import is_stored, refresh

DUPLICATE: Final = "duplicate: the same content came under another path"
"""Kept beside the conflicts, so that the file counts as known, but no conflict: nothing is lost."""

_Judged = tuple[InstanceFacts, str | None]
"""A file, and why it is in conflict."""

_CHUNK: Final = 500
"""UIDs asked for in one statement, far under the limits of both databases."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What registering did: SOP Instance UIDs added, those in conflict, and whether the added came late.

    `first`: nothing of the series was registered before.
    """

    series_id: int
    added: tuple[str, ...]
    conflicts: tuple[str, ...]
    late: bool
    first: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class _Owner:
    """Who holds a SOP Instance UID."""

    series_id: int
    series_instance_uid: str
    path: str
    sha256: str


def register(
    session: Session,
    facts: SeriesFacts,
    instances: Sequence[InstanceFacts],
    routes: Sequence[Route],
    now: datetime,
) -> Registered:
    """Register a series or add to it; files that are known by their path are left alone.

    Instances that come after the decision get their deliveries at once, with the stored decision and the
    policy that the series has at each destination, and take the series back to `classified`.
    """
    series_id, state, first = _ensure(session, facts, now)
    known = known_paths(session, facts.study_instance_uid, facts.series_instance_uid)
    new = {one.path: replace(one, sop_instance_uid=clean_key(one.sop_instance_uid)) for one in instances}
    rows = _insert(session, facts, series_id, [one for path, one in new.items() if path not in known], now)
    added = tuple(one.sop_instance_uid for one, conflict in rows if conflict is None)
    late = bool(added) and state in DECIDED
    if late:
        _arm_late(
            session, series_id, state, {one.path for one, conflict in rows if conflict is None}, routes, now
        )
    conflicts = tuple(one.sop_instance_uid for one, conflict in rows if conflict not in (None, DUPLICATE))
    return Registered(series_id, added, conflicts, late, first)


def _ensure(session: Session, facts: SeriesFacts, now: datetime) -> tuple[int, State, bool]:
    """Insert the series unless it is there, and lock it; it can be searched for from here on.

    Returns its number, its state, and whether it has no files yet.
    """
    empty = {"files": 0, "registered": 0, "paired": False, "flags": [], "review": False}
    row = {**asdict(facts), **empty, "state": State.STABLE, "changed_at": now, "received_at": now}
    insert_unless_there(session, Series, [row])
    found = session.execute(
        select(Series.id, Series.state, Series.registered)
        .where(
            Series.study_instance_uid == facts.study_instance_uid,
            Series.series_instance_uid == facts.series_instance_uid,
        )
        .with_for_update(key_share=True)
    ).one()
    if not is_stored(session, found.id):
        refresh(session, found.id)
    return found.id, State(found.state), not found.registered


def _insert(
    session: Session, facts: SeriesFacts, series_id: int, new: Sequence[InstanceFacts], now: datetime
) -> list[_Judged]:
    """Insert new files and return each with its conflict.

    A SOP Instance UID that another series takes in the same moment makes the insert yield; the file is
    then judged again, and the other series' row can be seen. Sorted, so that two cannot wait for each other.
    """
    done: list[_Judged] = []
    left = sorted(new, key=lambda one: (one.sop_instance_uid, one.path))
    while left:
        owners = _owners(session, [one.sop_instance_uid for one in left])
        judged = list(_judge(facts, series_id, left, owners))
        insert_unless_there(session, Instance, [_row(series_id, one, why, now) for one, why in judged])
        there = _paths(session, series_id)
        done += [(one, why) for one, why in judged if one.path in there]
        left = [one for one, _ in judged if one.path not in there]
    more = {"files": Series.files + len(done), "registered": Series.registered + len(done)}
    counted = update(Series).where(Series.id == series_id).values(more)
    session.execute(counted.execution_options(synchronize_session=False))
    return done


def _owners(session: Session, uids: Sequence[str]) -> dict[str, _Owner]:
    """Find who holds these SOP Instance UIDs already, in any series."""
    owners: dict[str, _Owner] = {}
    columns = (
        Instance.sop_instance_uid,
        Instance.series_id,
        Series.series_instance_uid,
        Instance.path,
        Instance.sha256,
    )
    for start in range(0, len(uids), _CHUNK):
        rows = session.execute(
            select(*columns)
            .join(Series, Series.id == Instance.series_id)
            .where(Instance.sop_instance_uid.in_(uids[start : start + _CHUNK]), Instance.conflict.is_(None))
        )
        owners |= {row[0]: _Owner(*row[1:]) for row in rows}
    return owners


def _judge(
    facts: SeriesFacts, series_id: int, new: Sequence[InstanceFacts], owners: dict[str, _Owner]
) -> Iterator[_Judged]:
    """Tell for each file what it is in conflict with, None if it may be classified and delivered."""
    for one in new:
        owner = owners.get(one.sop_instance_uid)
        if owner is None:
            owners[one.sop_instance_uid] = _Owner(series_id, facts.series_instance_uid, one.path, one.sha256)
            yield one, None
        elif owner.series_id != series_id:
            yield one, f"the series {owner.series_instance_uid} has this SOP Instance UID already"
        elif owner.sha256 == one.sha256:
            yield one, DUPLICATE
        else:
            yield one, f"other content under the SOP Instance UID of {owner.path}"


def _row(series_id: int, one: InstanceFacts, conflict: str | None, now: datetime) -> dict[str, object]:
    return {
        **asdict(one),
        "series_id": series_id,
        "conflict": conflict,
        "registered_at": now,
        "judged": False,
    }


def _arm_late(
    session: Session,
    series_id: int,
    state: State,
    late: Collection[str],
    routes: Sequence[Route],
    now: datetime,
) -> None:
    """Create the deliveries of late instances and take the series back to `classified` for them."""
    rows = session.execute(
        select(Instance.id, Instance.path).where(Instance.series_id == series_id, Instance.conflict.is_(None))
    )
    ids = [row.id for row in rows if row.path in late]
    taken = late_routes(session, series_id, routes)
    create(session, series_id, ids, taken, now)
    if state is not State.CLASSIFIED and taken:
        move(session, series_id, state, State.CLASSIFIED, now)


def _paths(session: Session, series_id: int) -> frozenset[str]:
    return frozenset(session.scalars(select(Instance.path).where(Instance.series_id == series_id)))


def known_paths(session: Session, study_uid: str, series_uid: str) -> frozenset[str]:
    """Return the paths of all registered files of a series, those in conflict too."""
    return frozenset(
        session.scalars(
            select(Instance.path)
            .join(Series, Series.id == Instance.series_id)
            .where(Series.study_instance_uid == study_uid, Series.series_instance_uid == series_uid)
        )
    )


def instance_counts(session: Session) -> dict[tuple[str, str], int]:
    """Count the registered files of every series, by (study UID, series UID); those in conflict too."""
    rows = session.execute(select(Series.study_instance_uid, Series.series_instance_uid, Series.files))
    return {(study_uid, series_uid): files for study_uid, series_uid, files in rows}


def next_stable(session: Session, exclude: Collection[int] = ()) -> int | None:
    """Return the oldest series that waits to be classified and is not excluded."""
    waiting = select(func.min(Series.id)).where(Series.state == State.STABLE)
    return session.scalar(waiting.where(Series.id.not_in(exclude)) if exclude else waiting)


def paths(session: Session, series_id: int) -> tuple[str, ...]:
    """Return the paths of a series' files without those in conflict, in the order of registration."""
    return tuple(
        session.scalars(
            select(Instance.path)
            .where(Instance.series_id == series_id, Instance.conflict.is_(None))
            .order_by(Instance.id)
        )
    )


def state_of(session: Session, series_id: int) -> State | None:
    """Return where a series stands; None if there is no such series."""
    found = session.scalar(select(Series.state).where(Series.id == series_id))
    return None if found is None else State(found)


def facts(session: Session, series_id: int) -> SeriesFacts:
    """Return what the headers of a series say, as it was registered."""
    columns = [getattr(Series, name) for name in SeriesFacts.__dataclass_fields__]
    row = session.execute(select(*columns).where(Series.id == series_id)).one()
    return SeriesFacts(*row)


def crashes_since(session: Session, now: datetime, within_s: float) -> int:
    """Count the crashes of workers within the last so many seconds."""
    recent = select(func.count()).where(Crash.at >= now - timedelta(seconds=within_s))
    return session.scalar(recent) or 0


def record_crash(session: Session, series_id: int, reason: str, now: datetime) -> int:
    """Write down that a worker crashed over an undecided series; returns how often one did."""
    if lock_series(session, series_id) is State.STABLE:
        session.execute(insert(Crash), [{"series_id": series_id, "at": now, "reason": reason}])
    counted = session.scalar(select(func.count()).where(Crash.series_id == series_id))
    return counted or 0
