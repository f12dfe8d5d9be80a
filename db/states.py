"""The states of a series and of a delivery, and the legal moves between them."""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The life of a series; `received` means files in the spool that the database does not know yet."""

    RECEIVED = "received"
    STABLE = "stable"
    CLASSIFIED = "classified"
    DELIVERED = "delivered"
    FAILED = "failed"


class DeliveryState(StrEnum):
    """The life of a delivery, one instance to one destination; resending makes it pending again."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


class CommitmentState(StrEnum):
    """The life of a request for storage commitment: asked, decided, and the asker told, or given up."""

    ASKED = "asked"
    DECIDED = "decided"
    REPORTED = "reported"
    FAILED = "failed"


STORED: Final[tuple[State, ...]] = (State.STABLE, State.CLASSIFIED, State.DELIVERED, State.FAILED)
"""The states that a row of the database can have."""

DECIDED: Final[frozenset[State]] = frozenset({State.CLASSIFIED, State.DELIVERED, State.FAILED})
"""The states in which the series has its decision: instances that come now are late."""

MOVES: Final[dict[State, frozenset[State]]] = {
    State.RECEIVED: frozenset({State.STABLE}),
    State.STABLE: frozenset({State.CLASSIFIED}),
    State.CLASSIFIED: frozenset({State.DELIVERED, State.FAILED}),
    State.DELIVERED: frozenset({State.CLASSIFIED}),
    State.FAILED: frozenset({State.CLASSIFIED}),
}
"""All legal moves. Back to `classified` go late instances and what an admin sends again."""


class IllegalMoveError(Exception):
    """A move that the table of states does not hold was asked for: an error in the calling code."""


def legal(before: State, after: State) -> bool:
    """Tell whether a series may move from `before` to `after`."""
    return after in MOVES[before]


def require_legal(before: State, after: State) -> None:
    """Raise IllegalMoveError unless the move is in the table."""
    if not legal(before, after):
        raise IllegalMoveError(f"a series cannot move from {before} to {after}")
