"""Intake: what every way in shares, from an encoded data set to its file in the spool."""

from collections.abc import Mapping
from dataclasses import dataclass

from node.auditing.audit import INSTANCES_TRANSFERRED, Trail
from node.intake.identify import check_command, identify
from node.relabelling.part10 import Meta
from node.status import DATA_SET_MISMATCH, Rejection
from node.storage.spool import SeriesKey, Spool, Stored


@dataclass(frozen=True, slots=True)
class Arrival:
    """An instance was stored: what the tracker of series needs to know of it."""

    stored: Stored
    sop_class_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str


@dataclass(frozen=True, slots=True)
class Offer:
    """An instance as its sender announces it; `study_instance_uid` where the sender named a study."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str
    study_instance_uid: str | None = None


def take_in(spool: Spool, offer: Offer, data: memoryview, cap_bytes: int) -> Arrival:
    """Check a data set, hold it against what was announced, and store it; it is durable on return.

    `cap_bytes` limits what a deflated data set may grow to. Raises Rejection with the status to answer.
    """
    identity = identify(data, offer.transfer_syntax_uid, cap_bytes)
    check_command(identity, offer.sop_class_uid, offer.sop_instance_uid)
    if offer.study_instance_uid not in (None, identity.key.study_instance_uid):
        raise Rejection(DATA_SET_MISMATCH, "Study Instance UID is not that of the request")
    meta = Meta(
        identity.sop_class_uid, identity.sop_instance_uid, offer.transfer_syntax_uid, offer.calling_ae_title
    )
    stored = spool.store(identity.key, identity.sop_instance_uid, meta.encode(), data)
    return Arrival(stored, identity.sop_class_uid, offer.transfer_syntax_uid, offer.calling_ae_title)


def note_transfer(
    trail: Trail, source: Mapping[str, str], called: str, stored: Mapping[SeriesKey, int], refused: int
) -> None:
    """Write into the audit trail what came from a source at one go, one line for each study.

    `stored` counts instances by series.
    """
    studies: list[str | None] = [*sorted({key.study_instance_uid for key in stored})]
    for study in studies or [None]:
        of_study = {key: n for key, n in stored.items() if key.study_instance_uid == study}
        trail.note(
            INSTANCES_TRANSFERRED,
            succeeded=not refused,
            source=source,
            destination={"ae_title": called},
            study=study,
            series=sorted(key.series_instance_uid for key in of_study),
            instances=sum(of_study.values()),
            refused=refused,
        )
        refused = 0  # told once: a refused instance belongs to no study that can be trusted
