"""The position along the body as an auxiliary output: two slices of a volume, and how far they lie apart.

Geometry is the label, so slices without a region count as well. A second head of one unit gives each
slice a height; its difference between two slices of one volume must be their distance along the body,
in units of UNIT_MM. The head is used in training alone: saved weights hold the classifier.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.training.bodies import LEFT_ARM, LEFT_LEG, RIGHT_ARM, RIGHT_LEG, TRUNK, Body, Site
from model.training.data import Sample, Stack
from model.training.sampler import Pool, Sampler

UNIT_MM: Final = 100.0
FARTHEST_MM: Final = 400.0
"""Slices of a pair lie no farther apart: a trunk's length, as series go."""
EACH: Final = 8
"""One pair comes with so many labelled images."""
SYNTHETIC: Final = 0.5
"""Share of the pairs that is cut from the whole-body anatomies where there are real volumes as well."""
ARMS: Final = frozenset({"arm", "elbow", "forearm", "hand"})
"""An arm may lie beside the body or above the head, so the sign of a distance along it is not known."""
LEGS: Final = (TRUNK, RIGHT_LEG, LEFT_LEG)
VIEWS: Final = (LEGS, (*LEGS, RIGHT_ARM, LEFT_ARM))

CLASS_OUTPUT: Final = "classes"
OUTPUT: Final = "position"


def pairs_in(batch: int) -> int:
    """Return how many pairs come with a batch of so many labelled images."""
    return max(1, batch // EACH)


@dataclass(frozen=True)
class Pair:
    """Two slices of one volume: inputs float32 (2, size, size, channels), the lower one first if known.

    `distance_mm` is from the first to the second; only its size is known unless `signed`.
    """

    images: NDArray[np.float32]
    distance_mm: float
    signed: bool

    @property
    def targets(self) -> NDArray[np.float32]:
        """Return float32 (2, 2): for each slice its height in units, and 1 where the sign is known."""
        return np.array([[0.0, self.signed], [self.distance_mm / UNIT_MM, self.signed]], np.float32)


class Pairs:
    """All volumes that pairs can be drawn from; manifests and folders order slices from feet to head."""

    def __init__(self, stacks: Iterable[Stack], bodies: Iterable[Body]) -> None:
        self._stacks = tuple(stack for stack in stacks if _places(stack) > 1)
        self._bodies = tuple(bodies)

    @classmethod
    def of(cls, pool: Pool, more: Iterable[Stack] = ()) -> "Pairs":
        """Return the pairs of a pool's own volumes and anatomies, and of `more` stacks."""
        people = (group for people in pool.real.values() for group in people.groups)
        stacks = {id(stack): stack for stack in (sample.stack for group in people for sample in group)}
        stacks.update({id(stack): stack for stack in more})
        bodies = {body.name: body for sites in pool.sites.values() for body, _ in sites}
        return cls(stacks.values(), bodies.values())

    def __bool__(self) -> bool:
        return bool(self._stacks or self._bodies)

    def draw(self, sampler: Sampler, rng: np.random.Generator) -> Pair:
        """Draw a volume, then two of its slices, each varied by itself as training varies images."""
        synthetic = self._bodies and (not self._stacks or rng.random() < SYNTHETIC)
        return self._cut(sampler, rng) if synthetic else self._taken(sampler, rng)

    def _taken(self, sampler: Sampler, rng: np.random.Generator) -> Pair:
        stack = self._stacks[int(rng.integers(len(self._stacks)))]
        heights = stack.positions_mm
        assert heights is not None  # noqa: S101 - _places counted them
        first = int(rng.integers(len(heights)))
        near = np.flatnonzero(np.abs(heights - heights[first]) <= FARTHEST_MM)
        chosen = np.sort([first, int(near[rng.integers(len(near))])])
        labels = [stack.row.label(int(index)) or "" for index in chosen]
        images = [sampler.of_slice(Sample(stack, int(index), label))
                  for index, label in zip(chosen, labels, strict=True)]  # fmt: skip
        distance = float(heights[chosen[1]] - heights[chosen[0]])
        return Pair(np.stack(images), distance, ARMS.isdisjoint(labels))

    def _cut(self, sampler: Sampler, rng: np.random.Generator) -> Pair:
        body = self._bodies[int(rng.integers(len(self._bodies)))]
        parts = VIEWS[int(rng.integers(len(VIEWS)))]
        first = int(rng.integers(body.tissue.shape[0]))
        reach = int(FARTHEST_MM / body.spacing_mm)
        second = int(rng.integers(max(0, first - reach), min(body.tissue.shape[0], first + reach + 1)))
        low, high = sorted((first, second))
        # the region decides how freely the field of view is drawn: as round a trunk
        images = [sampler.of_site(body, Site("abdomen", z, z, (parts,))) for z in (low, high)]
        return Pair(np.stack(images), (high - low) * body.spacing_mm, signed=True)


def _places(stack: Stack) -> int:
    return 0 if stack.positions_mm is None or not stack.volume else len(np.unique(stack.positions_mm))


def attach(model: Any) -> Any:
    """Return a keras.Model of two outputs, CLASS_OUTPUT and OUTPUT, that shares all layers with `model`."""
    import keras

    features = model.layers[-1].input  # of the last Dense layer, (n, features)
    height = keras.layers.Dense(1, name=OUTPUT)(features)
    return keras.Model(model.input, {CLASS_OUTPUT: model.output, OUTPUT: height})


def distance_loss(rows: int) -> Callable[[Any, Any], Any]:
    """Return the Huber loss of the distances between the pairs in the first `rows` rows of a batch.

    The loss takes targets (n, 2) as `Pair.targets` has them and heights (n, 1).
    """
    from keras import ops

    def loss(targets: Any, heights: Any) -> Any:
        truth, said = targets[:rows, 0], heights[:rows, 0]
        truth, said = truth[1::2] - truth[0::2], said[1::2] - said[0::2]
        signed = targets[:rows:2, 1] > 0
        error = ops.abs(ops.where(signed, said - truth, ops.abs(said) - ops.abs(truth)))
        return ops.where(error <= 1.0, 0.5 * error * error, error - 0.5)

    return loss
