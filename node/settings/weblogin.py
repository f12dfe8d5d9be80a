"""The keys `web.oidc` and `web.proxy.login` of the configuration: logging in by somebody else's word."""

from collections.abc import Collection
from typing import Annotated

from pydantic import Field, SecretStr, model_validator

from db.accounts import Role
from node.settings.types import ConfigPath, Section


class ProxyLogin(Section):
    """The header in which a proxy names the user, and the role of users that are not known yet.

    Without `role` only users that `bodytag user add --origin proxy` made are let in.
    """

    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] = "X-Remote-User"
    role: Role | None = None


class Roles(Section):
    """Values of a claim, by the role that they give."""

    viewer: tuple[str, ...] = ()
    operator: tuple[str, ...] = ()
    admin: tuple[str, ...] = ()

    def highest(self, values: Collection[str]) -> Role | None:
        """Return the highest role that these values give; None where they give none."""
        given = {Role.VIEWER: self.viewer, Role.OPERATOR: self.operator, Role.ADMIN: self.admin}
        found = [role for role in Role if set(given[role]) & set(values)]
        return found[-1] if found else None


class OpenIdConnect(Section):
    """An OpenID provider (OpenID Connect Core 1.0, authorization code flow with PKCE).

    `roles` says which values of the claim `role_claim` give a role; the highest counts. Who has none of
    them gets `role`, or is not let in where that is null.
    """

    issuer: Annotated[str, Field(pattern=r"^https?://\S+$")]
    client_id: Annotated[str, Field(min_length=1)]
    client_secret: SecretStr | None = None
    client_secret_file: ConfigPath | None = None
    ca: ConfigPath | None = None
    scopes: tuple[str, ...] = ("openid", "profile")
    name_claim: str = "preferred_username"
    role_claim: str = "groups"
    roles: Roles = Roles()
    role: Role | None = None

    @model_validator(mode="after")
    def _check(self) -> "OpenIdConnect":
        if (self.client_secret is None) == (self.client_secret_file is None):
            raise ValueError("give client_secret or client_secret_file, one of both")
        if "openid" not in self.scopes:
            raise ValueError("scopes must hold openid")
        if self.roles == Roles() and self.role is None:
            raise ValueError("nobody could log in: give roles, or a role for everybody")
        return self

    def secret(self) -> str:
        """Return the client's secret, read anew where it lies in a file; raises OSError."""
        if self.client_secret_file is not None:
            return self.client_secret_file.read_text(encoding="utf-8").strip()
        assert self.client_secret is not None  # noqa: S101 - checked above
        return self.client_secret.get_secret_value()
