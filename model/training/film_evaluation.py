"""Scores weights for radiographs: both heads, on subjects kept from training and on sources left out.

What both heads say together is decided by a function that is given (rules/films.py): this module knows
probabilities alone. Each image counts as a series of its own, each subject once in a draw of the bootstrap.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.classify import Classifier, softmax
from model.radiographs import CHESTS, GROUPS, MODEL, PART_KEYS, PEDIATRIC_CHEST
from model.read import Image
from model.training.bootstrap import Places
from model.training.calibration import fit_temperature
from model.training.metrics import Figures, Outcome, figures
from model.training.radiographs import Radiograph, read, validation
from model.training.sampler import choice_of
from model.weights_file import Weights, load

Table = NDArray[np.float32]
Join = Callable[[Table, Table], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Groups (n, 5) and parts (n, p) of both heads -> what they say together, of the same shapes."""
Tick = Callable[[], None]

FLOOR: Final = 1e-30
VALIDATION: Final = "validation"
LEFT_OUT: Final = "sources never trained on"


@dataclass(frozen=True, eq=False)
class Said:
    """What the network said of n images: log-probabilities of both heads, uncalibrated, and the energy."""

    rows: tuple[Radiograph, ...]
    groups: NDArray[np.float64]
    parts: NDArray[np.float64]
    energy: NDArray[np.float64]

    def of(self, chosen: NDArray[np.bool_]) -> "Said":
        """Return what was said of some of the images."""
        rows = tuple(row for row, one in zip(self.rows, chosen, strict=True) if one)
        return Said(rows, self.groups[chosen], self.parts[chosen], self.energy[chosen])


@dataclass(frozen=True)
class Temperatures:
    """The temperature of each head."""

    groups: float
    parts: float


@dataclass(frozen=True)
class Scored:
    """Figures of a set of images; `sources` gives images and subjects of each.

    `children` is the share of adult chests that are taken for children, and the other way round.
    """

    name: str
    sources: dict[str, tuple[int, int]]
    groups: Figures
    parts: Figures | None
    confused: dict[str, float]


def ask(
    path: Path, rows: Sequence[Radiograph], data: Path, tick: Tick = lambda: None, look: Any = None
) -> Said:
    """Ask the weights at `path` of all rows; `look` may change the pixels first (uint8, row) -> uint8."""
    weights, classifier = load(path), _classifier(path)

    def images() -> Iterable[Image]:
        for row in rows:
            pixels = row.pixels(data) if look is None else look(row.pixels(data), row)
            tick()
            yield Image(pixels.astype(np.float32), np.ones(pixels.shape, np.bool_), None)

    found = classifier.predict(MODEL, images())
    if found.part_probabilities is None or found.energy is None:
        raise ValueError(f"the weights {path} have no second head")
    return Said(
        tuple(rows),
        _logs(found.probabilities, weights.temperature),
        _logs(found.part_probabilities, weights.part_temperature),
        found.energy.astype(np.float64),
    )


@lru_cache(maxsize=1)
def _classifier(path: Path) -> Classifier:
    """Load the weights once for several sets of images."""
    return Classifier.load({MODEL: path})


def _logs(probabilities: Table, temperature: float) -> NDArray[np.float64]:
    return np.log(np.maximum(probabilities.astype(np.float64), FLOOR)) * temperature


def pooled(several: Sequence[Said]) -> Said:
    """Put what several networks said of several images together."""
    return Said(
        tuple(row for said in several for row in said.rows),
        np.concatenate([said.groups for said in several]),
        np.concatenate([said.parts for said in several]),
        np.concatenate([said.energy for said in several]),
    )


def calibrated(said: Said) -> Temperatures:
    """Return the temperatures that fit these images best, each subject weighing the same; never below 1."""
    people = [subject(row) for row in said.rows]
    truth = np.array([GROUPS.index(row.group) for row in said.rows], np.int64)
    known = np.array([row.part is not None for row in said.rows], np.bool_)
    parts = np.array([PART_KEYS.index(row.part) for row in said.rows if row.part is not None], np.int64)
    of_known = [name for name, one in zip(people, known, strict=True) if one]
    return Temperatures(
        round(fit_temperature(said.groups, truth, people), 4),
        round(fit_temperature(said.parts[known], parts, of_known), 4),
    )


def subject(row: Radiograph) -> str:
    """Return a name of the subject that is its own across sources."""
    return f"{row.source}/{row.subject}"


