"""The section `dicomweb` of the configuration: receiving by DICOMweb, who may, and within which limits."""

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Annotated, Final

from pydantic import ByteSize, Field, SecretStr, model_validator

from node.settings.listening import Listening
from node.settings.types import AeTitle, ConfigPath, Network, Port, Seconds, Section

_SHORTEST_SECRET: Final = 16


class WebClient(Section):
    """Who may store by STOW-RS: the AE title that stands for it, its addresses, and how it logs in."""

    ae_title: AeTitle
    hosts: tuple[Network, ...] = ()
    token: SecretStr | None = None
    token_file: ConfigPath | None = None
    user: Annotated[str, Field(pattern=r"^[!-9;-~]{1,64}$")] | None = None
    password: SecretStr | None = None
    password_file: ConfigPath | None = None

    @model_validator(mode="after")
    def _check(self) -> "WebClient":
        tokens = [self.token, self.token_file]
        passwords = [self.password, self.password_file]
        if sum(each is not None for each in [*tokens, *passwords]) > 1:
            raise ValueError("one of token, token_file, password and password_file is enough")
        if (self.user is None) != (passwords == [None, None]):
            raise ValueError("a user needs password or password_file, and they need a user")
        if not self.asked_for_secret and not self.hosts:
            raise ValueError("a client without token and password needs hosts")
        for secret in (self.token, self.password):
            if secret is not None:
                _check_length(secret.get_secret_value())
        return self

    @property
    def asked_for_secret(self) -> bool:
        """Tell whether the client must show a token or a password."""
        return any((self.token, self.token_file, self.password, self.password_file))

    def secret(self) -> str:
        """Return the token or password, read anew where it lies in a file; raises OSError or ValueError."""
        path = self.token_file or self.password_file
        if path is None:
            return next(each.get_secret_value() for each in (self.token, self.password) if each is not None)
        return _check_length(path.read_text(encoding="utf-8").strip())

    def may_come_from(self, address: str) -> bool:
        """Tell whether a request from this address may be the client's."""
        peer = ip_address(address)
        if isinstance(peer, IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        return not self.hosts or any(peer in ip_network(host) for host in self.hosts)


class DicomWeb(Listening):
    """The node as STOW-RS origin server (PS3.18 section 10.5); off unless `enabled`."""

    enabled: bool = False
    port: Port = 8080
    path: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = "/dicom-web"
    clients: tuple[WebClient, ...] = ()
    maximum_request_bytes: ByteSize = ByteSize(16 * 1024**3)
    maximum_instance_bytes: ByteSize = ByteSize(4 * 1024**3)
    maximum_instances: Annotated[int, Field(ge=1)] = 20000
    maximum_requests: Annotated[int, Field(ge=1, le=100)] = 16
    maximum_requests_per_client: Annotated[int, Field(ge=1)] = 8
    idle_timeout_s: Seconds = 30
    request_timeout_s: Seconds = 3600

    @model_validator(mode="after")
    def _check(self) -> "DicomWeb":
        if self.enabled and not self.clients:
            raise ValueError("clients: nobody may store; list the clients")
        return self


def _check_length(secret: str) -> str:
    if len(secret) < _SHORTEST_SECRET:
        raise ValueError(f"a token or password has at least {_SHORTEST_SECRET} characters")
    return secret
