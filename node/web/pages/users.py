"""The page of users, for admins: adding, roles, new passwords, removing."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from db.accounts import Origin, Role
from node.web.access import Admin, User
from node.web.context import Context, ContextDep
from node.web.passwords import PasswordError, new_password
from node.web.rendering import render
from node.web.users import UserError, Users

router = APIRouter(prefix="/users")

Name = Annotated[str, Form(max_length=255)]


@router.get("")
def users(request: Request, context: ContextDep, user: Admin) -> Response:
    """List who may log in."""
    return _page(request, context, user)


@router.post("")
def add(
    request: Request, context: ContextDep, user: Admin, name: Name, role: Annotated[Role, Form()]
) -> Response:
    """Add a user with a password that is shown once, and is to be changed at the first login."""
    password = new_password()

    def added(managed: Users) -> str:
        made = managed.add(name, role, password, must_change=True)
        return f"{made.name} is added. The password, shown only now: {password}"

    return _done(request, context, user, added)


@router.post("/password")
def reset(request: Request, context: ContextDep, user: Admin, name: Name) -> Response:
    """Give a user a new password that is shown once, and is to be changed at the next login."""
    password = new_password()

    def changed(managed: Users) -> str:
        _not_oneself(user, name)
        managed.set_password(name, password, must_change=True)
        return f"{name} has a new password, shown only now: {password}"

    return _done(request, context, user, changed)


@router.post("/role")
def set_role(
    request: Request, context: ContextDep, user: Admin, name: Name, role: Annotated[Role, Form()]
) -> Response:
    """Give a user another role."""

    def changed(managed: Users) -> str:
        _not_oneself(user, name)
        managed.set_role(name, role)
        return f"{name} is {role}."

    return _done(request, context, user, changed)


@router.post("/remove")
def remove(request: Request, context: ContextDep, user: Admin, name: Name) -> Response:
    """Remove a user with all logins and tokens."""

    def removed(managed: Users) -> str:
        _not_oneself(user, name)
        managed.remove(name)
        return f"{name} is removed."

    return _done(request, context, user, removed)


def _not_oneself(user: User, name: str) -> None:
    """Keep an admin from locking the last one out by mistake."""
    if user.name == name:
        raise UserError("this cannot be done to oneself; another admin must")


def _done(request: Request, context: Context, user: User, change: Callable[[Users], str]) -> Response:
    try:
        done = change(Users(context.database, context.trail, user.name, context.clock))
    except (UserError, PasswordError) as error:
        return _page(request, context, user, why=f"{str(error).capitalize()}.", status=400)
    return _page(request, context, user, done=done)


def _page(
    request: Request, context: Context, user: User, why: str = "", done: str = "", status: int = 200
) -> Response:
    found = Users(context.database, context.trail, user.name).all()
    values = {"users": found, "roles": list(Role), "local": Origin.LOCAL, "why": why, "done": done}
    return render(request, "users.html", status=status, **values)
