"""Tests of CT series as wholes in the worker: axial, along the body, contradicted, switched off."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from db.records import Outcome
from model.classify import SHIPPED, Classifier
from model.frames import read_headers
from model.series_reader import SeriesPrediction, Stretches
from node import wholes
from node.settings.config import Config
from node.wholes import Onlooker
from node.worker import classify
from rules.explain import PROJECTION
from tests.builders import CORONAL, Recipe, write


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The shipped networks for slices."""
    return Classifier.load(SHIPPED)


def outcome(classifier: Classifier, folder: Path, recipe: Recipe, config: Config | None = None) -> Outcome:
    """Classify a written series."""
    headers = [header for path in write(folder, recipe) for header in read_headers(path)]
    return classify(headers, config or Config.standalone(), classifier, lambda: None)


def test_an_axial_series_is_looked_at_as_a_whole(classifier: Classifier, tmp_path: Path) -> None:
    """Label, axis and contrast come with the verdict; the axis is the header's."""
    found = outcome(classifier, tmp_path, Recipe(n=6))
    assert found.verdict is not None
    assert found.whole is not None
    assert (found.whole.axis, found.whole.axis_from) == ("axial", "geometry")
    assert 0.0 < found.whole.second_confidence <= found.whole.part_confidence <= 1.0


def test_a_coronal_series_gets_its_regions(classifier: Classifier, tmp_path: Path) -> None:
    """Images that no slice network knows are decoded for the projection, which names the regions in mm."""
    found = outcome(classifier, tmp_path, Recipe(n=6, orientation=CORONAL, rows=128))
    assert found.whole is not None
    assert found.whole.axis == "coronal"
    assert found.verdict is not None
    assert found.verdict.rule == PROJECTION
    heights = [edge for span in found.verdict.spans for edge in (span.first_mm, span.last_mm)]
    assert heights == sorted(heights)
    assert -100.0 - 128 * 0.8 - 5 < heights[0] < heights[-1] < -95.0
    assert {(image.region, image.reason) for image in found.images} == {(None, None)}


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        (Recipe(n=3), "few images"),
        (Recipe(n=6, modality="MR"), "no CT"),
        (Recipe(n=6, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")), "a localizer"),
    ],
)
def test_others_are_not(classifier: Classifier, tmp_path: Path, recipe: Recipe, why: str) -> None:
    """What makes no volume of CT has no word on the whole."""
    assert outcome(classifier, tmp_path, recipe).whole is None, why


def test_it_can_be_switched_off(classifier: Classifier, tmp_path: Path) -> None:
    """With `ct_series: off` nothing is gathered, and coronal series are passed on as before."""
    plain = Config.standalone()
    config = plain.model_copy(update={"classify": plain.classify.model_copy(update={"ct_series": "off"})})
    found = outcome(classifier, tmp_path, Recipe(n=6, orientation=CORONAL), config)
    assert (found.whole, found.verdict, found.reason) == (None, None, "coronal plane")


def told(axes: Mapping[str, float], contradicts: bool) -> SeriesPrediction:
    """Return what a network said of a series whose header says axial."""
    return SeriesPrediction(
        parts={"chest": 0.45, "abdomen": 0.4, "pelvis": 0.15},
        contrasts={"without": 0.55, "with": 0.45},
        axes=axes,
        axis="axial",
        axis_from="geometry",
        contradicts=contradicts,
        doubt="",
        stretches=Stretches(
            ("chest", "abdomen"), np.array([[0.1, 0.9], [0.8, 0.2]], np.float32), np.array([0.0, 40.0])
        ),
        weights_digest="ab",
    )


def test_contradictions_are_flagged_and_doubt_is_unknown(classifier: Classifier, tmp_path: Path) -> None:
    """Another axis than the header's becomes a remark; what is not sure has no label and no contrast."""
    before = replace(outcome(classifier, tmp_path, Recipe(n=6)), whole=None)
    said = told({"axial": 0.04, "coronal": 0.95, "sagittal": 0.01}, contradicts=True)
    found = Onlooker(None, None, lambda: None, said).told(before, Config.standalone())
    assert found.verdict is not None
    assert "the header says axial planes, the images look coronal" in found.verdict.flags
    assert found.whole is not None
    assert (found.whole.part, found.whole.contrast, found.whole.second) == (None, None, "abdomen")
    assert (found.whole.seen_axis, found.whole.contradicts) == ("coronal", True)


def test_each_height_has_the_nearest_stretch() -> None:
    """Slices beside the stretches' middles get what those show."""
    stretches = told({"axial": 1.0}, contradicts=False).stretches
    assert stretches is not None
    found = wholes.at(stretches, np.array([-30.0, 10.0, 35.0]))
    assert np.allclose(found, [[0.1, 0.9], [0.1, 0.9], [0.8, 0.2]])