def score(name: str, said: Said, temperatures: Temperatures, join: Join) -> Scored:
    """Return the figures of both heads together. Raises ValueError without an image."""
    groups = softmax(said.groups.astype(np.float32), temperatures.groups)
    parts = softmax(said.parts.astype(np.float32), temperatures.parts)
    first, second = join(groups, parts)
    known = np.array([row.part is not None for row in said.rows], np.bool_)
    of_parts = _parts(said.of(known), second[known]) if known.any() else None
    outcome = _outcome(GROUPS, [row.group for row in said.rows], first, said.rows)
    return Scored(name, by_source(said.rows), figures(outcome), of_parts, ages(outcome))


def _parts(said: Said, table: NDArray[np.float64]) -> Figures:
    """Return the figures of the finer part; a second part that is right counts as the truth."""
    best = [PART_KEYS[index] for index in table.argmax(axis=1)]
    truth = [
        row.also if row.also and found == row.also else str(row.part)
        for row, found in zip(said.rows, best, strict=True)
    ]
    return figures(_outcome(PART_KEYS, truth, table, said.rows))


def _outcome(
    classes: tuple[str, ...], truth: Sequence[str], table: NDArray[np.float64], rows: Sequence[Radiograph]
) -> Outcome:
    return Outcome(
        classes,
        tuple(truth),
        tuple(classes[index] for index in table.argmax(axis=1)),
        table.max(axis=1),
        ("",) * len(rows),
        Places(
            tuple(subject(row) for row in rows),
            tuple(row.source for row in rows),
            tuple(row.file for row in rows),
            (0.0,) * len(rows),
        ),
    )


def ages(outcome: Outcome) -> dict[str, float]:
    """Return by true group of a chest the share that was taken for the other one's, where there are any."""
    found = {}
    for mine in CHESTS:
        said = [p for t, p in zip(outcome.truth, outcome.predicted, strict=True) if t == mine]
        if said:
            found[mine] = sum(p in CHESTS and p != mine for p in said) / len(said)
    return found


def by_source(rows: Iterable[Radiograph]) -> dict[str, tuple[int, int]]:
    """Return images and subjects of each source."""
    images: dict[str, int] = {}
    people: dict[str, set[str]] = {}
    for row in rows:
        images[row.source] = images.get(row.source, 0) + 1
        people.setdefault(row.source, set()).add(row.subject)
    return {name: (images[name], len(people[name])) for name in sorted(images)}


def without(weights: Weights) -> tuple[str, ...]:
    """Return the sources that the training of these weights left out."""
    return choice_of(weights.card.get("training")).without


def left_out(data: Path, sources: Sequence[str]) -> tuple[Radiograph, ...]:
    """Return the images of these sources whose labels are sure."""
    return tuple(row for row in read(data) if row.source in sources and row.scored)


def kept(data: Path, sources: Sequence[str] = ()) -> tuple[Radiograph, ...]:
    """Return the images of validation subjects, without those of sources that were left out."""
    return validation(read(data), sources)


class Swapped:
    """Gives each chest the histogram and the crop of a chest of the other age: what is left is anatomy.

    The shortcut in figures: a network that tells children by the look of their one source changes its mind.
    """

    def __init__(self, data: Path, rows: Iterable[Radiograph]) -> None:
        self._data = data
        chests = [row for row in rows if row.group in CHESTS]
        self._others = {
            mine: [row for row in chests if row.group != mine and row.source != "unifesp"] for mine in CHESTS
        }

    def __call__(self, pixels: NDArray[np.uint8], row: Radiograph) -> NDArray[np.uint8]:
        """Return the pixels with the other's tones, size and shape, 6 % off each side."""
        others = self._others[row.group]
        other = others[sum(row.file.encode()) % len(others)].pixels(self._data)
        rows, columns = (int(0.06 * length) for length in pixels.shape)
        inner = pixels[rows : len(pixels) - rows, columns : pixels.shape[1] - columns]
        mine = np.cumsum(np.bincount(inner.ravel(), minlength=256)) / inner.size
        theirs = np.cumsum(np.bincount(other.ravel(), minlength=256)) / other.size
        table = np.interp(mine, theirs, np.arange(256))
        height = min(other.shape[0], inner.shape[0])
        scale = height / inner.shape[0]
        size = (max(16, round(inner.shape[1] * scale)), height)
        return np.asarray(cv2.resize(table[inner].astype(np.uint8), size, interpolation=cv2.INTER_AREA))


def swapped_share(said: Said) -> dict[str, float]:
    """Return by true age the share of chests that the first head takes for the other age."""
    found = {}
    child = GROUPS.index(PEDIATRIC_CHEST)
    adult = GROUPS.index(next(name for name in CHESTS if name != PEDIATRIC_CHEST))
    older = said.groups[:, adult] >= said.groups[:, child]
    for mine in CHESTS:
        of_mine = np.array([row.group == mine for row in said.rows], np.bool_)
        if of_mine.any():
            found[mine] = float(np.mean(older[of_mine] == (mine == PEDIATRIC_CHEST)))
    return found
