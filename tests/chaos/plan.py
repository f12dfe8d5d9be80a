"""What a run of the fault tests is to do, until when, and what one fault comes to."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from tests.chaos.ledger import Counts


@dataclass(frozen=True)
class Plan:
    """How long all may take together, and whether only the short version of each fault is run."""

    minutes: float
    short: bool
    kills: int = 200
    seed: int = 7
    began: float = field(default_factory=time.monotonic)

    def left_s(self) -> float:
        """Return how many seconds are left."""
        return self.began + 60 * self.minutes - time.monotonic()

    def over(self, reserve_s: float = 0.0) -> bool:
        """Tell whether less than the reserve is left."""
        return self.left_s() < reserve_s

    def scaled(self, full: float, short: float) -> float:
        """Return a figure of the full or of the short version."""
        return short if self.short else full


@dataclass(frozen=True)
class Result:
    """How a fault ended: the figures, what was done in words, and whether all of it could be done in time."""

    counts: Counts
    done: str
    complete: bool = True


Fault = Callable[[Plan], Result]

AT_THE_END: Final = ExitStack()
"""What must be undone even where the time limit ends the program in the middle of a fault."""
