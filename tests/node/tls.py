"""Certificates for the tests of TLS: an authority, the node's certificate, and callers' certificates."""

import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from tests.node.hostile import connected


@dataclass
class Authority:
    """An authority whose files lie in a folder."""

    folder: Path
    authority: trustme.CA = field(default_factory=trustme.CA)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.issue("node", "localhost", "127.0.0.1")

    @property
    def ca(self) -> Path:
        """The authority's own certificate."""
        return self.folder / "ca.pem"

    def issue(self, name: str, *identities: str) -> tuple[Path, Path]:
        """Write a certificate for these DNS names or addresses; return the paths of certificate and key."""
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        issued = self.authority.issue_cert(*(identities or (name,)))
        issued.private_key_pem.write_to_path(str(key))
        issued.cert_chain_pems[0].write_to_path(str(certificate))
        return certificate, key

    def section(self, port: int, **more: Any) -> dict[str, Any]:
        """Return the section `receive.tls` of the node's configuration."""
        paths = {"certificate": "node.pem", "key": "node.key", "ca": "ca.pem"}
        return (
            {"port": port, "host": "127.0.0.1"} | {k: str(self.folder / v) for k, v in paths.items()} | more
        )

    def context(self, caller: str | None = "caller.example.org") -> ssl.SSLContext:
        """Return a client's context, with a certificate for the caller, or without any."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if caller is not None:
            context.load_cert_chain(*self.issue(caller))
        return context

    def connected(self, port: int, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """Open a connection and do the handshake."""
        plain = connected(port)
        try:
            return (context or self.context()).wrap_socket(plain, server_hostname="localhost")
        except BaseException:
            plain.close()
            raise

    def client_hello(self) -> bytes:
        """Return the first message of a handshake."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        machine = self.context(None).wrap_bio(incoming, outgoing, server_hostname="localhost")
        try:
            machine.do_handshake()
        except ssl.SSLWantReadError:
            return outgoing.read()
        raise AssertionError("a handshake without a peer")


def closed_by(connection: socket.socket) -> bool:
    """Tell whether the peer ended the connection; TLS 1.3 tells a client only so that it was refused."""
    try:
        return connection.recv(1) == b""
    except (ssl.SSLError, ConnectionError):
        return True
