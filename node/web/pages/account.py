"""The user's own page: the password."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from db import accounts
from db.accounts import Origin
from node.auditing.users import changed
from node.web import passwords
from node.web.access import Anybody, Forbidden
from node.web.context import ContextDep
from node.web.rendering import render
from node.web.sessions import start

router = APIRouter()


@router.get("/account")
def account(request: Request, identity: Anybody) -> Response:
    """Show who is logged in, and the form of the password."""
    return render(request, "account.html", why="", local=identity.user.origin is Origin.LOCAL)


@router.post("/account/password")
def change_password(
    request: Request,
    context: ContextDep,
    identity: Anybody,
    old: Annotated[str, Form(max_length=passwords.LONGEST)],
    new: Annotated[str, Form(max_length=passwords.LONGEST)],
    again: Annotated[str, Form(max_length=passwords.LONGEST)],
) -> Response:
    """Change the password: every other browser of the user must log in again."""
    user = identity.user
    if user.origin is not Origin.LOCAL or identity.secret is None:
        raise Forbidden("this password is not kept here")
    with context.database.reading() as session:
        kept = accounts.named(session, user.name)
    try:
        why = _objection(kept.password_hash if kept else None, old, new, again)
        password_hash = passwords.hashed(new) if not why else ""
    except passwords.PasswordError as error:
        why = f"{error}.".capitalize()
    if why:
        return render(request, "account.html", status=400, why=why, local=True)
    with context.database.session() as session:
        accounts.set_password(session, user.id, password_hash, context.clock())
    changed(context.trail, user.name, user.name, "password")
    answer = RedirectResponse("/", 303)
    start(request, answer, context, user, Origin.LOCAL)
    return answer


def _objection(kept: str | None, old: str, new: str, again: str) -> str:
    """Return why the password is not changed; empty where nothing speaks against it."""
    if not passwords.check(kept, old).right:
        return "The present password is wrong."
    if new != again:
        return "The two new passwords differ."
    return "The new password is the old one." if new == old else ""
