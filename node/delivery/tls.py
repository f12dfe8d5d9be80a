"""TLS towards destinations, as BCP 195 (RFC 9325) wants it; certificates are read anew each time."""

import ssl
from typing import Final

from node.delivery.transport import PeerError
from node.settings.destinations import Tls

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only; those of TLS 1.3 all have both."""


class NotingContext(ssl.SSLContext):
    """A context that remembers why a handshake failed, for those that only learn that it did."""

    said: str = ""


class _NotingSocket(ssl.SSLSocket):
    """A socket that tells its context."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands; what goes wrong is noted and raised."""
        try:
            super().do_handshake(block)
        except (OSError, ValueError) as error:
            if isinstance(self.context, NotingContext):
                self.context.said = reason(error)
            self.close()  # pynetdicom leaves it to the garbage collector
            raise

    def shutdown(self, how: int) -> None:
        """End the connection; where it has ended already, close, which pynetdicom leaves out then."""
        try:
            super().shutdown(how)
        except OSError:
            self.close()
            raise


def client_context(tls: Tls) -> NotingContext:
    """Make the context for one connection; raises PeerError where a certificate or key cannot be used."""
    context = NotingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _NotingSocket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.check_hostname = tls.check_name
    try:
        if tls.ca is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(tls.ca)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise PeerError(f"the certificates of tls cannot be used: {reason(error)}") from error
    return context


def reason(error: Exception) -> str:
    """Say in a few words why TLS failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason).lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error)


def _no_password() -> str:
    raise ValueError("the key is encrypted; the node reads keys without a password")
