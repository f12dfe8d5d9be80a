"""The section `receive` of the configuration: the DICOM port, who may use it, and within which limits."""

import os
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Annotated, Final

from pydantic import ByteSize, Field, model_validator

from node.settings.types import AeTitle, ConfigPath, Network, Port, Seconds, Section

_MOST_PROCESSES: Final = 4
"""Unless more are asked for: each takes memory, and four write more than most disks sync."""


class Caller(Section):
    """A requestor that may send: its AE title and, if given, where it comes from and how it shows who it is.

    `certificate` is a name in the certificate that it shows in TLS, a DNS name or the common name; without
    TLS it is then rejected. `maximum_associations` limits what it may have open at the same time.
    """

    ae_title: AeTitle
    hosts: tuple[Network, ...] = ()
    certificate: Annotated[str, Field(min_length=1)] | None = None
    maximum_associations: Annotated[int, Field(ge=1)] | None = None

    def admits(self, ae_title: str, address: str, names: frozenset[str] = frozenset()) -> bool:
        """Tell whether an association is this caller's, by AE title, address and names in its certificate."""
        if ae_title != self.ae_title or not self.may_come_from(address):
            return False
        return self.certificate is None or self.certificate.lower() in names

    def may_come_from(self, address: str) -> bool:
        """Tell whether a connection from this address may be the caller's."""
        peer = ip_address(address)
        if isinstance(peer, IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped  # how IPv4 peers appear to a socket that listens on ::
        return not self.hosts or any(peer in ip_network(host) for host in self.hosts)


class ReceiveTls(Section):
    """A second port that speaks TLS only, with mutual authentication; off without a port."""

    port: Port | None = None
    host: str = "0.0.0.0"  # noqa: S104 - as receive.host
    certificate: ConfigPath | None = None
    key: ConfigPath | None = None
    ca: ConfigPath | None = None
    revoked: ConfigPath | None = None

    @model_validator(mode="after")
    def _check(self) -> "ReceiveTls":
        if self.port is not None and None in (self.certificate, self.key, self.ca):
            raise ValueError("a port needs certificate, key, and ca for the callers' certificates")
        return self


class Receive(Section):
    """The node as association acceptor."""

    ae_title: AeTitle = "BODYTAG"
    host: str = "0.0.0.0"  # noqa: S104 - a node in a hospital listens on all of its addresses
    port: Port = 11112
    tls: ReceiveTls = ReceiveTls()
    callers: tuple[Caller, ...] = ()
    promiscuous: bool = False
    processes: Annotated[int, Field(ge=1, le=64)] | None = None
    maximum_associations: Annotated[int, Field(ge=1)] = 100
    maximum_associations_per_peer: Annotated[int, Field(ge=1)] = 50
    maximum_waiting: Annotated[int, Field(ge=1)] = 200
    maximum_pdu_bytes: Annotated[int, Field(ge=4096, le=1048576)] = 131072
    maximum_instance_bytes: Annotated[ByteSize, Field(ge=1)] = ByteSize(2 * 1024**3)
    maximum_memory_bytes: Annotated[ByteSize, Field(ge=1)] = ByteSize(4 * 1024**3)
    maximum_inflated_bytes: ByteSize = ByteSize(512 * 1024**2)
    association_timeout_s: Seconds = 15
    pdu_timeout_s: Seconds = 60
    message_timeout_s: Seconds = 1800
    idle_timeout_s: Seconds = 300
    whole_timeout_s: Seconds = 86400

    @property
    def clerks(self) -> int:
        """How many processes receive beside the node's own; 0 where that does it alone."""
        wanted = self.processes or min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)
        return wanted if wanted > 1 else 0

    @model_validator(mode="after")
    def _check(self) -> "Receive":
        if self.maximum_memory_bytes < self.maximum_instance_bytes:
            raise ValueError("maximum_memory_bytes must hold an instance of maximum_instance_bytes")
        named = [each.ae_title for each in self.callers if each.certificate is not None]
        if named and self.tls.port is None:
            raise ValueError(f"callers: {named[0]} must show a certificate, and there is no tls.port")
        return self
