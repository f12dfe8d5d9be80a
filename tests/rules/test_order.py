"""Tests of the ordered decoder: order and dwell, both directions, stations, doubt, bad input."""

from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.regions import ABDOMEN_CHEST, MR_CLASSES, UNKNOWN
from rules.anatomy import CHAINS
from rules.decide import decide
from rules.order import REVERSED, UNPLACED, order
from rules.state import State
from rules.verdict import Evidence
from tests.rules.series import evidence, simulated, state


def runs(found: State) -> list[tuple[str, int]]:
    """Return the runs of equal region, feet to head."""
    return [(region, len(list(run))) for region, run in groupby(found.regions)]


def flipped(given: State) -> State:
    """Turn a series upside down, as a wrong header would."""
    assert given.positions_mm is not None
    return replace(
        given, scores=given.scores[::-1], positions_mm=given.positions_mm[-1] - given.positions_mm[::-1]
    )


def test_a_clean_series_stays_as_it_is() -> None:
    """Regions in their order, of plausible length, keep every border."""
    clean = [("calf", 30), ("knee", 25), ("thigh", 60), ("pelvis", 40), ("abdomen", 40), ("chest", 20)]
    found = order(state(*clean))
    assert runs(found) == clean
    assert found.flags == ()
    assert found.confidences.min() > 0.5
    assert found.confidences[clean[0][1] + 10] > 0.99


def test_what_breaks_the_order_is_overruled() -> None:
    """A few images of another limb, however sure, and a return to a region left behind, do not survive."""
    found = order(
        state(("abdomen", 30), ("knee", 2), ("abdomen", 10), ("chest", 20), ("abdomen", 2), ("chest", 20))
    )
    assert runs(found) == [("abdomen", 42), ("chest", 42)]


def test_a_sliver_inside_the_chain_is_overruled() -> None:
    """One image of pelvis between abdomen and chest is none, and one of neck within the chest no neck."""
    found = order(state(("abdomen", 30), ("pelvis", 1), ("chest", 25), ("neck", 1), ("chest", 25)))
    assert [region for region, _ in runs(found)] == ["abdomen", "chest"]


def test_a_skipped_region_costs_but_is_possible() -> None:
    """A long chest right below a long head: the neck that nobody saw is not made up."""
    found = order(state(("chest", 40), ("head", 30)))
    assert runs(found) == [("chest", 40), ("head", 30)]


def test_thin_slices_are_no_independent_evidence() -> None:
    """A wrong stretch of 5 mm loses whether it has two images or fifty."""
    for step in (2.5, 0.1):
        each, few = round(150 / step), round(5 / step)
        found = order(state(("abdomen", each), ("knee", few), ("abdomen", each), step_mm=step))
        assert runs(found) == [("abdomen", 2 * each + few)]


def test_a_long_stretch_of_nonsense_is_unknown() -> None:
    """Ten centimetres of hand within an abdomen are neither hand nor abdomen."""
    found = order(state(("abdomen", 30), ("hand", 20), ("abdomen", 30)))
    assert [region for region, _ in runs(found)] == ["abdomen", UNKNOWN, "abdomen"]
    assert abs(runs(found)[1][1] - 20) <= 2


def test_foreign_images_are_unknown_unless_they_are_few() -> None:
    """What looks like nothing known is doubted in a stretch; a single image is named by its surroundings."""
    images = state(("abdomen", 90))
    foreign = np.zeros(90, np.bool_)
    foreign[10], foreign[40:70] = True, True
    scores = np.where(foreign[:, np.newaxis], 0.0, images.scores)
    found = order(replace(images, scores=scores, foreign=foreign))
    assert found.regions[10] == "abdomen"
    assert set(found.regions[42:68]) == {UNKNOWN}


@pytest.mark.parametrize("chain", ["cspine tspine lspine", "shoulder arm elbow forearm hand", "breast"])
def test_spine_arm_and_breast_lie_beside_the_trunk(chain: str) -> None:
    """A spine protocol, an arm or a breast is decoded along its own chain."""
    regions = chain.split()[::-1]
    given = [(region, 30) for region in regions]
    assert runs(order(state(*given))) == given


def test_an_arm_may_lie_either_way() -> None:
    """Raised or hanging, an arm says nothing about where the head is: no contradiction is flagged."""
    arm = state(("hand", 30), ("forearm", 30), ("elbow", 20), ("arm", 30))
    for one in (arm, flipped(arm)):
        found = order(one)
        assert [region for region, _ in runs(found)] == [region for region, _ in runs(one)]
        assert found.flags == ()


