"""Tests of votes at work: who is asked, and that nobody is where the rules do not say so."""

from pathlib import Path
from typing import Any

import pytest

from db.session import Database
from model.read import read_header
from node.settings.config import Config
from node.storage.spool import Spool
from node.votes import votes
from tests.builders import Recipe, write
from tests.node.deciding import Sure, decided

TILTED = (1.0, 0.0, 0.0, 0.0, 0.9, 0.436)
PLACE = {"FrameOfReferenceUID": "1.2.3.4"}


def config(*rules: str) -> Config:
    """Make a configuration with these rules."""
    return Config.model_validate({"receive": {"promiscuous": True}, "rules": rules})


@pytest.mark.parametrize(
    ("other", "rules", "heard"),
    [
        ({"overrides": PLACE}, ("votes", "order"), True),
        ({"overrides": PLACE}, ("order",), False),
        ({"overrides": {"FrameOfReferenceUID": "1.2.3.5"}}, ("votes", "order"), False),
        ({"overrides": {"FrameOfReferenceUID": None}}, ("votes", "order"), False),
        ({"overrides": PLACE, "orientation": TILTED}, ("votes", "order"), False),
    ],
)
def test_who_votes(
    spool: Spool,
    database: Database,
    tmp_path: Path,
    other: dict[str, Any],
    rules: tuple[str, ...],
    heard: bool,
) -> None:
    """A series of the same study, Frame of Reference and planes, decided before, where the rules ask."""
    first = decided(spool, database, config("order"), Sure("knee"), seed="first", n=4, **other)
    overrides = {**PLACE, "StudyInstanceUID": first.study_instance_uid}
    mine = [
        read_header(path) for path in write(tmp_path / "mine", Recipe(seed="mine", n=2, overrides=overrides))
    ]
    with database.reading() as session:
        found = votes(session, spool, config(*rules), 0, mine)
        itself = votes(session, spool, config(*rules), first.series_id, mine)
    assert itself == ()
    assert bool(found) == heard
    if heard:
        assert found[0].regions == ("knee",) * 4
        assert found[0].positions_mm.tolist() == [-100.0, -95.0, -90.0, -85.0]


def test_a_vote_tips_a_doubtful_series(spool: Spool, database: Database) -> None:
    """An unsure second series gets more of the confidence that the first one has."""
    study = {"StudyInstanceUID": "1.2.3", **PLACE}
    decided(spool, database, config("order"), Sure("knee"), seed="first", n=4, overrides=study)
    unsure = Sure("knee", 0.3)
    alone = decided(spool, database, config("order"), unsure, seed="second", n=2, overrides=study)
    helped = decided(spool, database, config("votes", "order"), unsure, seed="third", n=2, overrides=study)
    assert helped.spans[0].confidence > alone.spans[0].confidence + 0.05
