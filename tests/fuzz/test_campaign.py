"""The short form of the campaign, for every run of the tests."""

from pathlib import Path

import pytest

from tests.fuzz.campaign import campaign

pytestmark = pytest.mark.alone

SECONDS = 8


def test_a_running_node_survives_hostile_bytes(tmp_path: Path) -> None:
    """No crash, no hang, no traceback, bounded memory; `make fuzz` does the same for ten minutes."""
    found = campaign(tmp_path / "node", SECONDS, seed=1)
    assert found.faults == []
    assert found.sequences > 10
    assert found.probes > 1
