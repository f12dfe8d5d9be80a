"""The ladder: measures of each stage, and paired differences against one of them, by hand."""

import numpy as np
import pytest

from model.training.cases import Case, EvaluationError, Part
from model.training.evaluate import Judged, outcome
from model.training.ladder import MEASURES, Rung, ladder, table
from model.training.stages import Decided, Stage
from tests.model.test_training_series import case, said

CASES = tuple(
    case("abdomen", "abdomen", "abdomen", None, "chest", "chest", name=f"v{i}", subject=f"s{i}")
    for i in range(6)
)
TITLES = [measure.title for measure in MEASURES]


def judged(name: str, predicted: str, cases: tuple[Case, ...] = CASES) -> Judged:
    """Return a stage that says the same of every case, `u` being unknown."""
    regions = tuple("unknown" if letter == "u" else said(letter)[0] for letter in predicted)
    decided = tuple(Decided(regions, np.full(len(regions), 0.9)) for _ in cases)
    stage = Stage(name, f"stage {name}", lambda _: decided[0], resolves=True)
    return Judged(stage, decided, outcome("CT", cases, decided, stage))


def rungs(*stages: Judged) -> dict[str, Rung]:
    """Return the ladder against the first of the stages, by name."""
    found = ladder(Part("validation", "Validation", CASES), stages, stages[0].stage.name)
    return {rung.name: rung for rung in found}


def values(rung: Rung) -> dict[str, float]:
    """Return the figures of a rung by the measures' titles."""
    return {title: figure.value for title, figure in zip(TITLES, rung.figures, strict=True)}


def test_figures_by_hand() -> None:
    """Of six labelled images a stage gets one wrong, far away, and does not know another."""
    found = values(rungs(judged("base", "aaaacc"), judged("worse", "haaacu"))["worse"])
    assert found["slices right %"] == pytest.approx(3 / 5)
    assert found["taken for a region apart %"] == pytest.approx(1 / 5)
    assert found["covered %"] == pytest.approx(4 / 5)
    assert (found["exact set %"], found["false region %"]) == (0.0, 1.0)
    assert found["boundary mm"] == 0.0


def test_differences_are_paired() -> None:
    """All cases differ alike: the interval leaves out zero, a boundary's has no width; the base has none."""
    found = rungs(judged("base", "aaaacc"), judged("worse", "aaaccc"), judged("late", "aacccc"))
    assert found["base"].gains is None
    gains = found["late"].gains
    assert gains is not None
    right = gains[TITLES.index("slices right %")]
    assert right.value == pytest.approx(-0.2)
    assert right.high < 0
    boundary = gains[TITLES.index("boundary mm")]
    assert boundary.value == boundary.low == boundary.high > 0


def test_a_boundary_that_was_not_found_is_in_neither() -> None:
    """Where one stage never changes region there is no difference of boundaries, but of the rest."""
    found = rungs(judged("base", "aaaacc"), judged("blind", "aaaaaa"))["blind"]
    assert found.gains is not None
    assert np.isnan(values(found)["boundary mm"])
    assert np.isnan(found.gains[TITLES.index("boundary mm")].value)
    text = table(ladder(Part("v", "V", CASES), (judged("base", "aaaacc"), judged("blind", "aaaaaa")), "base"))
    assert text.splitlines()[-1].endswith("| - |")
    assert "… against stage base" in text


def test_the_reference_must_be_there() -> None:
    """A stage that nobody judged is one sentence."""
    with pytest.raises(EvaluationError, match="no stage 'paper'"):
        ladder(Part("validation", "Validation", CASES), (judged("base", "aaaacc"),), "paper")
