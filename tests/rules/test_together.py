"""Tests of sagittal and coronal images: judged together, apart from axial ones, with spans by height."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.regions import MR_CLASSES, UNKNOWN
from rules.decide import decide
from rules.state import State
from rules.together import together
from rules.verdict import Evidence

SAGITTAL = (1.0, 0.0, 0.0)
AXIAL = (0.0, 0.0, 1.0)
RULES = ("doubt", "order")


def scores(*regions: tuple[str, float]) -> NDArray[np.float32]:
    """Return probabilities (n, k): of each image one region with so much, the rest spread over the others."""
    found = np.zeros((len(regions), len(MR_CLASSES)), np.float32)
    for row, (region, share) in zip(found, regions, strict=True):
        row[:] = (1.0 - share) / (len(MR_CLASSES) - 1)
        row[MR_CLASSES.index(region)] = share
    return found


def stack(table: NDArray[np.float32], normal: tuple[float, float, float], **more: object) -> Evidence:
    """Return the evidence of a stack whose planes have one normal."""
    n = len(table)
    heights = np.tile([[-200.0, 80.0]], (n, 1))
    places = np.arange(n, dtype=np.float64) * 4.0
    normals = np.tile(normal, (n, 1))
    return Evidence(MR_CLASSES, table, places, normals, heights_mm=heights, **more)  # type: ignore[arg-type]


def test_a_stack_is_of_the_region_that_most_images_speak_for() -> None:
    """The outer images of a spine show flank and kidney; the stack is of the spine none the less."""
    spine = stack(scores(("abdomen", 0.6), *[("lspine", 0.9)] * 6, ("pelvis", 0.5)), SAGITTAL)
    found = decide(spine, RULES, 0.5)
    assert set(found.regions) == {"lspine"}
    assert found.term == "LSPINE"
    assert found.rule == "together"


def test_the_span_reaches_from_the_lowest_to_the_highest_point() -> None:
    """Positions of sagittal images say nothing of heights, so the span takes those of the images' corners."""
    found = decide(stack(scores(*[("lspine", 0.9)] * 5), SAGITTAL), RULES, 0.5)
    (span,) = found.spans
    assert (span.region, span.first_mm, span.last_mm, span.images) == ("lspine", -200.0, 80.0, 5)


def test_images_that_disagree_are_unknown() -> None:
    """Where no region has most of the evidence there is no term."""
    torn = stack(scores(("knee", 0.5), ("calf", 0.5), ("thigh", 0.5), ("foot", 0.5)), SAGITTAL)
    found = decide(torn, RULES, 0.5)
    assert set(found.regions) == {UNKNOWN}
    assert found.term is None


def test_foreign_images_have_no_say() -> None:
    """What looks like nothing known does not vote; where nothing is known all is unknown."""
    table = scores(("knee", 0.95), *[("hand", 0.9)] * 3)
    energy = np.array([-9.0, 5.0, 5.0, 5.0], np.float32)
    found = decide(stack(table, SAGITTAL, energy=energy, maximum_energy=0.0), RULES, 0.5)
    assert set(found.regions) == {"knee"}
    nothing = decide(stack(table, SAGITTAL, energy=energy, maximum_energy=-20.0), RULES, 0.5)
    assert set(nothing.regions) == {UNKNOWN}


def test_each_image_of_a_mixed_series_is_judged_with_its_kind() -> None:
    """Sagittal images do not enter the axial order; the more numerous kind names the series."""
    axial = stack(scores(*[("head", 0.9)] * 8), AXIAL)
    along = stack(scores(*[("cspine", 0.9)] * 3), SAGITTAL)
    assert axial.positions_mm is not None
    assert along.positions_mm is not None
    assert axial.normals is not None
    assert along.normals is not None
    sequence = np.array([8, 0, 1, 9, 2, 3, 4, 10, 5, 6, 7])
    mixed = Evidence(
        MR_CLASSES,
        np.concatenate([axial.probabilities, along.probabilities])[sequence],
        np.concatenate([axial.positions_mm, along.positions_mm])[sequence],
        np.concatenate([axial.normals, along.normals])[sequence],
    )
    found = decide(mixed, RULES, 0.5)
    assert found.regions == tuple("cspine" if place >= 8 else "head" for place in sequence)
    assert found.term == decide(axial, RULES, 0.5).term
    assert sum(span.images for span in found.spans) == len(sequence)


@pytest.mark.parametrize("n", [1, 2, 500])
def test_many_images_are_no_more_sure_than_a_few(n: int) -> None:
    """Neighbours err alike: five hundred images of a torn network do not become certainty."""
    table = scores(*[("knee", 0.5)] * n).astype(np.float64)
    found = together(State(MR_CLASSES, table))
    assert 0.45 <= float(found.confidences[0]) < 0.995


def test_no_rules_leave_each_image_its_own_best_class() -> None:
    """Without rules nothing is judged together."""
    found = decide(stack(scores(("knee", 0.9), ("calf", 0.9)), SAGITTAL), (), 0.5)
    assert found.regions == ("knee", "calf")
