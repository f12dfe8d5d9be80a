"""Tests of the grid along the body: nodes, weights, duplicates, stations, and the chains' graph."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.regions import ABDOMEN_CHEST, CT_CLASSES, MR_CLASSES
from rules.anatomy import LENGTHS_MM, PHASES
from rules.graph import graph
from rules.stack import INDEPENDENT_MM, MAXIMUM_NODES, NODE_MM, stack


def apart(n: int, step_mm: float) -> NDArray[np.float64]:
    """Place n images at equal steps."""
    return np.arange(n, dtype=np.float64) * step_mm


def test_images_lie_on_nodes_by_their_place() -> None:
    """Neighbours 5 mm apart are two nodes apart; ten images of half a millimetre share a few nodes."""
    assert stack(apart(4, 5.0), None).node.tolist() == [0, 2, 4, 6]
    assert len(np.unique(stack(apart(10, 0.5), None).node)) == 3


def test_weights_count_millimetres_not_images() -> None:
    """A hundred millimetres weigh alike in thin and in thick images; no image weighs more than one."""
    thin, thick = stack(apart(100, 1.0), None).weight, stack(apart(20, 5.0), None).weight
    assert thin.sum() == pytest.approx(thick.sum(), rel=0.01)
    assert thick[0] == pytest.approx(5.0 / INDEPENDENT_MM)
    assert stack(apart(5, 40.0), None).weight.tolist() == [1.0] * 5


def test_images_at_one_place_share_its_weight() -> None:
    """Three echoes of each of ten places weigh as much as ten images."""
    weight = stack(np.repeat(apart(10, 5.0), 3), None).weight
    assert weight.sum() == pytest.approx(stack(apart(10, 5.0), None).weight.sum())


@pytest.mark.parametrize("n", [1, 2, 50])
def test_a_station_is_at_least_one_piece_of_evidence(n: int) -> None:
    """One image, fifty at one place, or a few within a millimetre count as one."""
    assert stack(np.zeros(n), None).weight.sum() == pytest.approx(1.0)
    assert stack(np.linspace(0.0, 0.9, n), None).weight.sum() == pytest.approx(1.0)


def test_a_wide_hole_ends_a_station() -> None:
    """Six times the usual step and more than 30 mm is a hole; nodes without images bridge it."""
    placed = stack(np.array([0.0, 5.0, 10.0, 110.0, 115.0]), None)
    assert placed.gap.sum() == 1
    assert placed.gap[placed.node[3]]
    assert placed.node[3] - placed.node[2] == pytest.approx(100.0 / NODE_MM, abs=1)
    assert not stack(np.array([0.0, 5.0, 10.0, 25.0, 30.0]), None).gap.any()
    assert not stack(apart(4, 40.0), None).gap.any()


def test_another_orientation_is_another_station() -> None:
    """Images that overlap in position but are tilted apart are not interleaved."""
    normals = np.tile([0.0, 0.0, 1.0], (6, 1))
    normals[[1, 3, 5]] = [0.0, np.sin(0.5), np.cos(0.5)]
    placed = stack(apart(6, 4.0), normals)
    assert placed.turn.sum() == 1
    assert max(placed.node[[0, 2, 4]]) < min(placed.node[[1, 3, 5]])


def test_slightly_fanned_planes_are_one_station() -> None:
    """A few degrees between neighbours change nothing."""
    angles = np.radians(np.linspace(-5.0, 5.0, 6))
    normals = np.stack([np.zeros(6), np.sin(angles), np.cos(angles)], axis=1)
    placed, plain = stack(apart(6, 4.0), normals), stack(apart(6, 4.0), None)
    assert placed.node.tolist() == plain.node.tolist()
    assert not placed.turn.any()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.booleans())
def test_any_positions_make_a_stack(positions: list[float], tilted: bool) -> None:
    """Every image gets a node and a weight, in order within a station, and the grid stays small."""
    places = np.sort(np.array(positions))
    normals = np.tile([0.0, 0.0, 1.0], (len(places), 1)) if tilted else None
    placed = stack(places, normals)
    assert np.all(np.diff(placed.node) >= 0)
    assert placed.node[-1] == len(placed.gap) - 1
    assert np.all((placed.weight > 0) & (placed.weight <= 1 + 1e-9))
    assert len(placed.gap) <= MAXIMUM_NODES + 140 * len(places)


@pytest.mark.parametrize("classes", [CT_CLASSES, MR_CLASSES, ("head", "chest", "knee")])
@pytest.mark.parametrize("node_mm", [NODE_MM, 25.0])
def test_the_graph_is_a_probability(classes: tuple[str, ...], node_mm: float) -> None:
    """Rows of every matrix sum to 1, nothing leads from one chain to another, and all classes are heard."""
    chains = graph(classes, node_mm)
    np.testing.assert_allclose(chains.step.sum(axis=1), 1.0)
    np.testing.assert_allclose(chains.hears.sum(axis=1), 1.0)
    assert chains.start.sum() == pytest.approx(1.0)
    assert set(chains.keys) == set(classes)
    s = len(chains.keys) * PHASES
    of = np.repeat(chains.chain, PHASES)
    assert not (chains.step[:s, :s] * (of[:, np.newaxis] != of)).any()
    assert not np.tril(chains.step[:s, :s], -1).any()


def test_a_region_lasts_about_as_long_as_it_is() -> None:
    """The mean number of nodes until a region is left is its length."""
    chains = graph(CT_CLASSES, NODE_MM)
    s = len(chains.keys) * PHASES
    way = chains.step[:s, :s] / chains.step[:s, :s].sum(axis=1, keepdims=True)
    for key in ("neck", "chest", ABDOMEN_CHEST, "thigh"):
        first = chains.keys.index(key) * PHASES
        inside = way[first : first + PHASES, first : first + PHASES]
        nodes = np.linalg.inv(np.eye(PHASES) - inside).sum(axis=1)[0]
        assert nodes * NODE_MM == pytest.approx(LENGTHS_MM[key], rel=0.1)
