"""TLS of the DICOM port: BCP 195 (RFC 8996, RFC 9325), mutual, with certificates reloaded on change."""

import ssl
import threading
from pathlib import Path
from typing import Final

import structlog

from node.settings.receive import ReceiveTls

log = structlog.get_logger()

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only; those of TLS 1.3 all have both."""

_State = tuple[tuple[int, int, int] | None, ...]


class CertificateError(OSError):
    """A certificate or key cannot be used; the message is one sentence."""


class Certificates:
    """The context for the next handshake; made anew when one of its files changed."""

    def __init__(self, tls: ReceiveTls) -> None:
        """Read all files once; raises CertificateError."""
        self._tls = tls
        self._lock = threading.Lock()
        self._seen = self._state()
        self._context = server_context(tls)

    def context(self) -> ssl.SSLContext:
        """Return the context of the files as they are; where they cannot be used, of those before."""
        with self._lock:
            now = self._state()
            if now != self._seen:
                self._seen = now
                try:
                    self._context = server_context(self._tls)
                    log.info("certificates read again")
                except CertificateError as error:
                    log.error("the new certificates are not used", reason=str(error))
            return self._context

    def _state(self) -> _State:
        return tuple(_stamp(path) for path in _files(self._tls))


def server_context(tls: ReceiveTls) -> ssl.SSLContext:
    """Make the context of an acceptor that asks for the requestor's certificate; raises CertificateError."""
    assert tls.certificate is not None  # noqa: S101 - the configuration was checked
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_no_password)
        context.load_verify_locations(tls.ca)
        if tls.revoked is not None:
            context.load_verify_locations(tls.revoked)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except (OSError, ValueError) as error:
        raise CertificateError(f"receive.tls: the certificates cannot be used: {why(error)}") from error
    return context


def names(connection: ssl.SSLSocket) -> frozenset[str]:
    """Return the DNS names and the common names in the peer's certificate, in lower case."""
    shown = connection.getpeercert() or {}
    found = [str(value) for kind, value in _pairs(shown.get("subjectAltName")) if kind == "DNS"]
    for part in _parts(shown.get("subject")):
        found += [str(value) for kind, value in _pairs(part) if kind == "commonName"]
    return frozenset(name.lower() for name in found)


def why(error: Exception) -> str:
    """Say in a few words why TLS failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason).lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _parts(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()


def _pairs(value: object) -> list[tuple[object, object]]:
    return [(pair[0], pair[1]) for pair in _parts(value) if isinstance(pair, tuple) and len(pair) == 2]


def _files(tls: ReceiveTls) -> list[Path]:
    return [path for path in (tls.certificate, tls.key, tls.ca, tls.revoked) if path is not None]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _no_password() -> str:
    raise ValueError("the key is encrypted; the node reads keys without a password")