def test_a_neck_taken_for_cervical_spine_is_neck_beside_a_head() -> None:
    """Two fields of view of one level: what lies around decides which it is."""
    found = order(state(("chest", 20), ("neck", 8), ("cspine", 10), ("neck", 8), ("head", 25)))
    assert runs(found) == [("chest", 20), ("neck", 26), ("head", 25)]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ([("abdomen", 20), (ABDOMEN_CHEST, 8), ("chest", 30)], [("abdomen", 24), ("chest", 34)]),
        ([(ABDOMEN_CHEST, 6), ("chest", 40)], [("chest", 46)]),
        ([("abdomen", 40), (ABDOMEN_CHEST, 6)], [("abdomen", 46)]),
        ([(ABDOMEN_CHEST, 6)], [("abdomen", 6)]),
    ],
)
def test_the_zone_between_chest_and_abdomen_goes_to_its_neighbours(
    given: list[tuple[str, int]], shown: list[tuple[str, int]]
) -> None:
    """Half to each where both are there, all to the one that is, to the abdomen where none is."""
    found = order(state(*given))
    assert runs(found) == shown
    assert not found.scores[:, MR_CLASSES.index(ABDOMEN_CHEST)].any()
    assert found.confidences.min() > 0.6


def test_feet_first_is_no_matter_for_positions() -> None:
    """Head-first and feet-first give the same patient coordinates; images may also arrive in any order."""
    series = evidence(("abdomen", 20), ("chest", 30))
    assert series.positions_mm is not None
    back = Evidence(series.classes, series.probabilities[::-1], series.positions_mm[::-1])
    head_first, feet_first = decide(series, ("order",), 0.5), decide(back, ("order",), 0.5)
    assert feet_first.regions == head_first.regions[::-1]
    assert (feet_first.spans, feet_first.term, feet_first.flags) == (head_first.spans, "CHESTABDOMEN", ())


def test_a_header_that_exchanges_head_and_feet_is_overruled_and_flagged() -> None:
    """Clear anatomy wins against the header's direction, and a reviewer is told."""
    series = state(("abdomen", 20), ("chest", 40), ("neck", 20))
    turned = order(flipped(series))
    assert runs(turned) == [("neck", 20), ("chest", 40), ("abdomen", 20)]
    assert REVERSED in turned.flags
    assert order(series).flags == ()


def test_the_header_decides_where_the_images_do_not() -> None:
    """An unsure hint against the header is not enough to turn the body round."""
    series = state(("chest", 10), ("abdomen", 2), step_mm=3.0, score=0.5)
    assert order(series).flags == ()


def test_gantry_tilt_and_decubitus_change_nothing() -> None:
    """Normals tilted alike by 30 degrees are one station; how the patient lies is not in them at all."""
    series = state(("abdomen", 20), ("chest", 30))
    tilted = np.tile([0.0, -0.5, np.sqrt(0.75)], (50, 1))
    assert runs(order(replace(series, normals=tilted))) == runs(order(series))


def test_two_stations_need_not_follow_each_other() -> None:
    """A knee half a metre above a hand, and a head below a pelvis beyond a hole: each is what it is."""
    for below, above in (("hand", "knee"), ("head", "pelvis")):
        series = state((below, 30), (above, 30))
        assert series.positions_mm is not None
        apart = series.positions_mm + np.repeat([0.0, 500.0], 30)
        assert runs(order(replace(series, positions_mm=apart))) == [(below, 30), (above, 30)]


def test_a_hole_is_walked_over() -> None:
    """Pelvis and chest with 20 cm between them need no abdomen, and cost nothing."""
    series = state(("pelvis", 30), ("chest", 30))
    assert series.positions_mm is not None
    found = order(replace(series, positions_mm=series.positions_mm + np.repeat([0.0, 200.0], 30)))
    assert runs(found) == [("pelvis", 30), ("chest", 30)]
    assert found.confidences.min() > 0.95


def test_discs_of_changing_orientation_are_stations() -> None:
    """Blocks of a lumbar spine, each tilted its own way, overlapping in position, are all lumbar spine."""
    series = state(("lspine", 25), step_mm=3.0)
    angles = np.radians(np.repeat([-30.0, -10.0, 10.0, 30.0, 50.0], 5))
    normals = np.stack([np.zeros(25), np.sin(angles), np.cos(angles)], axis=1)
    found = order(replace(series, normals=normals))
    assert runs(found) == [("lspine", 25)]


def test_one_image_keeps_its_region() -> None:
    """A single sure image is what it is; an unsure one falls below any reasonable confidence."""
    assert runs(order(state(("knee", 1)))) == [("knee", 1)]
    assert order(state(("knee", 1))).confidences[0] > 0.7
    assert order(state(("knee", 1), score=0.3)).confidences[0] < 0.5


