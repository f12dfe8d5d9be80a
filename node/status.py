"""C-STORE statuses that the node answers or reads, as tables (PS3.4 Table B.2-1, PS3.7 Annex C)."""

from dataclasses import dataclass
from typing import Final

SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700
DATA_SET_MISMATCH: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000

WARNINGS: Final[dict[int, str]] = {
    0xB000: "coercion of data elements",
    0xB006: "elements discarded",
    0xB007: "data set does not match SOP class",
}

ERROR_COMMENT_CHARACTERS: Final = 64
"""Error Comment (0000,0902) is LO (PS3.7 Table E.1-1)."""


@dataclass(eq=False)  # not frozen: whoever passes an exception on writes its traceback into it
class Rejection(Exception):  # noqa: N818 - a C-STORE refusal is an answer, not a fault of the program
    """An instance is refused with this status; `comment` is one sentence for the sender and the log."""

    status: int
    comment: str

    def __str__(self) -> str:
        return f"0x{self.status:04X} {self.comment}"


def is_success(status: int) -> bool:
    """Tell whether the peer stored the instance without remark."""
    return status == SUCCESS


def is_warning(status: int) -> bool:
    """Tell whether the peer stored the instance with a remark (PS3.7 C.4: 0001, Bxxx, 0107, 0116)."""
    return status in (0x0001, 0x0107, 0x0116) or 0xB000 <= status <= 0xBFFF


def meaning(status: int) -> str:
    """Name a C-STORE status in words, for people who read the database."""
    if is_success(status):
        return "success"
    if status in WARNINGS:
        return f"warning: {WARNINGS[status]}"
    groups = (
        (0xA700, 0xA7FF, "refused: out of resources"),
        (0xA900, 0xA9FF, "error: data set does not match SOP class"),
        (0xC000, 0xCFFF, "error: cannot understand"),
        (0xB000, 0xBFFF, "warning"),
        (0x0122, 0x0122, "refused: SOP class not supported"),
        (0x0124, 0x0124, "refused: not authorised"),
        (0x0110, 0x0110, "processing failure"),
    )
    return next((text for low, high, text in groups if low <= status <= high), "failure")
