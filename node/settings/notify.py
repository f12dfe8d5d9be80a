"""The section `notify` of the configuration: what counts as a trouble, and who is told by which way."""

import base64
import binascii
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ByteSize, Field, SecretStr, model_validator

from node.settings.types import ConfigPath, Port, Seconds, Section

_PREFIX: Final = "whsec_"
_SHORTEST_BYTES: Final = 24

Address = Annotated[str, Field(pattern=r"^[!-~]{1,64}@[A-Za-z0-9.-]{1,253}$")]


def _url(value: SecretStr) -> SecretStr:
    parts = urlsplit(value.get_secret_value())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address begins with https:// or http:// and names a host")
    if parts.username or parts.password or parts.fragment:
        raise ValueError("an address holds no password before @, and nothing after #")
    return value


class Email(Section):
    """By SMTP; `starttls` and `tls` check the server's certificate, `none` sends as it is."""

    host: str
    port: Port = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password: SecretStr | None = None
    password_file: ConfigPath | None = None
    ca: ConfigPath | None = None
    sender: Address
    to: Annotated[tuple[Address, ...], Field(min_length=1)]
    timeout_s: Seconds = 30

    @model_validator(mode="after")
    def _check(self) -> "Email":
        given = sum(each is not None for each in (self.password, self.password_file))
        if given > 1:
            raise ValueError("one of password and password_file is enough")
        if (self.user is None) != (given == 0):
            raise ValueError("a user needs password or password_file, and they need a user")
        if self.user is not None and self.security == "none":
            raise ValueError("security: none would send the password for everybody to read")
        return self

    def secret(self) -> str:
        """Return the password, read anew where it lies in a file; raises OSError."""
        if self.password_file is not None:
            return self.password_file.read_text(encoding="utf-8").strip()
        return "" if self.password is None else self.password.get_secret_value()


class Webhook(Section):
    """By HTTP POST, signed as Standard Webhooks says where there is a secret."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    url: Annotated[SecretStr, AfterValidator(_url)]
    secret: SecretStr | None = None
    secret_file: ConfigPath | None = None
    ca: ConfigPath | None = None
    timeout_s: Seconds = 30

    @model_validator(mode="after")
    def _check(self) -> "Webhook":
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("one of secret and secret_file is enough")
        if self.secret is not None:
            key_of(self.secret.get_secret_value())
        return self

    def key(self) -> bytes | None:
        """Return the key to sign with, read anew where it lies in a file; raises OSError or ValueError."""
        if self.secret_file is not None:
            return key_of(self.secret_file.read_text(encoding="utf-8").strip())
        return None if self.secret is None else key_of(self.secret.get_secret_value())


def key_of(secret: str) -> bytes:
    """Decode a secret, `whsec_` and base64 (Standard Webhooks); raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(_PREFIX) or len(key) < _SHORTEST_BYTES:
        raise ValueError(f"a secret is {_PREFIX} and then at least {_SHORTEST_BYTES} bytes in base64")
    return key


class Notify(Section):
    """From when on something is a trouble, and how it is told."""

    destination_down_s: Seconds = 300
    queue_age_s: Seconds = 3600
    paused_s: Seconds = 86400
    series_age_s: Seconds = 1800
    disk_free: ByteSize | None = None
    deaths: Annotated[int, Field(ge=1)] = 3
    deaths_within_s: Seconds = 600
    check_s: Seconds = 10
    gather_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30
    pause_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 300
    again_s: Seconds = 3600
    remind_s: Seconds | None = 86400
    email: Email | None = None
    webhooks: tuple[Webhook, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> "Notify":
        names = [each.name for each in self.webhooks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two webhooks are named '{twice[0]}'")
        return self
