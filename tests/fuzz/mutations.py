"""Damage done to bytes, from a seed: what a length, a cut, a repetition or a foreign piece can do."""

import random
import struct
from collections.abc import Sequence
from typing import Final

_LENGTHS: Final = (0, 1, 2, 7, 0x7F, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
_TOKENS: Final = (
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
    b"\xfe\xff\xdd\xe0\x00\x00\x00\x00",
    b"\xfe\xff\x0d\xe0\x00\x00\x00\x00",
    b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff",
    b"\x08\x00\x18\x00UI\x40\x00",
    b"\x00" * 16,
    b"\xff" * 16,
    b"\r\n\r\n",
    b"\r\n--cut",
    b"../../../etc/passwd",
)


def damaged(data: bytes, chance: random.Random, times: int | None = None) -> bytes:
    """Return the bytes with a few damages, at most `times` or eight."""
    work = bytearray(data)
    for _ in range(chance.randint(1, 8) if times is None else times):
        _damage(work, chance)
    return bytes(work)


def _damage(work: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(work) + 1)
    kind = chance.randrange(7)
    if kind == 0:
        work[at : at + 1] = bytes([chance.randrange(256)])
    elif kind == 1:
        work[at : at + 4] = struct.pack(chance.choice("<>") + "L", chance.choice(_LENGTHS))
    elif kind == 2:
        work[at : at + 2] = struct.pack(chance.choice("<>") + "H", chance.choice(_LENGTHS) & 0xFFFF)
    elif kind == 3:
        del work[at : at + chance.choice((1, 2, 8, 100))]
    elif kind == 4:
        work[at:at] = chance.choice(_TOKENS) * chance.choice((1, 1, 1, 40))
    elif kind == 5:
        work[at:at] = work[at : at + chance.choice((2, 16, 200))] * chance.choice((1, 2, 20))
    else:
        del work[at:]


def pieces(data: bytes, chance: random.Random, most: int = 6) -> Sequence[bytes]:
    """Cut the bytes into a few pieces."""
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(most)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
