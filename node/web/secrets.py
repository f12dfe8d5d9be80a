"""Secrets of browsers and programs: made at random, kept as hashes, shown back in forms as proofs."""

import hashlib
import hmac
import secrets
from typing import Final

_BYTES: Final = 32
TOKEN_PREFIX: Final = "bodytag_"  # noqa: S105 - what lets scanners find a token that leaked


def new_secret() -> str:
    """Return 256 random bits as text for a cookie."""
    return secrets.token_urlsafe(_BYTES)


def new_token() -> str:
    """Return a bearer token."""
    return TOKEN_PREFIX + new_secret()


def digest(secret: str) -> str:
    """Return what is kept of a secret; one hash will do, as it has too many bits to be guessed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def proof(secret: str) -> str:
    """Return what a form shows to prove that the page came from here: nobody else can know it."""
    return hmac.new(secret.encode("utf-8", "surrogateescape"), b"form", "sha256").hexdigest()


def proves(secret: str, shown: str) -> bool:
    """Tell in constant time whether a form shows the proof of a cookie's secret."""
    return hmac.compare_digest(proof(secret), shown.encode("ascii", "replace").decode("ascii"))
