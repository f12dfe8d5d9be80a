"""A modality that does not give up: it sends again what was not answered with Success."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from node.delivery.outgoing import Outgoing
from node.delivery.scu import Peer, connect
from node.delivery.transport import PeerError
from tests.chaos.ledger import Ledger, sent

CT = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
_PAUSE = threading.Event()


class NotAcceptedError(AssertionError):
    """The node did not take everything in time."""


def send(port: int, files: Sequence[Path], ledger: Ledger, timeout_s: float = 10.0) -> list[Path]:
    """Send once over one association; return what was not answered with Success."""
    left = list(files)
    for path in left:
        ledger.offer(sent(path))
    try:
        with connect(Peer("BODYTAG", "127.0.0.1", port, "CHAOS", timeout_s), [CT]) as sender:
            for path in files:
                if sender.store(Outgoing(path)).status == 0:
                    ledger.answer(sent(path))
                    left.remove(path)
    except (PeerError, RuntimeError, OSError):
        return left
    return left


def insist(port: int, files: Sequence[Path], ledger: Ledger, deadline_s: float = 120.0) -> None:
    """Send until everything was answered with Success."""
    end = time.monotonic() + deadline_s
    left = list(files)
    while left:
        if time.monotonic() > end:
            raise NotAcceptedError(f"{len(left)} of {len(files)} not accepted within {deadline_s:g} s")
        left = send(port, left, ledger)
        if left:
            _PAUSE.wait(0.2)
