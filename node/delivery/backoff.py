"""How long to wait before a destination is tried again: doubling, capped, with jitter."""

import random
from typing import Final

from node.settings.destinations import Retry

_LEAST: Final = 0.5
"""Half of the exponential pause is kept, so that jitter never makes a retry immediate."""


def pause_s(retry: Retry, attempts: int) -> float:
    """Return the pause after `attempts` failed attempts (1, 2, ...), in seconds."""
    full = min(retry.first_s * 2.0 ** min(attempts - 1, 32), retry.maximum_s)
    return full * random.uniform(_LEAST, 1.0)
