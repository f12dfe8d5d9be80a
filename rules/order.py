"""The ordered decoder: regions follow each other along the body, and going back is forbidden.

A hidden Markov model over the nodes of a stack (rules/stack.py) and the chains of the anatomy
(rules/graph.py). Forward-backward gives what each image shows and how sure that is; the path that
agrees with it best, and never goes back, gives the regions (posterior decoding, Fariselli et al.
2005). Both directions are tried; the header's is preferred by a prior alone. Laterality stays beside
all of this: the networks do not tell left from right, so nothing here does.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rules.anatomy import UPRIGHT
from rules.graph import FLOOR, Graph, graph
from rules.stack import Stack, stack
from rules.state import State
from rules.zone import without_zone

AGAINST: Final = 1e-3
"""Chance, before looking, that head and feet are exchanged in the header.

A network that errs over a whole limb is likelier. Of 226 real series with a right header none is
called wrong at this chance, and of 117 with two regions or more, turned round, 110 are.
"""
RESTART_GAP: Final = 0.02
RESTART_TURN: Final = 0.3
"""Chance that a station beyond a hole, or of another orientation, has nothing to do with the one before."""

TINY: Final = 1e-150
"""Keeps what is all but impossible above 0 along stacks of many metres."""

REVERSED: Final = "the regions run against the header: head and feet seem to be exchanged"
UNPLACED: Final = "positions are missing: the images were judged one by one, without an order"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Walk:
    """One direction: its log evidence, and marginals (m, r) of regions and (m,) of unknown, feet to head."""

    evidence: float
    regions: Array
    unknown: Array


def order(state: State) -> State:
    """Decode a series along the body; scores become marginals, labels the best path that never goes back.

    Without positions nothing is known of the order and the scores stay. An image whose probabilities
    are no numbers is unknown.
    """
    if state.positions_mm is None:
        return replace(state, flags=(*state.flags, UNPLACED))
    if not len(state.scores):
        return state
    placed = stack(state.positions_mm, state.normals)
    chains = graph(state.classes, placed.node_mm)
    emitted = _emissions(state, placed, chains)
    walks = [_walk(placed, chains, emitted, against=against) for against in (False, True)]
    evidences = np.array([walk.evidence for walk in walks])
    likely = np.exp(evidences - np.logaddexp.reduce(evidences))
    against = bool(likely[1] > likely[0])
    path = _path(placed, chains, walks[against], against)[placed.node]
    path[_blank(state)] = -1
    regions = likely[0] * walks[0].regions + likely[1] * walks[1].regions
    scores = np.zeros(state.scores.shape)
    columns = np.array([state.classes.index(key) for key in chains.keys], dtype=np.intp)
    scores[:, columns] = regions[placed.node]
    fixed = np.where(path >= 0, columns[np.maximum(path, 0)], -1)
    turned = against and any(
        state.classes[label] in chain for label in set(fixed) - {-1} for chain in UPRIGHT
    )
    flags = (*state.flags, REVERSED) if turned else state.flags
    return without_zone(replace(state, scores=scores, fixed=fixed, flags=flags))


def _blank(state: State) -> NDArray[np.bool_]:
    """Mark images of which the network said nothing that is a number."""
    said = state.scores.sum(axis=1) > 0
    return np.asarray(~said if state.foreign is None else ~said & ~state.foreign, np.bool_)


def _emissions(state: State, placed: Stack, chains: Graph) -> Array:
    """Return log support (m, r + 1) of the nodes for each region and, last, for unknown."""
    n, k = state.scores.shape
    support = np.empty((n, len(chains.keys) + 1))
    support[:, :-1] = (1.0 - FLOOR) * state.scores @ chains.hears.T + FLOOR / k
    support[:, -1] = 1.0 / k
    weight = np.where(_blank(state), 0.0, placed.weight)
    found = np.zeros((len(placed.gap), support.shape[1]))
    np.add.at(found, placed.node, weight[:, np.newaxis] * np.log(support))
    return found


def _walk(placed: Stack, chains: Graph, emitted: Array, against: bool) -> Walk:
    """Run forward-backward over the nodes, from the head's end as the header has it, or against it."""
    way = 1 if against else -1
    phases = len(chains.start) // 2 // len(chains.keys)
    known = np.repeat(emitted[::way, :-1], phases, axis=1)
    top = emitted[::way].max(axis=1)
    s = known.shape[1]
    seen = np.exp(np.concatenate([known, np.repeat(emitted[::way, -1:], s, axis=1)], axis=1) - top[:, None])
    restart = np.where(placed.turn, RESTART_TURN, np.where(placed.gap, RESTART_GAP, 0.0))
    # a station's mark stands at its end near the feet; coming from the head, it is met one node later
    restart = restart if against else np.roll(restart[::-1], 1)
    header = np.where(chains.upright, AGAINST if against else 1.0 - AGAINST, 0.5)
    forward, scale = _forward(chains, seen, restart, chains.start * np.tile(np.repeat(header, phases), 2))
    backward = _backward(chains, seen, restart)
    both = forward * backward
    both /= both.sum(axis=1, keepdims=True)
    regions = both[:, :s].reshape(len(both), -1, phases).sum(axis=2)
    evidence = float(np.log(scale).sum() + top.sum())
    return Walk(evidence, regions[::way], both[:, s:].sum(axis=1)[::way])


