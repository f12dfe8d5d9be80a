"""The words between the node and a process that receives for it: what they tell and ask each other.

Tuples of plain values, since one goes with every instance. `visit` is the number of a connection, which the
node gives; `ticket` is that of a question, which whoever asks gives.
"""

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from node.intake.intake import Arrival
from node.storage.spool import SeriesKey, Stored

if TYPE_CHECKING:
    from db.commitments import CommitmentWork
    from node.auditing.audit import Event, Fact
    from node.intake.commitment_wire import Action
    from node.intake.office import Refusal


class Ready(NamedTuple):
    """To the node: connections may come."""


class Came(NamedTuple):
    """From the node, with the connection: somebody came; `secure` by the port that speaks TLS."""

    visit: int
    peer: Any
    secure: bool


class Asks(NamedTuple):
    """To the node: may a peer in that asked for an association?"""

    visit: int
    ae_title: str
    shown: frozenset[str]


class Decided(NamedTuple):
    """From the node: the answer."""

    visit: int
    refusal: "Refusal | None"


class Left(NamedTuple):
    """To the node: a connection has ended."""

    visit: int


class Taken(NamedTuple):
    """To the node: an instance is durable, and its sender will be told next."""

    study: str
    series: str
    sop_instance_uid: str
    path: str
    sha256: str
    size_bytes: int
    duplicate: bool
    sop_class_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str
    transfer: str
    seconds: float

    @classmethod
    def of(cls, arrival: Arrival, seconds: float) -> Self:
        """Tell of an arrival."""
        stored, key = arrival.stored, arrival.stored.key
        return cls(
            key.study_instance_uid,
            key.series_instance_uid,
            stored.sop_instance_uid,
            stored.path,
            stored.sha256,
            stored.size_bytes,
            stored.duplicate,
            arrival.sop_class_uid,
            arrival.transfer_syntax_uid,
            arrival.calling_ae_title,
            arrival.transfer,
            seconds,
        )

    @property
    def arrival(self) -> Arrival:
        """Return the arrival that was told of."""
        key = SeriesKey(self.study, self.series)
        stored = Stored(key, self.sop_instance_uid, self.path, self.sha256, self.size_bytes, self.duplicate)
        return Arrival(
            stored, self.sop_class_uid, self.transfer_syntax_uid, self.calling_ae_title, self.transfer
        )


class Refused(NamedTuple):
    """To the node: an instance was not taken."""

    status: int
    seconds: float | None


class Released(NamedTuple):
    """To the node: an association was released, by which these series came."""

    keys: frozenset[SeriesKey]


class Alerted(NamedTuple):
    """To the node: a peer tried something."""

    what: str
    address: str
    event: "Event"
    facts: "dict[str, Fact]"


class Short(NamedTuple):
    """To the node: memory is short, and the most of it is held elsewhere."""


class Relieve(NamedTuple):
    """From the node: memory is short, and the most of it is held here."""


class Acts(NamedTuple):
    """To the node: a peer asks for storage commitment."""

    ticket: int
    action: "Action"


class Acted(NamedTuple):
    """From the node: the status for it, and a comment."""

    ticket: int
    status: int
    comment: str


class Report(NamedTuple):
    """From the node: send this report on the association on which it was asked for, by that ticket."""

    ticket: int
    asked: int
    work: "CommitmentWork"
    timeout_s: float


class Reported(NamedTuple):
    """To the node: the status that the peer answered, or why there is none."""

    ticket: int
    status: int | None
    why: str


class Stop(NamedTuple):
    """From the node: abort what is open, and end."""
