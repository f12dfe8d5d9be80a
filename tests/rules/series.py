"""Makers of series for the tests of rules: clean runs of regions, and bodies under a noisy network."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.regions import ARM_CHAIN, CT_CLASSES, MR_CLASSES, SPINE_CHAIN
from rules.anatomy import LENGTHS_MM, TRUNK
from rules.state import State
from rules.verdict import Evidence

OTHER_LIMB: Final = (("thigh", "arm"), ("knee", "elbow"), ("calf", "forearm"), ("foot", "hand"))
"""What a network confuses though it lies nowhere near."""


def evidence(
    *runs: tuple[str, int], step_mm: float = 5.0, score: float = 0.9, classes: tuple[str, ...] = MR_CLASSES
) -> Evidence:
    """Make a series of runs of (region, images), feet to head, `step_mm` apart, each scoring `score`."""
    regions = [region for region, images in runs for _ in range(images)]
    rows = np.full((len(regions), len(classes)), (1 - score) / (len(classes) - 1), dtype=np.float32)
    for i, region in enumerate(regions):
        rows[i, classes.index(region)] = score
    return Evidence(classes, rows, np.arange(len(regions), dtype=np.float64) * step_mm)


def state(*runs: tuple[str, int], step_mm: float = 5.0, score: float = 0.9) -> State:
    """Make the state from which rules start, likewise."""
    made = evidence(*runs, step_mm=step_mm, score=score)
    return State(made.classes, made.probabilities.astype(np.float64), made.positions_mm)


@dataclass(frozen=True)
class Simulated:
    """A series whose truth is known: one region for each image, feet to head."""

    state: State
    truth: tuple[str, ...]


def simulated(seed: int, noise: float = 1.3, look: int = 0) -> Simulated:
    """Draw a newborn to a tall adult, a range of the body, a spacing, and a network right on 92 % of images.

    Its mistakes are correlated over 12 mm and within the series, likelier near a border and between
    an arm and a leg; one image in a hundred is nonsense. Another `look` is another series of the same
    body and range with mistakes of its own.
    """
    rng = np.random.default_rng(seed)
    chain: tuple[str, ...] = (TRUNK, SPINE_CHAIN, ARM_CHAIN)[int(rng.choice(3, p=[0.62, 0.18, 0.2]))]
    scale = rng.uniform(0.28, 0.7) if rng.random() < 0.2 else rng.uniform(0.85, 1.12)
    lengths = [LENGTHS_MM[key] * scale * np.exp(rng.normal(0, 0.12)) for key in chain]
    borders = np.concatenate([[0.0], np.cumsum(lengths)])
    first = int(rng.integers(len(chain)))
    last = min(len(chain) - 1, first + int(rng.choice(5, p=[0.35, 0.25, 0.2, 0.12, 0.08])))
    top = borders[first] + rng.uniform(0, 0.7) * lengths[first]
    bottom = borders[last + 1] - rng.uniform(0, 0.7) * lengths[last]
    depth = np.arange(top, max(bottom, top + 20), rng.choice([1.0, 2.0, 3.0, 5.0, 8.0]))
    truth = [chain[min(int(np.searchsorted(borders, d, side="right")) - 1, len(chain) - 1)] for d in depth]
    logits = _logits(chain, borders, depth, noise, np.random.default_rng((seed, look)))
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    return Simulated(State(CT_CLASSES, scores[::-1], (depth[-1] - depth)[::-1]), tuple(truth[::-1]))


def _logits(
    chain: tuple[str, ...],
    borders: NDArray[np.float64],
    depth: NDArray[np.float64],
    noise: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    found = np.zeros((len(depth), len(CT_CLASSES)))
    for i, key in enumerate(chain):
        inside = np.minimum(depth - borders[i], borders[i + 1] - depth)
        found[:, CT_CLASSES.index(key)] = 5.0 / (1.0 + np.exp(-inside / 4.0))
    for pair in OTHER_LIMB:
        one, other = (CT_CLASSES.index(key) for key in pair)
        found[:, other] = np.maximum(found[:, other], 0.35 * found[:, one])
        found[:, one] = np.maximum(found[:, one], 0.35 * found[:, other])
    near = np.exp(-np.abs(depth[:, np.newaxis] - depth) / 12.0)
    lasting = np.linalg.cholesky(near + 1e-9 * np.eye(len(depth))) @ rng.normal(size=found.shape)
    single, whole = rng.normal(size=found.shape), rng.normal(size=(1, found.shape[1]))
    found += noise * (0.7 * lasting + 0.45 * single + 0.5 * whole)
    nonsense = rng.random(len(depth)) < 0.01
    found[nonsense] = rng.normal(0, 3, (int(nonsense.sum()), found.shape[1]))
    return found