def _forward(chains: Graph, seen: Array, restart: Array, start: Array) -> tuple[Array, Array]:
    """Return normalised forward probabilities (m, 2s) and their scales (m,)."""
    forward, scale = np.empty(seen.shape), np.empty(len(seen))
    now = start
    for t, sight in enumerate(seen):
        if t:
            now = now @ chains.step
            if restart[t]:
                now = (1.0 - restart[t]) * now + restart[t] * chains.start
        now = now * sight
        scale[t] = now.sum()
        now = np.maximum(now / scale[t], TINY)
        forward[t] = now
    return forward, scale


def _backward(chains: Graph, seen: Array, restart: Array) -> Array:
    """Return backward probabilities (m, 2s), each row scaled at will."""
    backward = np.ones(seen.shape)
    for t in range(len(seen) - 1, 0, -1):
        ahead = seen[t] * backward[t]
        now = chains.step @ ahead
        if restart[t]:
            now = (1.0 - restart[t]) * now + restart[t] * (chains.start @ ahead)
        backward[t - 1] = np.maximum(now / now.max(), TINY)
    return backward


def _path(placed: Stack, chains: Graph, walk: Walk, against: bool) -> NDArray[np.intp]:
    """Return for each node the index of its region (m,), -1 for unknown: the best path in order.

    The best path has the greatest sum of marginals. Unknown may stand at any place of it.
    """
    m, r = walk.regions.shape
    nodes = np.unique(placed.node)
    fresh = np.cumsum(placed.gap | placed.turn)[nodes]
    if not against:
        nodes, fresh = nodes[::-1], fresh[::-1]
    gain = np.maximum(walk.regions, walk.unknown[:, np.newaxis])[nodes]
    same = chains.chain[:, np.newaxis] == chains.chain
    barred = np.where(same & (np.arange(r)[:, np.newaxis] >= np.arange(r)), 0.0, -np.inf)  # (to, from)
    total = np.empty(gain.shape)
    total[0] = gain[0]
    for t in range(1, len(nodes)):
        before = total[t - 1] if fresh[t] != fresh[t - 1] else total[t - 1] + barred
        total[t] = gain[t] + before.max(axis=-1)
    path = np.full(m, -1, np.intp)
    at = int(total[-1].argmax())
    for t in range(len(nodes) - 1, -1, -1):
        path[nodes[t]] = at if walk.regions[nodes[t], at] >= walk.unknown[nodes[t]] else -1
        if t:
            before = total[t - 1] if fresh[t] != fresh[t - 1] else total[t - 1] + barred[at]
            at = int(before.argmax())
    return path
