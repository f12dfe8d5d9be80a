"""Reading back: asking a destination, until it knows them, for instances that it said it stored."""

import threading
import time
from collections.abc import Collection
from typing import Final

from node.delivery.transport import Identity, PeerError, Transport

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0


def read_back(
    transport: Transport, wanted: Collection[Identity], within_s: float, stop: threading.Event
) -> tuple[dict[str, str], str]:
    """Return Body Part Examined by SOP Instance UID of what was found, and why the rest was not.

    An archive may need a while from its answer to its index; so it is asked again, until `within_s` is over.
    """
    deadline = time.monotonic() + within_s
    found: dict[str, str] = {}
    missing, pause_s = list(wanted), _FIRST_PAUSE_S
    while True:
        why = "it was not found"
        try:
            found |= transport.find(missing)
        except PeerError as error:
            why = str(error)
        missing = [each for each in missing if each.sop_instance_uid not in found]
        left_s = deadline - time.monotonic()
        if not missing or left_s <= 0 or stop.wait(min(pause_s, left_s)):
            return found, why
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
