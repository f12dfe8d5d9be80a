"""The short version of the fault tests, for every run of the tests; `make chaos` runs all of them in full."""

import pytest

from tests.chaos import databases, disks, kills, peers, times
from tests.chaos.plan import Fault, Plan

pytestmark = pytest.mark.alone

SHORT: dict[str, Fault] = {
    "steps": kills.steps,
    "random": kills.at_random,
    "disk": disks.full,
    "database": databases.locked,
    "statuses": peers.statuses,
    "uid": times.same_uid,
}


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nothing_is_lost(name: str) -> None:
    """What was answered with Success arrives once, as it was sent, whatever breaks meanwhile."""
    result = SHORT[name](Plan(minutes=5, short=True))
    assert result.counts.good, result
    assert result.complete
