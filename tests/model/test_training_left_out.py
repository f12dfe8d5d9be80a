"""Regions left out of training: the share of their images that is labelled at a coverage of the known."""

from typing import cast

import numpy as np

from model.training.cases import Part
from model.training.evaluate import Judged, outcome
from model.training.left_out import ENERGY, VICINITY, left_out, table
from model.training.predictions import Network
from model.training.stages import Decided, SeriesOutput, Stage
from rules.doubt import accepted
from tests.model.test_training_series import case

CASE = case("abdomen", "abdomen", "abdomen", "abdomen", "knee", "knee", "foot", None, step_mm=20.0)


class Fixed:
    """Stands in for a network whose energies are known."""

    def outputs(self, part: Part) -> tuple[SeriesOutput, ...]:
        """Give low energies to what is known, and to one image of what is not."""
        energy = np.array([-9, -8, -7, -6, -1, -8, -2, 0], np.float32)
        return (SeriesOutput(("abdomen",), np.ones((8, 1), np.float32), part.cases[0].positions_mm, energy),)


def test_what_becomes_of_left_out_regions() -> None:
    """Confidence and energy are judged at the coverage of the known; a foot is unknown to the stage."""
    decided = Decided(
        ("abdomen",) * 6 + ("unknown", "abdomen"), np.array([0.9, 0.8, 0.9, 0.7, 0.95, 0.5, 0.0, 1.0])
    )
    stage = Stage("one", "stage one", lambda _: decided, resolves=True)
    judged = Judged(stage, (decided,), outcome("CT", (CASE,), (decided,), stage))
    part = Part("validation", "Validation", (CASE,))
    rows = left_out(part, (judged,), cast(Network, Fixed()), ("knee", "foot", "hand"), accepted)
    found = {(row.score, row.region): (row.images, row.known, row.labelled, row.named) for row in rows}
    assert found["stage one", "knee"] == (2, 4, 0.5, 1.0)
    assert found["stage one", "foot"] == (1, 4, 0.0, 0.0)
    assert found[ENERGY, "knee"][:3] == (2, 4, 0.5)
    assert found[ENERGY, "foot"][:3] == (1, 4, 0.0)
    assert found[VICINITY, "knee"][:3] == (2, 4, 0.5)
    assert found[VICINITY, "foot"][:3] == (1, 4, 0.0)
    assert not any(region == "hand" for _, region in found)
    assert "| knee | stage one | 2 | 4 | 100.0 | 50.0 |" in table(rows)
