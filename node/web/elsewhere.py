"""Users that log in elsewhere, at an OpenID provider or at a proxy: found, or added, with their role."""

from datetime import timedelta

from db import accounts
from db.accounts import Account, NameTakenError, Origin, Role, User
from node.auditing.users import changed, logged_in
from node.web.context import Context
from node.web.users import UserError, checked_name


class NotLetInError(Exception):
    """Somebody is known elsewhere, but not let in here; the message is one sentence."""


def admitted(
    context: Context, origin: Origin, subject: str, name: str, role: Role | None, keep_role: bool
) -> User:
    """Return the user of a subject, added where it is new; raises NotLetInError.

    `role` is what its login gives, None where that gives none; with `keep_role` the role of a known user is
    not changed by it.
    """
    with context.database.reading() as session:
        found = accounts.known_as(session, origin, subject)
    if found is None:
        return _added(context, origin, subject, name, role)
    if keep_role or role is found.user.role:
        return found.user
    if role is None:
        raise NotLetInError(f"{found.user.name} has no role here any more")
    with context.database.session() as session:
        accounts.set_role(session, found.user.id, role, context.clock())
    changed(context.trail, found.user.name, origin, "role", role=role)
    return User(found.user.id, found.user.name, role, origin)


def _added(context: Context, origin: Origin, subject: str, name: str, role: Role | None) -> User:
    if role is None:
        raise NotLetInError(f"{name[:64]} has no role here")
    try:
        normal = checked_name(name)
        with context.database.session() as session:
            user = accounts.add(session, normal, role, origin, context.clock(), subject=subject)
    except UserError as error:
        raise NotLetInError(f"the login elsewhere gives no name that can be used: {error}") from None
    except NameTakenError:
        raise NotLetInError(f"another user is called {normal}; an admin must remove one of them") from None
    changed(context.trail, normal, origin, "added", role=role, origin=origin)
    return user


def named_by_proxy(context: Context, name: str, address: str) -> User:
    """Return the user that a trusted proxy names; raises NotLetInError."""
    login = context.config.web.proxy.login
    assert login is not None  # noqa: S101 - asked by the caller
    subject = accounts.normal_name(name)
    user = admitted(context, Origin.PROXY, subject, name, login.role, keep_role=True)
    with context.database.reading() as session:
        account = accounts.named(session, user.name)
    if account is not None and _is_new_login(context, account):
        with context.database.session() as session:
            accounts.logged_in(session, user.id, context.clock())
        logged_in(context.trail, user.name, address, Origin.PROXY)
    return user


def _is_new_login(context: Context, account: Account) -> bool:
    """Tell whether a proxy's user comes anew: its logins are not seen here, only requests."""
    lasts = timedelta(seconds=context.config.web.session_timeout_s)
    return account.last_login_at is None or account.last_login_at < context.clock() - lasts
