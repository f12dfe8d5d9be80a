"""What a forwarder needs of a destination, whatever it speaks: connect, store, ask back."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

if TYPE_CHECKING:
    from node.delivery.outgoing import Outgoing

Context = tuple[str, str]
"""Abstract syntax and transfer syntax UID."""

_IDENTIFYING: Final = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "BodyPartExamined"]


class PeerError(Exception):
    """The peer could not be reached, refused, or broke off; the message is one sentence.

    It concerns the peer as a whole. `pause_s`: it asked to be left alone for so long, 0 if it did not.
    """

    def __init__(self, message: str, pause_s: float = 0.0) -> None:
        super().__init__(message)
        self.pause_s = pause_s


class RefusedError(Exception):
    """The peer does not take this one instance, without a DICOM status; the message says why.

    `final`: trying again would bring the same.
    """

    def __init__(self, message: str, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class SyntaxRefusedError(RefusedError):
    """The peer does not take the instance's transfer syntax."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The peer's response to one instance: a C-STORE status (PS3.4 Table B.2-1), and what it says to that.

    `transcoded`: the peer refused the instance's own transfer syntax and got another.
    """

    status: int
    comment: str
    transcoded: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """What an instance that was sent calls itself; "" where it says nothing."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    body_part: str


def idle() -> None:
    """Do nothing."""


class Sender(Protocol):
    """An open connection to a peer."""

    def accepts(self, context: Context) -> bool:
        """Tell whether the peer takes such instances, as far as that is known before one is sent."""

    def store(self, what: "Outgoing", meanwhile: Callable[[], None] = idle) -> Answer:
        """Send one instance; raises PeerError, RefusedError or SyntaxRefusedError.

        `meanwhile` may be done while the peer still has to answer; not every way to a peer does.
        """


class Transport(Protocol):
    """A way to a peer; used by many threads at once."""

    @property
    def where(self) -> str:
        """Name the peer and its address in a sentence."""

    def connect(self, contexts: Collection[Context]) -> AbstractContextManager[Sender]:
        """Open a connection for instances of these contexts; raises PeerError."""

    def echo(self) -> str:
        """Ask the peer for a sign of life: "success", or what is wrong; raises PeerError."""

    def find(self, sent: Collection[Identity]) -> Mapping[str, str]:
        """Ask which of these instances it has: Body Part Examined by SOP Instance UID; raises PeerError.

        The value is "" where the peer does not tell.
        """


def identity(path: Path) -> Identity:
    """Read what a Part 10 file calls itself; raises RefusedError where it cannot be read."""
    try:
        data_set = dcmread(path, stop_before_pixels=True, specific_tags=_IDENTIFYING)
        return Identity(*(str(data_set.get(keyword) or "") for keyword in _IDENTIFYING))
    except (InvalidDicomError, AttributeError, ValueError, KeyError, NotImplementedError) as error:
        raise RefusedError(f"what was sent cannot be read: {error}") from error
