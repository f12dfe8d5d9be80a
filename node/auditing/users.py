"""Logins and changes of users, for the audit trail (PS3.15 A.5.3.11 and A.5.3.10)."""

from typing import Final

from node.auditing.audit import Event, Fact, Trail

USER_AUTHENTICATION: Final = Event("User Authentication", "110114")
ATTRIBUTES_CHANGED: Final = Event("User Security Attributes Changed", "110137")


def logged_in(trail: Trail, user: str, address: str, way: str) -> None:
    """Note a login; `way` is how: local, oidc or proxy."""
    trail.note(USER_AUTHENTICATION, succeeded=True, action="login", user=user, address=address, way=way)


def logged_out(trail: Trail, user: str, address: str) -> None:
    """Note a logout."""
    trail.note(USER_AUTHENTICATION, succeeded=True, action="logout", user=user, address=address)


def changed(trail: Trail, user: str, by: str, what: str, **facts: Fact) -> None:
    """Note that somebody changed a user: `what` is added, password, role, removed, token or token removed."""
    trail.note(ATTRIBUTES_CHANGED, succeeded=True, what=what, user=user, by=by, **facts)
