"""Requests for commitment over several receivers: one works on each, the one that was asked first of all."""

from datetime import timedelta

from db.commitments import CommitmentWork
from db.session import open_database
from node.clock import utc_now
from node.scaling.lease import Lease
from node.scaling.turns import ClaimedTurns


def test_turns(database_url: str) -> None:
    """A new request is the asked receiver's; an old one whoever's is first, until that gives it back."""
    database = open_database(database_url)
    asked, other = (ClaimedTurns(Lease(database, name, "receiver", 30)) for name in ("asked", "other"))
    now = utc_now()
    new = CommitmentWork(1, "1.2", "CT1", now, (), None, 0)
    assert not other.take(new, at_hand=False)
    assert asked.take(new, at_hand=True)
    old = CommitmentWork(1, "1.2", "CT1", now - timedelta(minutes=1), (), None, 0)
    asked.give(old, at_hand=True)
    assert not other.take(old, at_hand=False)
    asked.give(old, at_hand=False)
    assert other.take(old, at_hand=False)
    assert not asked.take(old, at_hand=True)
    database.close()
