"""The section `web` of the configuration: the admins' page, who may log in and how, and its limits."""

from ipaddress import ip_address
from typing import Annotated

from pydantic import ByteSize, Field, model_validator

from node.settings.listening import Listening
from node.settings.types import Network, Port, Seconds, Section
from node.settings.weblogin import OpenIdConnect, ProxyLogin


class Proxy(Section):
    """Reverse proxies that are believed what they say of who asks."""

    addresses: tuple[Network, ...] = ()
    login: ProxyLogin | None = None

    @model_validator(mode="after")
    def _check(self) -> "Proxy":
        if self.login is not None and not self.addresses:
            raise ValueError("login needs addresses: a header is believed from them alone")
        return self


class Web(Listening):
    """The page, the API and the metrics; on unless `enabled` says otherwise."""

    enabled: bool = True
    port: Port = 8042
    without_tls: bool = False
    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+$")] | None = None
    passwords: bool = True
    idle_timeout_s: Seconds = 3600
    session_timeout_s: Seconds = 43200
    proxy: Proxy = Proxy()
    oidc: OpenIdConnect | None = None
    metrics_hosts: tuple[Network, ...] = ()
    maximum_connections_per_address: Annotated[int, Field(ge=1)] = 64
    maximum_request_bytes: Annotated[ByteSize, Field(ge=1024)] = ByteSize(1024**2)
    request_timeout_s: Seconds = 600

    @model_validator(mode="after")
    def _check(self) -> "Web":
        if not self.enabled:
            return self
        if self.certificate is None and not self.without_tls and not is_loopback(self.host):
            raise ValueError("another host than 127.0.0.1 needs certificate and key, or without_tls: true")
        if self.oidc is not None and self.url is None:
            raise ValueError("oidc needs url, the address of the page as browsers see it")
        if not self.passwords and self.oidc is None and self.proxy.login is None:
            raise ValueError("nobody could log in: passwords is false, and there is no oidc or proxy.login")
        return self


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
