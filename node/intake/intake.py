"""Intake: what every way in shares, from an encoded data set to its file in the spool."""

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from node.auditing.audit import INSTANCES_TRANSFERRED, TRANSFER_BEGUN, Event, Fact, Trail
from node.intake.identify import Identity, check_command, identify
from node.relabelling.part10 import Meta
from node.status import DATA_SET_MISMATCH, Rejection
from node.storage.draft import Draft
from node.storage.spool import SeriesKey, Spool, Stored


@dataclass(frozen=True, slots=True)
class Arrival:
    """An instance was stored: what the tracker of series needs to know; `transfer`: what it came by."""

    stored: Stored
    sop_class_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str
    transfer: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """An instance as its sender announces it; `study_instance_uid` where the sender named a study."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str
    study_instance_uid: str | None = None


def draft(spool: Spool, offer: Offer) -> Draft:
    """Begin the file of an instance whose data set is still to come."""
    meta = Meta(
        offer.sop_class_uid, offer.sop_instance_uid, offer.transfer_syntax_uid, offer.calling_ae_title
    )
    return spool.draft(meta.encode())


def take_in(spool: Spool, offer: Offer, data: memoryview, cap_bytes: int) -> Arrival:
    """Check a data set, hold it against what was announced, and store it; it is durable on return.

    `cap_bytes` limits what a deflated data set may grow to. Raises Rejection with the status to answer.
    """
    identity = _checked(offer, data, cap_bytes)
    with draft(spool, offer) as drafted:
        drafted.add(data)
        return _kept(spool, offer, drafted, data, identity)


def keep(spool: Spool, offer: Offer, drafted: Draft, data: memoryview, cap_bytes: int) -> Arrival:
    """Do what `take_in` does with a data set that was added to its draft while it came."""
    return _kept(spool, offer, drafted, data, _checked(offer, data, cap_bytes))


def _checked(offer: Offer, data: memoryview, cap_bytes: int) -> Identity:
    identity = identify(data, offer.transfer_syntax_uid, cap_bytes)
    check_command(identity, offer.sop_class_uid, offer.sop_instance_uid)
    if offer.study_instance_uid not in (None, identity.key.study_instance_uid):
        raise Rejection(DATA_SET_MISMATCH, "Study Instance UID is not that of the request")
    return identity


def _kept(spool: Spool, offer: Offer, drafted: Draft, data: memoryview, identity: Identity) -> Arrival:
    stored = spool.keep(drafted, data, identity.key, identity.sop_instance_uid)
    return Arrival(stored, identity.sop_class_uid, offer.transfer_syntax_uid, offer.calling_ae_title)


class Transfer:
    """What comes at one go, over an association or in a request, as the audit trail tells it.

    A line is written when the first instance of a study is stored, and one for each study at the end. Both
    have the same `transfer`; where a kill took the end, the beginning still says who sent what.
    """

    def __init__(self, trail: Trail, source: Mapping[str, str], called: str) -> None:
        self.stored: Counter[SeriesKey] = Counter()
        self.refused = 0
        self._studies: set[str] = set()
        self._trail = trail
        self._source = source
        self._called = called
        self.name = uuid.uuid4().hex[:12]

    def store(self, key: SeriesKey) -> None:
        """Count an instance that is safe."""
        self.stored[key] += 1
        if key.study_instance_uid not in self._studies:
            self._studies.add(key.study_instance_uid)
            self._note(TRANSFER_BEGUN, succeeded=True, study=key.study_instance_uid)

    def refuse(self) -> None:
        """Count an instance that was not taken."""
        self.refused += 1

    def end(self) -> None:
        """Write what came of it, one line for each study."""
        refused = self.refused
        studies: list[str | None] = [*sorted(self._studies)]
        for study in studies or [None]:
            of_study = {key: n for key, n in self.stored.items() if key.study_instance_uid == study}
            self._note(
                INSTANCES_TRANSFERRED,
                succeeded=not refused,
                study=study,
                series=sorted(key.series_instance_uid for key in of_study),
                instances=sum(of_study.values()),
                refused=refused,
            )
            refused = 0  # told once: a refused instance belongs to no study that can be trusted

    def _note(self, event: Event, succeeded: bool, **facts: Fact) -> None:
        called = {"ae_title": self._called}
        self._trail.note(
            event, succeeded, transfer=self.name, source=self._source, destination=called, **facts
        )


def note_found(trail: Trail, called: str, found: Mapping[SeriesKey, int]) -> None:
    """Write down what lay in the spool at a start and not in the database: a kill may have taken its line."""
    for key, count in sorted(found.items(), key=lambda item: item[0].series_instance_uid):
        trail.note(
            INSTANCES_TRANSFERRED,
            succeeded=True,
            destination={"ae_title": called},
            study=key.study_instance_uid,
            series=[key.series_instance_uid],
            instances=count,
            reason="found in the spool at start",
        )
