"""The ledger: what was sent and answered with Success, held against what arrived and what is kept."""

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

from node.relabelling.part10 import meta_end
from node.storage.spool import data_set_digest
from tests.relabelled import DECLARED, raw_elements


@dataclass(frozen=True)
class Counts:
    """The figures of one fault: objects sent and answered, and what must be zero."""

    sent: int = 0
    answered: int = 0
    lost: int = 0
    wrong: int = 0
    twice: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.sent + other.sent,
            self.answered + other.answered,
            self.lost + other.lost,
            self.wrong + other.wrong,
            self.twice + other.twice,
        )

    @property
    def good(self) -> bool:
        """Tell whether nothing was lost, wrong or changed, and something was sent at all."""
        return self.answered > 0 and not (self.lost or self.wrong or self.twice)


@dataclass(frozen=True)
class Sent:
    """An object as it was sent: its UID, the digest of its data set, and of what no copy may change."""

    uid: str
    digest: str
    fixed: str


@dataclass(frozen=True)
class Copy:
    """An object as an archive got it from `caller`; `kept` where it answered with Success or a warning."""

    caller: str
    uid: str
    digest: str
    fixed: str
    kept: bool


def sent(path: Path) -> Sent:
    """Describe a file that is to be sent."""
    return Sent(path.stem.split("+")[0], data_set_digest(path, meta_end(path)), fixed(path))


def fixed(path: Path) -> str:
    """Digest all top-level elements but those that a relabelled copy declares as changed."""
    digest = hashlib.sha256()
    for tag, raw in sorted(raw_elements(path).items()):
        if tag not in DECLARED:
            digest.update(raw)
    return digest.hexdigest()


@dataclass
class Ledger:
    """What senders did; safe for many threads."""

    offered: set[Sent] = field(default_factory=set)
    answered: set[Sent] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def offer(self, one: Sent) -> None:
        """Note that an object is about to be sent."""
        with self.lock:
            self.offered.add(one)

    def answer(self, one: Sent) -> None:
        """Note that it was answered with Success."""
        with self.lock:
            self.answered.add(one)

    def judge(self, copies: list[Copy], apart: set[str]) -> Counts:
        """Count; `apart` are digests of objects that the node keeps and shows without forwarding them.

        Lost: answered with Success, but no archive has it and the node does not show it. Wrong: a copy
        that is nobody's. Twice: a destination, told by its calling AE title, got one UID with two contents.
        """
        offered = {(one.uid, one.fixed) for one in self.offered}
        kept = {(copy.uid, copy.fixed) for copy in copies if copy.kept}
        contents: dict[tuple[str, str], set[str]] = {}
        for copy in copies:
            contents.setdefault((copy.caller, copy.uid), set()).add(copy.digest)
        lost = [one for one in self.answered if (one.uid, one.fixed) not in kept and one.digest not in apart]
        return Counts(
            sent=len(self.offered),
            answered=len(self.answered),
            lost=len(lost),
            wrong=len({(copy.uid, copy.digest) for copy in copies if (copy.uid, copy.fixed) not in offered}),
            twice=sum(len(digests) > 1 for digests in contents.values()),
        )
