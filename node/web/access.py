"""Who asks, and whether they may: sessions, tokens, roles, and forms that came from here.

A route says who may by the type of a parameter: `user: Viewer`, `user: Operator` or `user: Admin`. All routes
of app.ROUTERS ask for a viewer at least, and every request that changes something must prove that its form
came from here, by the field `csrf` or the header X-CSRF-Token; requests with a bearer token need no proof.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

from fastapi import Depends, Request

from db import sessions
from db.accounts import Role, User
from db.sessions import Found
from node.web import cookies
from node.web.context import Context, ContextDep
from node.web.elsewhere import NotLetInError, named_by_proxy
from node.web.outer import FROM_PROXY
from node.web.secrets import digest, proof, proves

__all__ = ["Admin", "ContextDep", "Forbidden", "Identity", "LoginNeeded", "Operator", "User", "Viewer"]

FIELD: Final = "csrf"
HEADER: Final = "X-CSRF-Token"
BACKGROUND: Final = "X-Background"
"""With this header a request is the page's own, not its reader's: it does not keep a session alive."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


class LoginNeeded(Exception):  # noqa: N818 - an answer, not a fault of the program
    """Nobody is logged in, or the token is not known."""


class Forbidden(Exception):  # noqa: N818 - an answer, not a fault of the program
    """Who asks may not; the message is one sentence."""


class PasswordDue(Exception):  # noqa: N818 - an answer, not a fault of the program
    """The user must choose a password before anything else."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks; forms prove that they know `secret`, which is None where a program showed a token.

    `in_session`: by a cookie, so that there is something to log out of.
    """

    user: User
    secret: str | None
    in_session: bool = False


def identified(request: Request, context: ContextDep) -> Identity | None:
    """Return who asks, by bearer token or by cookie; None where nobody does."""
    identity = _identify(request, context)
    request.state.identity = identity
    return identity


def _identify(request: Request, context: Context) -> Identity | None:
    scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        found = _by_token(context, digest(token.strip()))
        return None if found is None else Identity(found.user, None)
    named = _named_by_proxy(request, context)
    if named:
        user = _known(context, named, address_of(request))
        return Identity(user, proof(f"{context.key} {user.id}"))
    secret = cookies.read(request, cookies.SESSION)
    found = _by_cookie(context, secret, BACKGROUND in request.headers) if secret else None
    return None if found is None else Identity(found.user, secret, in_session=True)


def _named_by_proxy(request: Request, context: Context) -> str:
    """Return the name that a trusted proxy gives, empty where there is none; others' headers are nothing."""
    login = context.config.web.proxy.login
    if login is None or not request.scope.get(FROM_PROXY):
        return ""
    return request.headers.get(login.header, "").strip()


def _known(context: Context, name: str, address: str) -> User:
    try:
        return named_by_proxy(context, name, address)
    except NotLetInError as error:
        raise Forbidden(str(error)) from None


def _by_token(context: Context, token_hash: str) -> Found | None:
    now = context.clock()
    with context.database.reading() as session:
        found = sessions.find_token(session, token_hash, now)
    if found is not None and found.stale:
        with context.database.session() as session:
            sessions.token_used(session, found.id, now)
    return found


def _by_cookie(context: Context, secret: str, background: bool) -> Found | None:
    now = context.clock()
    idle = timedelta(seconds=context.config.web.idle_timeout_s)
    with context.database.reading() as session:
        found = sessions.find(session, digest(secret), now, idle)
    if found is not None and found.stale and not background:
        with context.database.session() as session:
            sessions.seen(session, found.id, now)
    return found


IdentityDep = Annotated[Identity | None, Depends(identified)]


async def unforged(request: Request, identity: IdentityDep) -> None:
    """Let requests that change something through only with the proof of the session that they use."""
    if request.method in _SAFE or identity is None or identity.secret is None:
        return
    await check_proof(request, identity.secret)


async def check_proof(request: Request, secret: str) -> None:
    """Raise Forbidden unless a request shows the proof of a cookie's secret."""
    shown = request.headers.get(HEADER, "")
    if not shown and request.headers.get("content-type", "").startswith(_FORMS):
        shown = str((await request.form()).get(FIELD, ""))
    if request.headers.get("sec-fetch-site") == "cross-site" or not proves(secret, shown):
        raise Forbidden("the form is from another page or too old; open the page again and repeat it")


def _required(identity: Identity | None, role: Role) -> User:
    if identity is None:
        raise LoginNeeded
    if identity.user.must_change and identity.secret is not None:
        raise PasswordDue
    if not identity.user.role.allows(role):
        raise Forbidden(f"this needs the role {role}; {identity.user.name} has {identity.user.role}")
    return identity.user


def viewer(identity: IdentityDep) -> User:
    """Return the user, who may see everything."""
    return _required(identity, Role.VIEWER)


def operator(identity: IdentityDep) -> User:
    """Return the user, who may act on queues and verdicts."""
    return _required(identity, Role.OPERATOR)


def admin(identity: IdentityDep) -> User:
    """Return the user, who may manage users."""
    return _required(identity, Role.ADMIN)


def anybody(identity: IdentityDep) -> Identity:
    """Return who is logged in, also with a password that is due to be changed."""
    if identity is None:
        raise LoginNeeded
    return identity


Viewer = Annotated[User, Depends(viewer)]
Operator = Annotated[User, Depends(operator)]
Admin = Annotated[User, Depends(admin)]
Anybody = Annotated[Identity, Depends(anybody)]


def identity_of(request: Request) -> Identity | None:
    """Return who asks as the dependencies found it; None before they ran, or where nobody does."""
    found = getattr(request.state, "identity", None)
    return found if isinstance(found, Identity) else None


def address_of(request: Request) -> str:
    """Return where the request comes from; with a trusted proxy, what that says."""
    return request.client.host if request.client else "unknown"
