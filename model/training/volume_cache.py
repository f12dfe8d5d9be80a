"""Drawn series as the light network sees them, kept in files while a run lasts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.projections import ROWS, row_places, views
from model.series_labels import AXES, OTHER, PAPER_PARTS, PARTS
from model.series_volumes import stack_views
from model.training import volume_bodies, volume_real
from model.training.volume_bodies import Figure
from model.training.volume_draw import NOBODY, Draw
from model.training.volume_real import Scan
from model.volumes import Volume, laid

SHARD: Final = 250
"""Series a file."""
REAL: Final = 0.5
"""Share of series that are drawn from real volumes, where a label has any."""
UNLABELLED: Final = 0.04
"""Share of series of volumes without a label of the whole: they teach regions, axis and contrast."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Series as seen: `upright` uint8 (n, 3, 96, 96, 4), `stack` uint8 (n, 3, 48, 48, 4),
    `scale` float32 (n, 1), `tones` float32 (n, 96), `rows` int8 (n, 24), `part`, `axis`,
    `contrast` int8 (n,); -1: not known."""

    upright: NDArray[np.uint8]
    stack: NDArray[np.uint8]
    scale: NDArray[np.float32]
    tones: NDArray[np.float32]
    rows: NDArray[np.int8]
    part: NDArray[np.int8]
    axis: NDArray[np.int8]
    contrast: NDArray[np.int8]

    @property
    def count(self) -> int:
        """Number of series."""
        return len(self.part)


KEYS: Final = ("upright", "stack", "scale", "tones", "rows", "part", "axis", "contrast")


class Source:
    """Draws series of every label alike often, from real volumes and from the anatomies.

    Limbs and shoulders, one label of many parts, are the share `limbs` where it is more than that.
    """

    def __init__(self, scans: Sequence[Scan], figures: Sequence[Figure], limbs: float = 0.0) -> None:
        self._scans, self._figures = tuple(scans), tuple(figures)
        self._limbs = max(limbs, 1 / len(PARTS))
        self._places = [volume_real.possible(scan) for scan in scans]
        self._without = [scan for scan in scans if scan.part is None]
        told = {
            (part, scan.contrast) for scan, places in zip(scans, self._places, strict=True) for part in places
        }
        self._one_sided = {part for part in PARTS if not {(part, 0), (part, 1)} <= told}

    def draw(self, rng: np.random.Generator) -> Draw:
        """Draw one series."""
        if self._without and rng.random() < UNLABELLED:
            scan = self._without[int(rng.integers(len(self._without)))]
            found = volume_real.draw(scan, PARTS[0], None, rng)
            return Draw(
                found.volume, found.regions, NOBODY, found.axis, found.contrast, found.source, found.subject
            )
        limb = rng.random() < self._limbs
        part = OTHER if limb else PAPER_PARTS[int(rng.integers(len(PAPER_PARTS)))]
        real = [index for index, each in enumerate(self._places) if part in each]
        if real and (not self._figures or rng.random() < REAL):
            index = self._one_of(real, rng)
            protocols = self._places[index][part]
            protocol = protocols[int(rng.integers(len(protocols)))]
            found = volume_real.draw(self._scans[index], part, protocol, rng)
            # where real volumes of a label are all of one kind, being real would be taken for that
            return replace(found, contrast=NOBODY) if part in self._one_sided else found
        return volume_bodies.draw(self._figures[int(rng.integers(len(self._figures)))], part, rng)

    def _one_of(self, real: Sequence[int], rng: np.random.Generator) -> int:
        """Return the index of a volume: all that volumes mostly show, alike often."""
        shown = {index: self._scans[index].shows for index in real}
        names = sorted(set(shown.values()))
        name = names[int(rng.integers(len(names)))]
        mine = [index for index, each in shown.items() if each == name]
        return mine[int(rng.integers(len(mine)))]


def seen(draws: Sequence[Draw], rng: np.random.Generator) -> Seen:
    """Return drawn series as the light network sees them; stacks lie as workstations store them."""
    upright, stacks, scales, tones, rows = [], [], [], [], []
    for each in draws:
        shown = views(each.volume)
        upright.append(_bytes(shown.pixels))
        scales.append([shown.scale])
        tones.append(shown.tones)
        rows.append(row_labels(row_places(shown), each.regions))
        stacks.append(_bytes(stack_views(turned(laid(each.volume, AXES[each.axis]), rng))))
    return Seen(
        np.stack(upright), np.stack(stacks), np.asarray(scales, np.float32), np.stack(tones), np.stack(rows),
        *(np.array([getattr(each, key) for each in draws], np.int8) for key in ("part", "axis", "contrast")),
    )  # fmt: skip


def turned(stack: Volume, rng: np.random.Generator) -> Volume:
    """Return a stack in another order of slices, sometimes with its images upside down or mirrored."""
    turned = stack.values
    for axis, share in enumerate((0.5, 0.08, 0.08)):
        if rng.random() < share:
            turned = np.flip(turned, axis)
    return Volume(np.ascontiguousarray(turned), stack.spacing_mm)


def row_labels(places: NDArray[np.float64], regions: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the region of each stretch of the canvas, int8 (24,), NOBODY outside the body."""
    found = np.full(ROWS, NOBODY, np.int8)
    inside = np.isfinite(places)
    index = np.floor(places[inside] * len(regions)).astype(np.int64).clip(0, len(regions) - 1)
    found[inside] = regions[index]
    return found


def _bytes(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.round(pixels * 255.0), np.uint8)


def write(path: Path, series: Seen) -> None:
    """Write a file of series, whole or not at all."""
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        np.savez(file, **{key: getattr(series, key) for key in KEYS})
    draft.rename(path)


def read(path: Path) -> Seen:
    """Read a file of series."""
    with np.load(path, allow_pickle=False) as arrays:
        return Seen(*(arrays[key] for key in KEYS))


def make(folder: Path, source: Source, seed: int, count: int) -> None:
    """Draw `count` series into the folder, SHARD a file; files that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range((count + SHARD - 1) // SHARD):
        path = folder / f"{number:04d}.npz"
        if not path.exists():
            rng = np.random.default_rng([seed, number])
            write(path, seen([source.draw(rng) for _ in range(SHARD)], rng))