def test_one_place_is_one_step() -> None:
    """A hundred phases of one place share a step: the majority names it, as sure as one image is."""
    found = order(state(("head", 90), ("knee", 10), step_mm=0.0))
    assert runs(found) == [("head", 100)]
    assert found.confidences[0] < order(state(("head", 90), ("head", 10))).confidences[50]
    torn = order(state(("head", 5), ("knee", 5), ("hand", 5), step_mm=0.0))
    assert torn.confidences.max() < 0.5


def test_echoes_at_every_place_share_its_region() -> None:
    """Two echoes of each place, one of them unreadable to the network, get one region."""
    series = state(*(("abdomen" if i % 2 else "hand", 1) for i in range(60)))
    scores = series.scores.copy()
    scores[::2] = 1.0 / len(MR_CLASSES)
    found = order(replace(series, scores=scores, positions_mm=np.repeat(np.arange(30) * 5.0, 2)))
    assert runs(found) == [("abdomen", 60)]


def test_ten_thousand_images() -> None:
    """Thin images, and images that span fifty metres of no body at all, get their regions."""
    for step in (0.1, 5.0):
        found = order(state(("abdomen", 5000), ("chest", 5000), step_mm=step))
        assert [region for region, _ in runs(found)] == ["abdomen", "chest"]
        assert np.isfinite(found.scores).all()


def test_missing_positions_leave_the_scores() -> None:
    """Without positions each image stands for itself, and that is flagged."""
    series = replace(state(("chest", 5), ("knee", 1)), positions_mm=None)
    found = order(series)
    assert found.regions == series.regions
    assert UNPLACED in found.flags


def test_images_without_numbers_are_unknown() -> None:
    """NaN for all classes is unknown between known neighbours, and does not touch them."""
    series = evidence(("chest", 30))
    series.probabilities[10:12] = np.nan
    verdict = decide(series, ("order",), 0.5)
    assert set(verdict.regions[10:12]) == {UNKNOWN}
    assert verdict.regions.count("chest") == 28
    series.probabilities[:] = np.nan
    assert decide(series, ("order",), 0.5).rule == "doubt"


def test_no_image_is_no_region() -> None:
    """An empty series goes through."""
    assert order(State(MR_CLASSES, np.zeros((0, len(MR_CLASSES))), np.zeros(0))).regions == ()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.sampled_from([0.0, 1.0, 5.0, 12.0]))
def test_nobody_goes_back(seed: int, n: int, step: float) -> None:
    """Whatever the network says of a station without holes, its regions follow one chain in one direction."""
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.full(len(MR_CLASSES), 0.2), n)
    found = order(State(MR_CLASSES, scores, np.arange(n, dtype=np.float64) * step))
    seen = [region for region, _ in runs(found) if region != UNKNOWN]
    places = [place for place, _ in groupby(seen)]
    assert len(places) == len(set(places))
    chain = next(chain for chain in CHAINS if not places or places[0] in chain)
    indices = [chain.index(place) for place in places]
    assert indices in (sorted(indices), sorted(indices, reverse=True))
    assert np.all((found.scores >= 0) & (found.scores <= 1 + 1e-9))
    assert np.all(found.scores.sum(axis=1) <= 1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_turned_series_has_the_same_regions(seed: int) -> None:
    """Clear series turned upside down give the mirrored regions, whatever the header's direction."""
    rng = np.random.default_rng(seed)
    start = int(rng.integers(0, 5))
    chain = ("foot", "calf", "knee", "thigh", "pelvis", "abdomen", "chest", "neck", "head")
    clear = state(*((key, int(rng.integers(20, 40))) for key in chain[start : start + 4]))
    turned, straight = runs(order(flipped(clear)))[::-1], runs(order(clear))
    assert [region for region, _ in turned] == [region for region, _ in straight]
    # the middle of the zone may lie on an image, which then belongs to the upper half
    assert all(abs(one - other) <= 1 for (_, one), (_, other) in zip(turned, straight, strict=True))


def test_order_beats_the_papers_rules_on_simulated_series() -> None:
    """Bodies of all sizes, a network right on 92 % of images: exact sets and false regions, none unknown."""
    series = [simulated(seed) for seed in range(120)]
    exact, false = {}, {}
    for name in ("paper", "order"):
        sets = []
        for one in series:
            made = Evidence(one.state.classes, one.state.scores.astype(np.float32), one.state.positions_mm)
            shown = set(decide(made, (name,), 0.0).regions) - {UNKNOWN}
            needed = set(one.truth) - {ABDOMEN_CHEST}
            allowed = needed | ({"abdomen", "chest"} if ABDOMEN_CHEST in one.truth else set())
            sets.append((needed <= shown <= allowed, bool(shown - allowed)))
        exact[name], false[name] = np.mean(sets, axis=0)
    assert exact["order"] > 0.95
    assert false["order"] < 0.03
    assert exact["order"] > exact["paper"] + 0.2
