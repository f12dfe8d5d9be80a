"""Who may store by STOW-RS: addresses, basic authentication and bearer tokens (RFC 7617, RFC 6750)."""

import base64
import binascii
import hmac
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog

from node.settings.dicomweb import WebClient

log = structlog.get_logger()

CHALLENGE = 'Basic realm="bodytag", charset="UTF-8", Bearer realm="bodytag"'
"""WWW-Authenticate of a 401 (RFC 9110 section 11.6.1)."""


class Busy(Exception):  # noqa: N818 - the client is told to come back
    """There are as many requests as allowed; the message is one sentence."""


class Turns:
    """How many requests are under way, in all and for each client; used in the event loop alone."""

    def __init__(self, maximum: int, maximum_per_client: int) -> None:
        self._maximum = maximum
        self._maximum_per_client = maximum_per_client
        self._running: Counter[str] = Counter()

    @contextmanager
    def taken(self, client: WebClient) -> Iterator[None]:
        """Take one for the time of the block; raises Busy where there is none."""
        name = client.ae_title
        if self._running.total() >= self._maximum:
            raise Busy("too many requests are under way")
        if self._running[name] >= self._maximum_per_client:
            raise Busy("this client has too many requests under way")
        self._running[name] += 1
        try:
            yield
        finally:
            self._running[name] -= 1


def identified(clients: Sequence[WebClient], address: str, authorization: str | None) -> WebClient | None:
    """Return the client that a request comes from, None where it is nobody's.

    All clients are tried, each in constant time, so that the time taken tells nothing of a secret.
    """
    scheme, _, said = (authorization or "").strip().partition(" ")
    found = [each for each in clients if each.may_come_from(address) and _shows(each, scheme, said.strip())]
    return found[0] if found else None


def _shows(client: WebClient, scheme: str, said: str) -> bool:
    if not client.asked_for_secret:
        return not said
    try:
        secret = client.secret()
    except (OSError, ValueError) as error:
        log.error("a client's secret cannot be read", client=client.ae_title, error=str(error))
        return False
    if client.user is None:
        return scheme.lower() == "bearer" and _same(said, secret)
    return scheme.lower() == "basic" and _same(_decoded(said), f"{client.user}:{secret}")


def _decoded(said: str) -> str:
    try:
        return base64.b64decode(said, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode())
