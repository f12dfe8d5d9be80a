"""An installation of six processes with real servers, all of which are killed once: nothing is lost."""

import pytest

from tests.scale.cluster import cluster
from tests.scale.kills import BROKER, DATABASE, run

pytestmark = [
    pytest.mark.alone,
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::pytest.PytestUnhandledThreadExceptionWarning"
    ),
]

KILLS = ("receiver-1", "worker-1", BROKER, "forwarder-1", DATABASE, "receiver-2")


@pytest.mark.parametrize("kind", ["redis"])
def test_everything_is_killed_once(kind: str) -> None:
    """What was answered with Success arrives as it was sent; each series is decided once, as one."""
    with cluster(kind) as made:
        made.start_all(receiver=2, worker=2, forwarder=2)
        found = run(made, 20, KILLS, deadline_s=120)
        assert found.good, found
        assert found.series == 20
        assert sum(found.kills.values()) == len(KILLS)
