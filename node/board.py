"""The board: a few numbers that the processes of a node have in common, each writing a row of its own.

So a limit can hold for the node as a whole, and asking for it costs no message: a process adds to its own
row and reads all of them. One number is written and read at once on every machine that has 64 bits.
"""

import multiprocessing
from collections.abc import MutableSequence
from enum import IntEnum
from typing import cast


class Column(IntEnum):
    """What a row holds; bytes, but for the time."""

    USED = 0
    """Of the spool: what this process wrote, less what it removed; may be negative."""
    UNDER_WAY = 1
    """About to be written."""
    REFUSED_AT_MS = 2
    """When an instance was last refused for the quota's sake, on the monotonic clock."""
    HELD = 3
    """By messages that are being received."""
    LARGEST = 4
    """The most that one association holds of it."""


class Board:
    """All rows, and which of them is this process's own; callers let one thread write at a time."""

    def __init__(self, numbers: MutableSequence[int] | None = None, row: int = 0) -> None:
        """Without `numbers` it is the board of one process."""
        self._numbers = [0] * len(Column) if numbers is None else numbers
        self.row = row
        self._start = row * len(Column)

    @classmethod
    def shared(cls, rows: int) -> "Board":
        """Make one whose rows several processes write; it can be given to those that are started."""
        made = multiprocessing.get_context("spawn").RawArray("q", rows * len(Column))
        return cls(cast("MutableSequence[int]", made))

    def of(self, row: int) -> "Board":
        """Return the same board for the writer of another row."""
        return Board(self._numbers, row)

    def own(self, column: Column) -> int:
        """Return what this process wrote."""
        return self._numbers[self._start + column]

    def put(self, column: Column, number: int) -> None:
        """Write into the own row."""
        self._numbers[self._start + column] = number

    def add(self, column: Column, more: int) -> None:
        """Add to the own row."""
        self._numbers[self._start + column] += more

    def column(self, column: Column) -> list[int]:
        """Return the numbers of all rows."""
        return self._numbers[column :: len(Column)]  # type: ignore[return-value]  # a list of either kind

    def total(self, column: Column) -> int:
        """Return their sum."""
        return sum(self.column(column))
