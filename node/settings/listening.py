"""What every web listener can be told: its address, its certificate, and limits before the first request."""

from typing import Annotated

from pydantic import Field, model_validator

from node.settings.types import ConfigPath, Port, Seconds, Section


class Listening(Section):
    """Where a web listener listens, with or without TLS, and how much it takes from one address."""

    host: str = "127.0.0.1"
    port: Port = 0
    certificate: ConfigPath | None = None
    key: ConfigPath | None = None
    client_ca: ConfigPath | None = None
    maximum_connections_per_address: Annotated[int, Field(ge=1)] = 32
    header_timeout_s: Seconds = 10

    @model_validator(mode="after")
    def _check_certificate(self) -> "Listening":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client_ca needs certificate and key")
        return self
