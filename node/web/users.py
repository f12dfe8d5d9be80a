"""Managing users, for commands and the page alike: each change is in the audit trail, with who made it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from db import accounts, sessions
from db.accounts import Account, NameTakenError, Origin, Role, User, normal_name
from db.session import Database
from db.sessions import Token
from node.auditing.audit import Trail
from node.auditing.users import changed
from node.clock import utc_now
from node.web import passwords
from node.web.secrets import digest, new_token

_NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f<>\"'\\/:]{1,64}")
FIRST: Final = "admin"


class UserError(ValueError):
    """A user cannot be added or found; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Users:
    """The users of a database; `by` is who changes them."""

    database: Database
    trail: Trail
    by: str
    clock: Callable[[], datetime] = utc_now

    def all(self) -> list[Account]:
        """Return all users by name."""
        with self.database.reading() as session:
            return accounts.accounts(session)

    def tokens(self, user_id: int | None = None) -> list[Token]:
        """Return the tokens of a user, or of all."""
        with self.database.reading() as session:
            return sessions.tokens(session, user_id)

    def named(self, name: str) -> User:
        """Return the user of that name; raises UserError."""
        with self.database.reading() as session:
            found = accounts.named(session, normal_name(name))
        if found is None:
            raise UserError(f"there is no user '{name}'")
        return found.user

    def add(
        self,
        name: str,
        role: Role,
        password: str | None,
        origin: Origin = Origin.LOCAL,
        must_change: bool = False,
    ) -> User:
        """Add a user, with a password if it logs in here; raises UserError or PasswordError."""
        normal = checked_name(name)
        password_hash = None if password is None else passwords.hashed(password)
        try:
            with self.database.session() as session:
                now = self.clock()
                user = accounts.add(
                    session, normal, role, origin, now, password_hash, must_change=must_change
                )
        except NameTakenError as error:
            raise UserError(str(error)) from None
        changed(self.trail, normal, self.by, "added", role=role, origin=origin)
        return user

    def set_password(self, name: str, password: str, must_change: bool = False) -> None:
        """Replace a password; raises UserError or PasswordError."""
        user = self.named(name)
        if user.origin is not Origin.LOCAL:
            raise UserError(f"{user.name} logs in elsewhere and has no password here")
        password_hash = passwords.hashed(password)
        with self.database.session() as session:
            accounts.set_password(session, user.id, password_hash, self.clock(), must_change)
        changed(self.trail, user.name, self.by, "password")

    def set_role(self, name: str, role: Role) -> None:
        """Give another role; raises UserError."""
        user = self.named(name)
        with self.database.session() as session:
            accounts.set_role(session, user.id, role, self.clock())
        changed(self.trail, user.name, self.by, "role", role=role)

    def remove(self, name: str) -> None:
        """Remove a user with all sessions and tokens; raises UserError."""
        user = self.named(name)
        with self.database.session() as session:
            accounts.remove(session, user.id)
        changed(self.trail, user.name, self.by, "removed")

    def new_token(self, name: str, role: Role, purpose: str, days: float | None) -> str:
        """Make a token and return it, the only time that it can be seen; raises UserError."""
        user, token = self.named(name), new_token()
        if not user.role.allows(role):
            raise UserError(f"{user.name} has the role {user.role}, a token of it cannot have {role}")
        lasts = None if days is None else timedelta(days=days)
        with self.database.session() as session:
            sessions.add_token(session, digest(token), user.id, role, purpose, self.clock(), lasts)
        changed(self.trail, user.name, self.by, "token", role=role, purpose=purpose)
        return token

    def remove_token(self, token_id: int, user_id: int | None = None) -> None:
        """Remove a token, of this user where one is given; raises UserError."""
        with self.database.session() as session:
            gone = sessions.remove_token(session, token_id, user_id)
        if not gone:
            raise UserError(f"there is no token {token_id}")
        changed(self.trail, self.by, self.by, "token removed", token=token_id)

    def first_admin(self) -> str | None:
        """Add an admin with a password that is to be changed, and return it; None where there is an admin."""
        with self.database.reading() as session:
            if accounts.has_admin(session):
                return None
        password = passwords.new_password()
        self.add(FIRST, Role.ADMIN, password, must_change=True)
        return password


def checked_name(name: str) -> str:
    """Return a name as it is kept; raises UserError for one that cannot be."""
    normal = normal_name(name)
    if not _NAME.fullmatch(normal):
        raise UserError("a name has 1 to 64 characters, without blanks, quotes, slashes and colons")
    return normal
