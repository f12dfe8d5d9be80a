"""The user's own page: the password, and the tokens of programs."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from db import accounts
from db.accounts import Origin, Role
from node.auditing.users import changed
from node.web import passwords
from node.web.access import Anybody, Forbidden, Identity, Viewer
from node.web.context import Context, ContextDep
from node.web.rendering import render
from node.web.sessions import start
from node.web.users import UserError, Users

router = APIRouter(prefix="/account")

Password = Annotated[str, Form(max_length=passwords.LONGEST)]


@router.get("")
def account(request: Request, context: ContextDep, identity: Anybody) -> Response:
    """Show who is logged in, the form of the password, and the tokens."""
    return _page(request, context, identity)


@router.post("/password")
def change_password(
    request: Request, context: ContextDep, identity: Anybody, old: Password, new: Password, again: Password
) -> Response:
    """Change the password: every other browser of the user must log in again."""
    user = identity.user
    _only_browsers(identity)
    if user.origin is not Origin.LOCAL:
        raise Forbidden("this password is not kept here")
    with context.database.reading() as session:
        kept = accounts.named(session, user.name)
    why = _objection(kept.password_hash if kept else None, old, new, again)
    if why:
        return _page(request, context, identity, why=why, status=400)
    password_hash = passwords.hashed(new)
    with context.database.session() as session:
        accounts.set_password(session, user.id, password_hash, context.clock())
    changed(context.trail, user.name, user.name, "password")
    answer = RedirectResponse("/", 303)
    start(request, answer, context, user, Origin.LOCAL)
    return answer


@router.post("/tokens")
def add_token(
    request: Request,
    context: ContextDep,
    identity: Anybody,
    user: Viewer,
    role: Annotated[Role, Form()],
    purpose: Annotated[str, Form(max_length=200)],
    days: Annotated[int, Form(ge=1, le=3650)],
) -> Response:
    """Make a token and show it, the only time that it can be seen."""
    _only_browsers(identity)
    users = Users(context.database, context.trail, user.name, context.clock)
    try:
        token = users.new_token(user.name, role, purpose, days)
    except UserError as error:
        return _page(request, context, identity, why=f"{error}.", status=400)
    return _page(request, context, identity, token=token)


@router.post("/tokens/{number}/remove")
def remove_token(
    request: Request, context: ContextDep, identity: Anybody, user: Viewer, number: int
) -> Response:
    """Remove one of the user's own tokens."""
    _only_browsers(identity)
    try:
        Users(context.database, context.trail, user.name, context.clock).remove_token(number, user.id)
    except UserError as error:
        return _page(request, context, identity, why=f"{error}.".capitalize(), status=404)
    return RedirectResponse("/account", 303)


def _only_browsers(identity: Identity) -> None:
    """Keep a token from making others, which would outlive it, and from changing the password."""
    if identity.secret is None:
        raise Forbidden("this cannot be done with a token")


def _objection(kept: str | None, old: str, new: str, again: str) -> str:
    """Return why the password is not changed; empty where nothing speaks against it."""
    if not passwords.check(kept, old).right:
        return "The present password is wrong."
    if new != again:
        return "The two new passwords differ."
    if len(new) < passwords.SHORTEST:
        return f"A password has at least {passwords.SHORTEST} characters."
    return "The new password is the old one." if new == old else ""


def _page(
    request: Request, context: Context, identity: Identity, why: str = "", token: str = "", status: int = 200
) -> Response:
    user = identity.user
    users = Users(context.database, context.trail, user.name, context.clock)
    values = {
        "why": why,
        "token": token,
        "local": user.origin is Origin.LOCAL,
        "tokens": [] if user.must_change else users.tokens(user.id),
        "roles": [role for role in Role if user.role.allows(role)],
    }
    return render(request, "account.html", status=status, **values)
