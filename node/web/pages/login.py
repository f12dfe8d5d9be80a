"""The login with a password, and the logout."""

import time
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from db import accounts, sessions
from db.accounts import Origin, User
from node.auditing.users import USER_AUTHENTICATION, logged_in, logged_out
from node.web import cookies, passwords
from node.web.access import Forbidden, IdentityDep, address_of, check_proof
from node.web.context import Context, ContextDep
from node.web.rendering import render
from node.web.secrets import digest, new_secret, proof
from node.web.sessions import start

router = APIRouter()

_FORM_LASTS_S: Final = 3600
_WRONG: Final = "The name or the password is wrong."


@router.get("/login")
def login_page(
    request: Request,
    context: ContextDep,
    identity: IdentityDep,
    next: str = "/",  # noqa: A002
) -> Response:
    """Show the form."""
    if identity is not None:
        return RedirectResponse(local_path(next), 303)
    return form(request, context, local_path(next))


async def from_form(request: Request) -> None:
    """Let only the form of this browser's own login page through."""
    await check_proof(request, cookies.read(request, cookies.LOGIN_FORM) or new_secret())


@router.post("/login", dependencies=[Depends(from_form)])
def login(
    request: Request,
    context: ContextDep,
    name: Annotated[str, Form(max_length=255)],
    password: Annotated[str, Form(max_length=passwords.LONGEST)],
    next: Annotated[str, Form()] = "/",  # noqa: A002
) -> Response:
    """Log in with a password, unless too many failed before."""
    if not context.config.web.passwords:
        raise Forbidden("nobody logs in with a password here")
    address, name, to = address_of(request), accounts.normal_name(name), local_path(next)
    wait_s = context.attempts.wait_s(address, name, time.monotonic())
    if wait_s > 0:
        why = f"Too many failed logins; try again in {int(wait_s / 60) + 1} minutes."
        answer = form(request, context, to, why, name, 429)
        answer.headers["Retry-After"] = str(int(wait_s) + 1)
        return answer
    user, right = _checked(context, name, password)
    if user is None or not right:
        context.attempts.failed(address, name, time.monotonic())
        # A name that nobody has may be a password that was typed into the wrong field.
        known = None if user is None else user.name
        context.alerts.alert("login failed", address, USER_AUTHENTICATION, user=known)
        return form(request, context, to, _WRONG, name, 401)
    context.attempts.succeeded(address, name)
    answer = RedirectResponse(to, 303)
    start(request, answer, context, user, Origin.LOCAL)
    logged_in(context.trail, user.name, address, Origin.LOCAL)
    return answer


@router.post("/logout")
def logout(request: Request, context: ContextDep, identity: IdentityDep) -> Response:
    """Log this browser out; `unforged` has looked at the form."""
    answer = RedirectResponse("/login", 303)
    cookies.drop(request, answer, cookies.SESSION)
    if identity is not None and identity.secret is not None:
        with context.database.session() as session:
            sessions.end(session, digest(identity.secret))
        logged_out(context.trail, identity.user.name, address_of(request))
    return answer


def local_path(to: str) -> str:
    """Return where to go after the login: a path of this host, whatever the address says."""
    return to if to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable() else "/"


def form(
    request: Request, context: Context, to: str, why: str = "", name: str = "", status: int = 200
) -> Response:
    """Show the form, with a new secret for it."""
    secret, web = new_secret(), context.config.web
    shown = {"form_csrf": proof(secret), "next": to, "why": why, "name": name}
    ways = {"with_passwords": web.passwords, "with_oidc": web.oidc is not None}
    answer = render(request, "login.html", status=status, **shown, **ways)
    cookies.write(request, answer, cookies.LOGIN_FORM, secret, _FORM_LASTS_S)
    return answer


def _checked(context: Context, name: str, password: str) -> tuple[User | None, bool]:
    """Return the user of a name, and whether the password is right; the work is the same without a user."""
    with context.database.reading() as session:
        account = accounts.named(session, name)
    if account is not None and account.user.origin is not Origin.LOCAL:
        account = None
    checked = passwords.check(None if account is None else account.password_hash, password)
    if account is None:
        return None, False
    if checked.rehashed is not None:
        with context.database.session() as session:
            accounts.rehashed(session, account.user.id, checked.rehashed)
    return account.user, checked.right
