"""Batches of radiographs: which image is drawn, how it is cropped and turned, what both heads are to say."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.preprocess import network_input
from model.radiographs import GROUPS, PART_KEYS
from model.training.radiograph_looks import Grey, coarsened, decorated, retoned
from model.training.radiographs import Radiograph
from model.training.spectra import Exchange

SHARES: Final = {
    "abdomen": 0.13, "adult_chest": 0.22, "pediatric_chest": 0.17, "spine": 0.16, "others": 0.32,
}  # fmt: skip
"""How often each group is drawn."""
DRAWN: Final = 0.5
"""What a source of projections counts beside one of films."""
LEAST: Final = 25
"""As how many films a part counts that has fewer."""
SECOND: Final = 0.4
"""What a second part that is right counts in the target."""
EXCHANGED: Final = 0.2
"""Share of the images that take the look of another, from any source."""
DEFORMED: Final = 0.5
"""Share of the images that are deformed smoothly, by 2 % of their length (1 std)."""
SQUEEZED: Final = 0.2
"""Share of the images that an export squeezed into another shape; chests, whose shape tells children from
adults, keep theirs."""
LIMBS: Final = frozenset({
    "thigh", "knee", "calf", "ankle", "foot", "arm", "elbow", "forearm", "wrist", "hand",
})  # fmt: skip
WIDE: Final = frozenset({"spine", "tlspine", "abdomen"})
"""Parts that a close crop would turn into others."""


@dataclass(frozen=True, eq=False)
class Sample:
    """An image to draw from: uint8 (rows, columns), its labels, where it is from, whether it is drawn."""

    pixels: NDArray[np.uint8]
    group: str
    part: str | None
    also: str
    source: str
    drawn: bool = False


@dataclass(frozen=True, eq=False)
class Pool:
    """All samples that batches are drawn from."""

    samples: tuple[Sample, ...]

    @cached_property
    def tree(self) -> dict[str, tuple[tuple[float, tuple[Sample, ...]], ...]]:
        """By group: the samples of each part and source, with the share at which they are drawn.

        Shares go by the square root of what there is, so that a small source or part is seen often enough
        and yet not learnt by heart.
        """
        found: dict[str, dict[str | None, dict[str, list[Sample]]]] = {}
        for one in self.samples:
            found.setdefault(one.group, {}).setdefault(one.part, {}).setdefault(one.source, []).append(one)
        return {group: tuple(_leaves(parts)) for group, parts in found.items()}


def _leaves(
    parts: dict[str | None, dict[str, list[Sample]]],
) -> Iterable[tuple[float, tuple[Sample, ...]]]:
    real = {part: sum(len(found) for found in sources.values() if not found[0].drawn)
            for part, sources in parts.items()}  # fmt: skip
    roots = {part: np.sqrt(max(LEAST, count)) for part, count in real.items()}
    for part, sources in parts.items():
        own = {
            name: np.sqrt(len(samples)) * (DRAWN if samples[0].drawn else 1.0)
            for name, samples in sources.items()
        }
        for name, samples in sources.items():
            yield float(roots[part] / sum(roots.values()) * own[name] / sum(own.values())), tuple(samples)


def make_pool(data: Path, rows: Iterable[Radiograph], drawn: Iterable[Sample] = ()) -> Pool:
    """Load the images of rows; `drawn` are others, such as projections of the anatomies."""
    real = (Sample(row.pixels(data), row.group, row.part, row.also, row.source) for row in rows)
    return Pool((*real, *drawn))


class Sampler:
    """Draws augmented network inputs and their targets; the same seed draws the same."""

    def __init__(self, pool: Pool, size: int, seed: int | Sequence[int], preprocessing: str) -> None:
        self._pool = pool
        self._size = size
        self._preprocessing = preprocessing
        self._rng = np.random.default_rng(seed)
        self._exchange = Exchange(EXCHANGED, 0.8)
        self._groups = [group for group in GROUPS if group in pool.tree]
        shares = np.array([SHARES[group] for group in self._groups])
        self._shares = shares / shares.sum()

    def batch(self, n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return n inputs float32 (n, size, size, 1) and targets float32 (n, groups + parts)."""
        drawn = [self.one() for _ in range(n)]
        return np.stack([image for image, _ in drawn]), np.stack([target for _, target in drawn])

    def one(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return one input and its target; the second head's part is all zero where no part is known."""
        sample = self._pick()
        image = self.picture(sample)
        valid = np.ones(image.shape, np.bool_)
        return network_input(image, valid, self._size, None, self._preprocessing), target(sample)

    def picture(self, sample: Sample) -> Grey:
        """Return an augmented image of a sample, float32 (rows, columns) in 0..1."""
        rng = self._rng
        image = sample.pixels.astype(np.float32) / 255.0
        other = self._pool.samples[int(rng.integers(len(self._pool.samples)))].pixels
        image = retoned(image, other, rng)
        image = np.clip(self._exchange(reframed(image, sample.part, rng), rng), 0.0, 1.0)
        return coarsened(decorated(image, rng), rng)

    def _pick(self) -> Sample:
        group = self._groups[int(self._rng.choice(len(self._groups), p=self._shares))]
        leaves = self._pool.tree[group]
        shares = np.array([share for share, _ in leaves])
        samples = leaves[int(self._rng.choice(len(leaves), p=shares / shares.sum()))][1]
        return samples[int(self._rng.integers(len(samples)))]


def target(sample: Sample) -> NDArray[np.float32]:
    """Return what both heads are to say, float32 (groups + parts,)."""
    wanted = np.zeros(len(GROUPS) + len(PART_KEYS), np.float32)
    wanted[GROUPS.index(sample.group)] = 1.0
    if sample.part is not None:
        wanted[len(GROUPS) + PART_KEYS.index(sample.part)] = 1.0 - SECOND if sample.also else 1.0
    if sample.also:
        wanted[len(GROUPS) + PART_KEYS.index(sample.also)] = SECOND
    return wanted


def reframed(image: Grey, part: str | None, rng: np.random.Generator) -> Grey:
    """Return another field of view: cropped or with room round it, turned, mirrored, stretched.

    Aspect ratios are drawn alike for all parts, so that a wide or a square film tells nothing.
    """
    rows, columns = image.shape
    limb = part in LIMBS
    least = 0.82 if part in WIDE else 0.6 if limb else 0.7
    height, width = rows * rng.uniform(least, 1.08), columns * rng.uniform(least, 1.08)
    play = 0.5 * np.maximum(
        0.04 * np.array([rows, columns]), np.abs(np.array([rows - height, columns - width]))
    )
    centre = np.array([rows, columns]) / 2 + rng.uniform(-1.0, 1.0, 2) * play
    squeezing = part != "chest" and rng.random() < SQUEEZED
    squeezed = float(np.exp(rng.uniform(-0.5, 0.5))) if squeezing else 1.0
    wider = squeezed * float(np.exp(rng.uniform(-0.12, 0.12)))
    angle = _turn(limb, rng)
    longest = max(height, width)
    scale = min(1.5, 224.0 / longest)
    shape = max(16, round(height * scale)), max(16, round(width * scale / squeezed))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    shear = rng.uniform(-0.06, 0.06)
    inverse = np.array([[mirror * cos * wider, -sin + shear], [mirror * sin * wider, cos]]) / scale
    offset = centre[::-1] - inverse @ (np.array(shape[::-1]) / 2)
    x, y = np.meshgrid(np.arange(shape[1], dtype=np.float32), np.arange(shape[0], dtype=np.float32))
    column = inverse[0, 0] * x + inverse[0, 1] * y + offset[0]
    row = inverse[1, 0] * x + inverse[1, 1] * y + offset[1]
    if rng.random() < DEFORMED:  # other people
        push = rng.normal(0.0, 0.02 * longest, (2, 4, 4)).astype(np.float32)
        column, row = (
            place + cv2.resize(one, shape[::-1], interpolation=cv2.INTER_CUBIC)
            for place, one in zip((column, row), push, strict=True)
        )
    smooth = cv2.blur(image, (2, 2)) if scale < 0.6 else image
    edge = cv2.BORDER_REPLICATE if rng.random() < 0.3 else cv2.BORDER_CONSTANT
    found = cv2.remap(
        smooth, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR, borderMode=edge,
        borderValue=float(np.quantile(image, 0.01)),
    )  # fmt: skip
    upright = angle_quarters(rng)
    return np.ascontiguousarray(np.rot90(found, upright)) if upright else np.asarray(found, np.float32)


def _turn(limb: bool, rng: np.random.Generator) -> float:
    """Return an angle in radians: small ones mostly, any for limbs now and then."""
    if limb and rng.random() < 0.3:
        return float(rng.uniform(-np.pi, np.pi))
    return float(np.radians(rng.normal(0.0, 8.0)))


def angle_quarters(rng: np.random.Generator) -> int:
    """Return by how many quarters a film is laid wrongly: mostly none."""
    return int(rng.integers(1, 4)) if rng.random() < 0.08 else 0
