"""Deliveries: what is due for a destination, how each try ended, and sending again.

One call a transaction: each locks the series of its delivery, and two transactions that lock several
series in different orders would wait for each other.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, case, exists, insert, literal, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.corrections import ranges_of
from db.moves import PENDING, insert_unless_there, lock_series, move, settle
from db.records import DeliveryWork, Route
from db.sent import counted
from db.states import DECIDED, DeliveryState, State
from db.tables import Attempt, CorrectionRow, Delivery, Instance, Series
from rules.correction import Range, region_at
from rules.site import SITE


def _by(verdict: InstrumentedAttribute[Any], said: ColumnElement[Any] | InstrumentedAttribute[Any]) -> Any:
    """Choose what the copies of a delivery follow: the verdict, or a correction."""
    return case((Delivery.correction_id.is_(None), verdict), else_=said).label(verdict.key)


_WORK = (
    Delivery.id.label("delivery_id"),
    Delivery.series_id,
    Instance.sop_instance_uid,
    Instance.sop_class_uid,
    Instance.transfer_syntax_uid,
    Instance.path,
    Delivery.policy,
    Delivery.attempts,
    Delivery.armed_at,
    Delivery.correction_id,
    _by(Series.decided_at, CorrectionRow.made_at),
    _by(Series.term, CorrectionRow.term),
    _by(Series.code_value, CorrectionRow.code_value),
    _by(Series.code_meaning, CorrectionRow.code_meaning),
    _by(Series.paired, CorrectionRow.paired),
    _by(Series.confidence, literal(1.0)),
    _by(Series.software_version, CorrectionRow.software_version),
    Series.rule,
    Series.weights_digest,
    Instance.region.label("image_region"),
    Instance.frames,
    Instance.z_mm,
)
"""What a DeliveryWork is made of; of the frames it has the regions alone, of the rule what it entails."""

_ENTAILS: Final = frozenset({"frames", "rule", "z_mm"})

ANY: Final = -1
"""No number of a correction: a result that holds whatever the copy was made by."""


def create(
    session: Session, series_id: int, instance_ids: Sequence[int], routes: Sequence[Route], now: datetime
) -> None:
    """Create the deliveries of instances, pending and due at once; those that exist are left as they are."""
    fixed = {"series_id": series_id, "state": DeliveryState.PENDING, "attempts": 0, "tries": 0}
    times = {"created_at": now, "armed_at": now, "next_attempt_at": now}
    insert_unless_there(
        session,
        Delivery,
        [
            {"instance_id": instance_id, "destination": route.destination, "policy": route.policy}
            | {"correction_id": route.correction_id}
            | fixed
            | times
            for route in routes
            for instance_id in instance_ids
        ],
    )


def decided_routes(session: Session, series_id: int, routes: Sequence[Route]) -> list[Route]:
    """Return the routes with the decision that the series has at each destination, if it has any there.

    So what is created by resending is treated as the rest of its series was.
    """
    decided = _decisions(session, series_id)
    return [decided.get(route.destination, route) for route in routes]


def late_routes(session: Session, series_id: int, routes: Sequence[Route]) -> list[Route]:
    """Return the routes that the rest of the series took, with its decisions; all where it took none.

    A site rule may have kept the series from a destination; a late instance must not go there alone.
    """
    decided = _decisions(session, series_id)
    wanted = [route for route in routes if route.destination in decided] if decided else routes
    return [decided.get(route.destination, route) for route in wanted]


def _decisions(session: Session, series_id: int) -> dict[str, Route]:
    """Return the decision that a series has at each destination; the latest, where files were removed."""
    columns = (Delivery.destination, Delivery.policy, Delivery.correction_id)
    rows = session.execute(
        select(*columns)
        .where(Delivery.series_id == series_id)
        .distinct()
        .order_by(Delivery.correction_id.asc().nulls_first(), Delivery.policy.desc())
    )
    return {row.destination: Route(*row) for row in rows}


def due(
    session: Session,
    destination: str,
    now: datetime,
    limit: int,
    latest: datetime | None = None,
    among: Collection[int] | None = None,
) -> tuple[DeliveryWork, ...]:
    """Return what may be sent to a destination now, at most `limit`, the oldest first, series by series.

    With `latest`, also what is put off beyond it: so a clock that was set back holds nothing up. With `among`
    only what belongs to these series.
    """
    when = Delivery.next_attempt_at <= now
    if latest is not None:
        when |= Delivery.next_attempt_at > latest
    if among is not None:
        when &= Delivery.series_id.in_(among)
    rows = session.execute(
        select(*_WORK)
        .join(Instance, Instance.id == Delivery.instance_id)
        .join(Series, Series.id == Delivery.series_id)
        .outerjoin(CorrectionRow, CorrectionRow.id == Delivery.correction_id)
        .where(Delivery.destination == destination, PENDING, when)
        .order_by(Delivery.next_attempt_at, Delivery.series_id, Delivery.id)
        .limit(limit)
    )
    found = rows.mappings().all()
    said = ranges_of(session, {row["correction_id"] for row in found} - {None})
    by_series: dict[int, list[DeliveryWork]] = {}
    for row in found:
        work = _work(row, said.get(row["correction_id"]))
        by_series.setdefault(work.series_id, []).append(work)
    return tuple(work for together in by_series.values() for work in together)


def _work(row: RowMapping, said: Sequence[Range] | None) -> DeliveryWork:
    frames = row["frames"] or ()
    regions = tuple(frame["region"] for frame in frames)
    work = DeliveryWork(
        **{name: value for name, value in row.items() if name not in _ENTAILS}, frame_regions=regions
    )
    if said is not None:
        shown = tuple(region_at(said, frame.get("z_mm")) for frame in frames)
        image = None if frames else region_at(said, row["z_mm"])
        return replace(work, image_region=image, frame_regions=shown, weights_digest=None)
    if str(row["rule"]).startswith(SITE):  # what the images show might contradict the site's term
        return replace(work, image_region=None, frame_regions=())
    return work


def wanting(session: Session, series_id: int) -> frozenset[str]:
    """Return the destinations that wait for something of a series."""
    waits = select(Delivery.destination).where(Delivery.series_id == series_id, PENDING).distinct()
    return frozenset(session.scalars(waits))


def next_due_at(session: Session, destination: str) -> datetime | None:
    """Return when the next delivery to a destination is due; None if none is pending."""
    return session.scalar(
        select(Delivery.next_attempt_at)
        .where(Delivery.destination == destination, PENDING)
        .order_by(Delivery.next_attempt_at)
        .limit(1)
    )


def succeeded(
    session: Session,
    delivery_id: int,
    status: int,
    now: datetime,
    comment: str = "",
    made_by: int | None = ANY,
) -> bool:
    """Record that an instance was stored, perhaps with a warning (`status` 0x0000 or 0xBxxx).

    Returns False, and changes nothing, if the delivery was settled before, or if a person has corrected the
    series since the copy was made, by the correction `made_by` or by the verdict (None): another is to go.
    """
    return _settled(session, delivery_id, DeliveryState.SENT, status, comment, now, made_by)


def failed(
    session: Session,
    delivery_id: int,
    status: int | None,
    comment: str,
    now: datetime,
    made_by: int | None = ANY,
) -> bool:
    """Record that a delivery failed for good; False, and nothing changed, as `succeeded` has it."""
    return _settled(session, delivery_id, DeliveryState.FAILED, status, comment, now, made_by)


def postponed(
    session: Session,
    delivery_id: int,
    status: int | None,
    comment: str,
    next_attempt_at: datetime,
    now: datetime,
) -> bool:
    """Record a try that failed for now; False, and nothing changed, if the delivery was settled before."""
    return _tried(session, delivery_id, status, comment, now, {"next_attempt_at": next_attempt_at})


def _settled(
    session: Session,
    delivery_id: int,
    state: DeliveryState,
    status: int | None,
    comment: str,
    now: datetime,
    made_by: int | None,
) -> bool:
    series_id = session.scalar(select(Delivery.series_id).where(Delivery.id == delivery_id))
    if series_id is None:
        return False
    lock_series(session, series_id)
    follows = session.scalar(select(Delivery.correction_id).where(Delivery.id == delivery_id))
    if made_by not in (ANY, follows):
        return False
    if not _tried(session, delivery_id, status, comment, now, {"state": state}):
        return False
    settle(session, series_id, now)
    return True


def _tried(
    session: Session,
    delivery_id: int,
    status: int | None,
    comment: str,
    now: datetime,
    changes: dict[str, Any],
) -> bool:
    """Count a try of a pending delivery and write it down."""
    number = session.scalar(
        update(Delivery)
        .where(Delivery.id == delivery_id, PENDING)
        .values(counted(status, comment, now) | changes)
        .returning(Delivery.tries)
        .execution_options(synchronize_session=False)
    )
    if number is None:
        return False
    attempt = {"delivery_id": delivery_id, "number": number, "at": now, "status": status, "comment": comment}
    session.execute(insert(Attempt), [attempt])
    return True


def skip_destinations(session: Session, keep: Collection[str], now: datetime) -> int:
    """Fail what is pending for destinations that are no longer configured; returns how many deliveries."""
    gone = PENDING & Delivery.destination.not_in(keep)
    skipped = 0
    for series_id in session.scalars(
        select(Delivery.series_id).where(gone).distinct().order_by(Delivery.series_id)
    ).all():
        lock_series(session, series_id)
        names = session.scalars(
            select(Delivery.destination).where(Delivery.series_id == series_id, gone).distinct()
        )
        for name in names.all():
            comment = f"destination {name} is no longer configured"
            skipped += _change(
                session,
                (Delivery.series_id == series_id) & (Delivery.destination == name) & PENDING,
                {"state": DeliveryState.FAILED, "last_status": None, "last_comment": comment, "last_at": now},
            )
        settle(session, series_id, now)
    return skipped


def resend(
    session: Session,
    series_ids: Sequence[int],
    destinations: Collection[str] | None,
    only_failed: bool,
    routes: Sequence[Route],
    now: datetime,
) -> int:
    """Arm deliveries again, due at once and with their age counted from now; returns how many.

    Only destinations of `routes` count, and of these those in `destinations` (None: all). Unless
    `only_failed`, what was sent goes again, and what a newly configured destination never got is created.
    What a destination has got before goes again as it was: the policy of a route counts only where the
    series has no delivery to that destination yet. Series without a decision are left alone, and so are
    instances whose files retention has removed.
    """
    wanted = [route for route in routes if destinations is None or route.destination in destinations]
    armed = 0
    for series_id in sorted(set(series_ids)):
        state = lock_series(session, series_id)
        if state not in DECIDED:
            continue
        decided = decided_routes(session, series_id, wanted)
        count = sum(_rearm(session, series_id, route, only_failed, now) for route in decided)
        if count and state is not State.CLASSIFIED:
            move(session, series_id, state, State.CLASSIFIED, now)
        armed += count
    return armed


def deliver_anew(session: Session, series_id: int, routes: Sequence[Route], now: datetime) -> int:
    """Send a decided series again, everything of it, by the decisions of the routes; returns how many.

    What the destinations got before is replaced there as far as they replace anything; instances whose
    files retention has removed are left alone.
    """
    state = lock_series(session, series_id)
    if state not in DECIDED:
        return 0
    armed = sum(_rearm(session, series_id, route, False, now, anew=True) for route in routes)
    if armed and state is not State.CLASSIFIED:
        move(session, series_id, state, State.CLASSIFIED, now)
    return armed


def _rearm(
    session: Session, series_id: int, route: Route, only_failed: bool, now: datetime, anew: bool = False
) -> int:
    """Arm the deliveries of a series to one destination again, and create missing ones if asked to."""
    kept = select(Instance.id).where(Instance.series_id == series_id, Instance.removed_at.is_(None))
    mine = Delivery.instance_id.in_(kept) & (Delivery.destination == route.destination)
    changes: dict[str, Any] = {
        "state": DeliveryState.PENDING,
        "attempts": 0,
        "armed_at": now,
        "next_attempt_at": now,
    }
    if anew:
        changes |= {"policy": route.policy, "correction_id": route.correction_id}
    if only_failed:
        return _change(session, mine & (Delivery.state == DeliveryState.FAILED), changes)
    there = exists().where(Delivery.instance_id == Instance.id, Delivery.destination == route.destination)
    missing = session.scalars(kept.where(Instance.conflict.is_(None), ~there)).all()
    armed = _change(session, mine, changes)
    create(session, series_id, missing, [route], now)
    return armed + len(missing)


def _change(session: Session, which: ColumnElement[bool], changes: dict[str, Any]) -> int:
    """Change deliveries and return how many."""
    changed = update(Delivery).where(which).values(changes).returning(Delivery.id)
    return len(session.scalars(changed.execution_options(synchronize_session=False)).all())
