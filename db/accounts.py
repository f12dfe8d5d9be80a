"""Users of the page: who may log in, and with which role."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import delete, exists, insert, select, update
from sqlalchemy.orm import Session

from db.tables import SessionRow, UserRow


class Role(StrEnum):
    """What a user may: see everything; act on queues and verdicts; manage users."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def allows(self, needed: "Role") -> bool:
        """Tell whether this role may do what `needed` may."""
        return _RANK[self] >= _RANK[needed]


class Origin(StrEnum):
    """Where a user logs in: with a password here, at an OpenID provider, or at a proxy."""

    LOCAL = "local"
    OIDC = "oidc"
    PROXY = "proxy"


_RANK: Final = {role: rank for rank, role in enumerate(Role)}


class NameTakenError(Exception):
    """Another user has the name; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may log in; `must_change`: with a password that is to be replaced first."""

    id: int
    name: str
    role: Role
    origin: Origin
    must_change: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """A user with what is kept beside."""

    user: User
    subject: str
    password_hash: str | None
    created_at: datetime
    last_login_at: datetime | None


def normal_name(name: str) -> str:
    """Spell a name in one way, so that nobody can look like somebody else by capitals or variants."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def lower(one: Role, other: Role) -> Role:
    """Return the role of the two that may less."""
    return min(one, other, key=_RANK.__getitem__)


def add(
    session: Session,
    name: str,
    role: Role,
    origin: Origin,
    now: datetime,
    password_hash: str | None = None,
    subject: str | None = None,
    must_change: bool = False,
) -> User:
    """Add a user; `subject` is the name unless said otherwise. Raises NameTakenError."""
    if session.scalar(select(UserRow.id).where(UserRow.name == name)) is not None:
        raise NameTakenError(f"there is a user '{name}' already")
    row: dict[str, Any] = {
        "name": name,
        "role": role,
        "origin": origin,
        "subject": name if subject is None else subject,
        "password_hash": password_hash,
        "must_change": must_change,
        "created_at": now,
        "changed_at": now,
    }
    user_id = session.scalars(insert(UserRow).values(row).returning(UserRow.id)).one()
    return User(user_id, name, role, origin, must_change)


def accounts(session: Session) -> list[Account]:
    """Return all users by name."""
    return [_account(row) for row in session.scalars(select(UserRow).order_by(UserRow.name))]


def named(session: Session, name: str) -> Account | None:
    """Return the user of that name."""
    row = session.scalar(select(UserRow).where(UserRow.name == name))
    return None if row is None else _account(row)


def known_as(session: Session, origin: Origin, subject: str) -> Account | None:
    """Return the user that is known by this name at an OpenID provider or a proxy."""
    row = session.scalar(select(UserRow).where(UserRow.origin == origin, UserRow.subject == subject))
    return None if row is None else _account(row)


def has_admin(session: Session) -> bool:
    """Tell whether there is anybody who manages users."""
    return bool(session.scalar(select(exists().where(UserRow.role == Role.ADMIN))))


def set_password(
    session: Session, user_id: int, password_hash: str, now: datetime, must_change: bool = False
) -> None:
    """Replace a password; every browser where the user is logged in must log in again."""
    values = {"password_hash": password_hash, "must_change": must_change, "changed_at": now}
    _change(session, user_id, values)
    session.execute(delete(SessionRow).where(SessionRow.user_id == user_id))


def rehashed(session: Session, user_id: int, password_hash: str) -> None:
    """Keep the hash of the same password with newer parameters."""
    _change(session, user_id, {"password_hash": password_hash})


def set_role(session: Session, user_id: int, role: Role, now: datetime) -> None:
    """Give another role; it counts from the next request on."""
    _change(session, user_id, {"role": role, "changed_at": now})


def logged_in(session: Session, user_id: int, now: datetime) -> None:
    """Note the time of a login."""
    _change(session, user_id, {"last_login_at": now})


def remove(session: Session, user_id: int) -> None:
    """Remove a user with all sessions and tokens."""
    session.execute(delete(UserRow).where(UserRow.id == user_id))


def user_of(row: UserRow) -> User:
    """Return the user of a row."""
    return User(row.id, row.name, Role(row.role), Origin(row.origin), row.must_change)


def _account(row: UserRow) -> Account:
    return Account(user_of(row), row.subject, row.password_hash, row.created_at, row.last_login_at)


def _change(session: Session, user_id: int, values: dict[str, Any]) -> None:
    changed = update(UserRow).where(UserRow.id == user_id).values(values)
    session.execute(changed.execution_options(synchronize_session=False))
