"""Passwords: hashed with Argon2id (RFC 9106), checked in constant time whether the user is known or not."""

import secrets
import threading
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST: Final = 12
LONGEST: Final = 1024

_HASHER: Final = PasswordHasher()
"""argon2-cffi's defaults are RFC 9106's second recommendation: 64 MiB, three passes, four lanes."""

_AT_ONCE: Final = threading.BoundedSemaphore(2)
"""Each check takes 64 MiB and a processor for a moment; more than these wait."""


class PasswordError(ValueError):
    """A password cannot be taken; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether a password was right; `rehashed` is its hash with newer parameters, if it is due."""

    right: bool
    rehashed: str | None = None


def new_password() -> str:
    """Return a password of 120 random bits."""
    return secrets.token_urlsafe(15)


def hashed(password: str) -> str:
    """Return what is kept of a password; raises PasswordError for one too short or too long."""
    if len(password) < SHORTEST:
        raise PasswordError(f"a password has at least {SHORTEST} characters")
    if len(password) > LONGEST:
        raise PasswordError(f"a password has at most {LONGEST} characters")
    return _HASHER.hash(_normal(password))


def check(kept: str | None, password: str) -> Checked:
    """Tell whether a password is the kept one; without one the same work is done for nothing."""
    said = _normal(password[:LONGEST])
    try:
        with _AT_ONCE:
            _HASHER.verify(kept or _nobody(), said)
    except (VerificationError, InvalidHashError):
        return Checked(False)
    if kept is None:
        return Checked(False)
    return Checked(True, _HASHER.hash(said) if _HASHER.check_needs_rehash(kept) else None)


@cache
def _nobody() -> str:
    return _HASHER.hash(new_password())


def _normal(password: str) -> str:
    """Spell a password in one way, however the keyboard spelt it (RFC 8265 section 4)."""
    return unicodedata.normalize("NFC", password)
