"""A turnstile for pynetdicom's reactor: while the node sends, the reactor stands still and steals no answer.

As shipped (pynetdicom 3.0) the reactor thread is stopped and started around each message, and a sender that
is quick enough takes "about to go on" for "stopped": the reactor then takes the peer's response off the
queue, and the sender waits for it until its timeout.
"""

import threading
from typing import Any

from pynetdicom.association import Association

_REACHED_S = 10.0


class Turnstile(threading.Event):
    """Takes the place of an association's checkpoint; closed until `open`."""

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._reached = threading.Event()
        self._association: Any = association
        self._association._reactor_checkpoint = self
        if not self._reached.wait(_REACHED_S):
            raise RuntimeError("the association's reactor does not come to its checkpoint")

    def wait(self, timeout: float | None = None) -> bool:
        """Stop the reactor here."""
        self._reached.set()
        return super().wait(timeout)

    def set(self) -> None:
        """Ignore the library, which would let the reactor go on after each message."""

    def open(self) -> None:
        """Let the reactor go on, to see that the association ended."""
        super().set()

    @property
    def data_transfer(self) -> bool:
        """Tell whether the association is still established (PS3.8 Table 9-4, state 6), reactor or not."""
        return bool(self._association.dul.state_machine.current_state == "Sta6")
