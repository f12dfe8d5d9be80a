"""The state machine of an association, patient with what its own side says after the peer was cut off.

As shipped (pynetdicom 3.0) an answer that comes when the association is being closed already, because the
peer sent something forbidden right behind its request, ends the upper layer's thread with an exception.
"""

import queue
from contextlib import suppress
from typing import Any, Final

from pynetdicom.fsm import StateMachine

_CLOSING: Final = ("Sta1", "Sta2", "Sta13")
"""Idle, before any request, and waiting for the connection to close (PS3.8 Table 9-10)."""

_OF_OUR_OWN: Final = ("Evt7", "Evt8", "Evt9", "Evt11", "Evt14", "Evt15")
"""Primitives of the local user that are sent within an association (PS3.8 Table 9-10)."""


class Patient(StateMachine):  # type: ignore[misc]  # the library is not typed
    """Drops what is to be sent once nobody is there to get it."""

    def do_action(self, event: str) -> None:
        """Do what the standard's table says, or drop the primitive behind the event."""
        if self.current_state in _CLOSING and event in _OF_OUR_OWN:
            waiting: Any = self.dul.to_provider_queue
            with suppress(queue.Empty):
                waiting.get(block=False)
            return
        super().do_action(event)
