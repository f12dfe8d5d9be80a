"""Users, sessions and tokens in both databases."""

from datetime import UTC, datetime, timedelta

import pytest

from db import accounts, sessions
from db.accounts import NameTakenError, Origin, Role
from db.session import Database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_names_are_taken_once(database: Database) -> None:
    """A name is one user's, wherever it logs in; a subject is one of its origin."""
    with database.session() as session:
        accounts.add(session, "nina", Role.VIEWER, Origin.OIDC, NOW, subject="https://x 1")
    with database.session() as session, pytest.raises(NameTakenError, match="'nina' already"):
        accounts.add(session, "nina", Role.ADMIN, Origin.LOCAL, NOW, "hash")
    with database.reading() as session:
        found = accounts.known_as(session, Origin.OIDC, "https://x 1")
        assert found is not None
        assert found.user.name == "nina"
        assert accounts.known_as(session, Origin.PROXY, "https://x 1") is None
        assert not accounts.has_admin(session)


def test_sessions_end_idle_absolute_and_with_their_user(database: Database) -> None:
    """A session is found until one of its ends; a removed user leaves none."""
    with database.session() as session:
        user = accounts.add(session, "nina", Role.VIEWER, Origin.LOCAL, NOW, "hash")
        sessions.begin(session, "one", user.id, Origin.LOCAL, NOW, 12 * HOUR)
        sessions.begin(session, "two", user.id, Origin.LOCAL, NOW, 12 * HOUR)

    def found(token_hash: str, now: datetime) -> bool:
        with database.reading() as session:
            return sessions.find(session, token_hash, now, HOUR) is not None

    assert found("one", NOW + HOUR - timedelta(seconds=1))
    assert not found("one", NOW + HOUR)
    with database.session() as session:
        kept = sessions.find(session, "one", NOW + timedelta(minutes=50), HOUR)
        assert kept is not None
        assert kept.stale
        sessions.seen(session, kept.id, NOW + 11.5 * HOUR)
    assert found("one", NOW + 11.9 * HOUR)
    assert not found("one", NOW + 12 * HOUR)
    with database.session() as session:
        accounts.remove(session, user.id)
    assert not found("two", NOW)


def test_a_token_may_no_more_than_its_user(database: Database) -> None:
    """The lower role of token and user counts, also after the user's was lowered; and tokens end."""
    with database.session() as session:
        user = accounts.add(session, "nina", Role.ADMIN, Origin.LOCAL, NOW, "hash")
        sessions.add_token(session, "high", user.id, Role.ADMIN, "all", NOW, None)
        sessions.add_token(session, "low", user.id, Role.VIEWER, "look", NOW, HOUR)
        accounts.set_role(session, user.id, Role.OPERATOR, NOW)
    with database.reading() as session:
        high, low = sessions.find_token(session, "high", NOW), sessions.find_token(session, "low", NOW)
        assert high is not None
        assert low is not None
        assert (high.user.role, low.user.role) == (Role.OPERATOR, Role.VIEWER)
        assert sessions.find_token(session, "low", NOW + HOUR) is None
        assert [each.purpose for each in sessions.tokens(session, user.id)] == ["all", "look"]
    with database.session() as session:
        assert not sessions.remove_token(session, low.id, user.id + 1)
        assert sessions.remove_token(session, low.id, user.id)


def test_a_new_password_ends_all_sessions(database: Database) -> None:
    """Whoever was logged in with the old password is logged in no more."""
    with database.session() as session:
        user = accounts.add(session, "nina", Role.VIEWER, Origin.LOCAL, NOW, "hash", must_change=True)
        sessions.begin(session, "one", user.id, Origin.LOCAL, NOW, 12 * HOUR)
        accounts.set_password(session, user.id, "other", NOW)
        assert sessions.find(session, "one", NOW, HOUR) is None
        account = accounts.named(session, "nina")
        assert account is not None
        assert (account.password_hash, account.user.must_change) == ("other", False)
