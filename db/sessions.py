"""Browsers that are logged in, and the tokens of programs; only hashes of secrets are kept."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from db.accounts import Origin, Role, User, lower, user_of
from db.tables import SessionRow, TokenRow, UserRow

SEEN_EVERY: Final = timedelta(minutes=1)
"""How exactly the last request of a session or token is known: each note of it is a write."""


@dataclass(frozen=True, slots=True)
class Found:
    """A session or token that is good; `stale`: its last use should be noted anew."""

    id: int
    user: User
    origin: Origin
    stale: bool


@dataclass(frozen=True, slots=True)
class Token:
    """A token as its owner sees it."""

    id: int
    user_name: str
    role: Role
    purpose: str
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


def begin(
    session: Session, token_hash: str, user_id: int, origin: Origin, now: datetime, lasts: timedelta
) -> None:
    """Log a browser in, and forget sessions that ended by themselves."""
    session.execute(delete(SessionRow).where(SessionRow.expires_at <= now))
    values = {
        "token_hash": token_hash,
        "user_id": user_id,
        "origin": origin,
        "created_at": now,
        "seen_at": now,
        "expires_at": now + lasts,
    }
    session.execute(insert(SessionRow).values(values))


def find(session: Session, token_hash: str, now: datetime, idle: timedelta) -> Found | None:
    """Return the session of a cookie, unless it ended or was idle for too long."""
    row = session.execute(
        select(SessionRow, UserRow)
        .join(UserRow, UserRow.id == SessionRow.user_id)
        .where(SessionRow.token_hash == token_hash)
        .where(SessionRow.expires_at > now, SessionRow.seen_at > now - idle)
    ).first()
    if row is None:
        return None
    stale = row[0].seen_at < now - SEEN_EVERY
    return Found(row[0].id, user_of(row[1]), Origin(row[0].origin), stale)


def seen(session: Session, session_id: int, now: datetime) -> None:
    """Note the time of a request."""
    session.execute(update(SessionRow).where(SessionRow.id == session_id).values(seen_at=now))


def end(session: Session, token_hash: str) -> None:
    """Log a browser out."""
    session.execute(delete(SessionRow).where(SessionRow.token_hash == token_hash))


def add_token(
    session: Session,
    token_hash: str,
    user_id: int,
    role: Role,
    purpose: str,
    now: datetime,
    lasts: timedelta | None,
) -> int:
    """Keep a token, for good unless `lasts` says for how long; returns its number."""
    values = {
        "token_hash": token_hash,
        "user_id": user_id,
        "role": role,
        "purpose": purpose,
        "created_at": now,
        "expires_at": None if lasts is None else now + lasts,
    }
    return session.scalars(insert(TokenRow).values(values).returning(TokenRow.id)).one()


def find_token(session: Session, token_hash: str, now: datetime) -> Found | None:
    """Return who shows a token, with the lower of the token's and the user's roles, unless it ended."""
    row = session.execute(
        select(TokenRow, UserRow)
        .join(UserRow, UserRow.id == TokenRow.user_id)
        .where(TokenRow.token_hash == token_hash)
        .where(TokenRow.expires_at.is_(None) | (TokenRow.expires_at > now))
    ).first()
    if row is None:
        return None
    user = user_of(row[1])
    stale = row[0].used_at is None or row[0].used_at < now - SEEN_EVERY
    return Found(row[0].id, replace(user, role=lower(user.role, Role(row[0].role))), user.origin, stale)


def token_used(session: Session, token_id: int, now: datetime) -> None:
    """Note the time of a request."""
    session.execute(update(TokenRow).where(TokenRow.id == token_id).values(used_at=now))


def tokens(session: Session, user_id: int | None = None) -> list[Token]:
    """Return the tokens of a user, or of all."""
    wanted = select(TokenRow, UserRow.name).join(UserRow, UserRow.id == TokenRow.user_id)
    if user_id is not None:
        wanted = wanted.where(TokenRow.user_id == user_id)
    return [
        Token(row.id, name, Role(row.role), row.purpose, row.created_at, row.expires_at, row.used_at)
        for row, name in session.execute(wanted.order_by(TokenRow.id))
    ]


def remove_token(session: Session, token_id: int, user_id: int | None = None) -> bool:
    """Remove a token, of this user where one is given; False where there is none."""
    gone = delete(TokenRow).where(TokenRow.id == token_id)
    if user_id is not None:
        gone = gone.where(TokenRow.user_id == user_id)
    return session.scalar(gone.returning(TokenRow.id)) is not None
