"""The graph that the ordered decoder walks: states along the chains, their transitions, and what they emit.

Every region is PHASES states in a row, so that its length is distributed around the typical one.
Each state has a twin in which nothing is recognised; the way goes on underneath, so nobody comes
back from `unknown` to a region that lies behind.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.regions import ABDOMEN_CHEST
from rules.anatomy import CHAINS, LENGTHS_MM, PHASES, SAME_LEVEL, UPRIGHT

SKIP: Final = 1e-3
"""Chance to leave a region out on the way; 7 nats for each."""
UNKNOWN_EVERY_MM: Final = 2000.0
UNKNOWN_MM: Final = 50.0
"""Something unknown is met once in so many mm and lasts so long: what it costs to enter and to leave."""
FLOOR: Final = 0.05
"""Share of the network's answers that mean nothing, spread over all classes."""
OTHER_VIEW: Final = 0.08
"""How often a region is taken for one that lies at its level in another field of view, for each of these."""
MIXED: Final = 0.25
"""How often the zone of lung base and upper abdomen is taken for chest, and for abdomen."""


@dataclass(frozen=True)
class Graph:
    """`keys` (r,) are regions, chain after chain; s = r * PHASES states, and s twins after them.

    `step` (2s, 2s) are transition probabilities from row to column over one node towards the feet.
    `start` (2s,) is the distribution at an end of the stack. `hears` (r, k) turns probabilities over
    classes into support for regions. `chain` (r,) numbers the chain of each region.
    """

    keys: tuple[str, ...]
    step: NDArray[np.float64]
    start: NDArray[np.float64]
    hears: NDArray[np.float64]
    chain: NDArray[np.intp]
    upright: NDArray[np.bool_]


@lru_cache(maxsize=32)
def graph(classes: tuple[str, ...], node_mm: float) -> Graph:
    """Build the graph for a network's classes and a width of the nodes; chains skip what it does not know."""
    chains = [known for chain in CHAINS if (known := tuple(key for key in chain if key in classes))]
    keys = tuple(key for chain in chains for key in chain)
    ways = [_along(chain, node_mm) for chain in chains]
    s = len(keys) * PHASES
    way, at = np.zeros((s, s)), 0
    for block in ways:
        way[at : at + len(block), at : at + len(block)] = block
        at += len(block)
    enter, leave = (1.0 - np.exp(-node_mm / mm) for mm in (UNKNOWN_EVERY_MM, UNKNOWN_MM))
    step = np.block([[way * (1 - enter), way * enter], [way * leave, way * (1 - leave)]])
    lost = UNKNOWN_MM / (UNKNOWN_MM + UNKNOWN_EVERY_MM)
    start = np.concatenate([np.full(s, (1 - lost) / s), np.full(s, lost / s)])
    number = np.array([n for n, chain in enumerate(chains) for _ in chain], dtype=np.intp)
    upright = np.array([any(key in chain for chain in UPRIGHT) for key in keys], dtype=np.bool_)
    return Graph(keys, step, start, _hears(keys, classes), number, upright)


def _along(chain: tuple[str, ...], node_mm: float) -> NDArray[np.float64]:
    """Return the transition matrix of one chain: stay, go on by one phase, or skip regions."""
    s = len(chain) * PHASES
    way = np.zeros((s, s))
    for state in range(s):
        region, phase = divmod(state, PHASES)
        pace = min(0.9, 1.0 - np.exp(-PHASES * node_mm / LENGTHS_MM[chain[region]]))
        targets = {state + 1: 1.0}
        if phase == PHASES - 1:
            targets = {(region + 1 + n) * PHASES: SKIP**n for n in range(len(chain) - region - 1)}
        total = sum(targets.values())
        for target, share in targets.items():
            way[state, target] = pace * share / total
        way[state, state] = 1.0 - way[state].sum()  # the last region lasts as long as the stack does
    return way


def _hears(keys: tuple[str, ...], classes: tuple[str, ...]) -> NDArray[np.float64]:
    """Return how likely the network names a class (column) in a region (row); rows sum to 1."""
    hears = np.zeros((len(keys), len(classes)))
    for row, key in enumerate(keys):
        level = [pair[1 - pair.index(key)] for pair in SAME_LEVEL if key in pair]
        others = [classes.index(other) for other in level if other in classes]
        share = MIXED if key == ABDOMEN_CHEST else OTHER_VIEW
        hears[row, others] = share
        hears[row, classes.index(key)] = 1.0 - share * len(others)
    return hears
