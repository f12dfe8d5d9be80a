"""What is scored: real series (a part of the split, a source left out) or synthetic slices of a body.

A case is a series as the node would get it, slices without a label included, since rules look at the
whole series. Images whose height is not known each are a series of their own, unless their names
number them within one (numbered.py).
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.read import Image
from model.regions import CLASSES
from model.training import folder as folders
from model.training import numbered, tags
from model.training.bodies import FILES
from model.training.confounders import factors
from model.training.data import Row, Stack, read_manifest, true_subject, usable
from model.training.sampler import REAL, SYNTHETIC, Choice, Sampler, make_pool
from model.training.split import Split

VALIDATION: Final = "validation"
EVALUATION: Final = "evaluation"
ANATOMY: Final = "anatomy"
SOURCE: Final = "source:"
LENGTHWISE: Final = " lengthwise"
"""What a part of the split is called that holds sagittal and coronal series, after the part's own name."""
FOLDER: Final = "folder:"
TITLES: Final = {
    EVALUATION: "Evaluation: sources never trained on",
    VALIDATION: "Validation: other subjects of the training sources",
    EVALUATION + LENGTHWISE: "Evaluation, sagittal and coronal series: sources never trained on",
    VALIDATION
    + LENGTHWISE: "Validation, sagittal and coronal series: other subjects of the training sources",
}
SYNTHETIC_SLICES: Final = 60
"""Synthetic slices of each region."""
_SEED: Final = 20_230_309


class EvaluationError(ValueError):
    """An evaluation cannot be done as asked; the message is one sentence."""


@dataclass(frozen=True, eq=False)
class Case:
    """One series: n images in order of height, the truth of each (None: not scored), where it is from.

    `positions_mm` (n,) ascends; None for a single image. `also` is a second region that a reader could
    reasonably give. `lengthwise` images are sagittal or coronal, in order along their normal. `factors`
    are its values of the confounders.
    """

    name: str
    subject: str
    source: str
    truth: tuple[str | None, ...]
    pixels: tuple[NDArray[np.generic], ...]
    spacing_mm: tuple[float, float] | None
    positions_mm: NDArray[np.float64] | None
    also: str = ""
    lengthwise: bool = False
    factors: Mapping[str, str] = field(default_factory=dict)

    @property
    def scored(self) -> tuple[int, ...]:
        """Indices of the images that have a truth."""
        return tuple(index for index, label in enumerate(self.truth) if label is not None)

    def image(self, index: int) -> Image:
        """Return an image as the node would read it; none of it is padding."""
        values = self.pixels[index].astype(np.float32)
        return Image(values, np.ones(values.shape, np.bool_), self.spacing_mm)


@dataclass(frozen=True, eq=False)
class Part:
    """Cases that are scored together. `note` says what a reader must know of them.

    Those of a `synthetic` part are images of one body, each drawn by itself.
    """

    name: str
    title: str
    cases: tuple[Case, ...]
    note: str = ""
    synthetic: bool = False

    def images(self) -> Iterator[Image]:
        """Yield the images of all cases, one case after the other."""
        return (case.image(index) for case in self.cases for index in range(len(case.pixels)))

    @property
    def count(self) -> int:
        """Images of all cases."""
        return sum(len(case.pixels) for case in self.cases)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all pixels, spacings and heights: of everything that a prediction depends on."""
        found = hashlib.sha256()
        for case in self.cases:
            found.update(repr((case.name, case.spacing_mm)).encode())
            if case.positions_mm is not None:
                found.update(case.positions_mm.tobytes())
            for image in case.pixels:
                found.update(repr((image.shape, image.dtype.str)).encode())
                found.update(np.ascontiguousarray(image).tobytes())
        return found.hexdigest()


def part(data: Path, modality: str, name: str, split: Split, choice: Choice) -> Part:
    """Return the part of this name, for weights trained as `choice` says.

    Raises EvaluationError for another name, and FileNotFoundError where the data is not there.
    """
    if name in TITLES:
        plain = name.removesuffix(LENGTHWISE)
        use = "eval" if plain == EVALUATION else "train"
        rows = [row for row in usable(read_manifest(data, modality), (use,), name != plain)
                if true_subject(row.subject) in split.part(plain)]  # fmt: skip
        return Part(name, TITLES[name], real(data, rows, modality))
    if name.startswith(SOURCE):
        return left_out(data, modality, name.removeprefix(SOURCE), split, choice)
    if name.startswith(ANATOMY):
        return synthetic(data, modality, name.removeprefix(ANATOMY).lstrip(":") or "AF", choice)
    raise EvaluationError(
        f"there is no part '{name}'; there are {', '.join(TITLES)}, source:NAME, anatomy:NAME"
    )


def left_out(data: Path, modality: str, source: str, split: Split, choice: Choice) -> Part:
    """Return the images of a source that training left out, of subjects that it knows from nowhere else."""
    rows = usable(read_manifest(data, modality), ("train",))
    others = {true_subject(row.subject) for row in rows if row.source not in (source, *choice.without)}
    seen = others & split.train
    mine = [row for row in rows if row.source == source]
    kept = [row for row in mine if true_subject(row.subject) not in seen]
    dropped = len({true_subject(row.subject) for row in mine} & seen)
    if source not in choice.without:
        note = "These weights were trained on this source: its training subjects are no test of them."
    else:
        note = "This source was left out of training."
    if dropped:
        note += f" {dropped} of its subjects occur in other training sources and are left out here."
    return Part(f"{SOURCE}{source}", f"Left-out source {source}", real(data, kept, modality), note)


def own(folder: Path, table: Path, modality: str, training: object) -> Part:
    """Return the labelled series of a user's own folder, with what their attributes tell as factors.

    `training` is the record of the weights: of a folder that they were trained on, the subjects kept for
    validation alone are scored. Raises FolderError over the labels, EvaluationError where nothing is left.
    """
    found = [series for series in folders.scan(folder, table, modality) if series.labelled]
    record = training if isinstance(training, Mapping) else {}
    note = "Temperature and threshold of doubt are those of the weights' card."
    if folder.name in record.get("config", {}).get("folders", ()):
        kept = folders.divide(found).validation
        found = [series for series in found if series.subject in kept]
        note += " These weights were trained on a folder of this name: only the subjects kept from it count."
    cases = tuple(
        replace(case, factors={**case.factors, **tags.factors(series.headers[0].path, modality)})
        for series in found
        for case in _cases(folders.load(series), CLASSES[modality])
    )
    if not cases:
        raise EvaluationError(f"no series in {folder} has a label and a subject that was not trained on")
    return Part(f"{FOLDER}{folder.name}", f"Own folder {folder.name}", cases, note)


def real(data: Path, rows: list[Row], modality: str) -> tuple[Case, ...]:
    """Return the cases of manifest rows that hold a labelled slice."""
    wanted = CLASSES[modality]
    labelled = [row for row in rows if any(region in wanted for _, _, region in row.ranges)]
    series = numbered.grouped(labelled)
    return tuple(case for one in series for case in _cases(numbered.loaded(data, one), wanted))


def _cases(stack: Stack, wanted: tuple[str, ...]) -> Iterator[Case]:
    row, heights = stack.row, stack.positions_mm
    labels = [row.label(index) for index in range(len(stack.images))]
    truth = [label if label in wanted else None for label in labels]
    about = true_subject(row.subject), row.source
    if heights is None:
        for index, label in enumerate(truth):
            if label is not None:
                name = f"{row.file}#{index}" if len(truth) > 1 else row.file
                yield Case(name, *about, (label,), (stack.images[index],), stack.spacing_mm, None, row.also,
                           row.upright, factors(row, None))  # fmt: skip
        return
    order = np.argsort(heights, kind="stable")
    stated = None if stack.spacing_mm is None else heights  # assumed ones are no property of the series
    yield Case(row.file, *about, tuple(truth[i] for i in order), tuple(stack.images[i] for i in order),
               stack.spacing_mm, heights[order], row.also, row.upright, factors(row, stated))  # fmt: skip


def synthetic(data: Path, modality: str, body: str, choice: Choice, each: int = SYNTHETIC_SLICES) -> Part:
    """Return `each` synthetic slices of one body for every region it has, drawn as training draws them.

    Raises EvaluationError where no body has that name.
    """
    if body not in FILES:
        raise EvaluationError(f"there is no anatomy '{body}'; there are {', '.join(FILES)}")
    classes = CLASSES[modality]
    nobody = Split(frozenset(), frozenset(), frozenset())
    pool = make_pool(data, modality, classes, nobody, Choice(SYNTHETIC, bodies=(body,)))
    sampler = Sampler(pool, 128, _SEED)
    cases = []
    for region in classes:
        for index in range(each if region in pool.sites else 0):
            picture, _ = sampler.picture(region)
            name = f"{body}/{region}/{index}"
            cases.append(Case(name, name, body, (region,), (picture.values,), picture.spacing_mm, None))
    note = (
        f"Synthetic slices of the anatomy {body}, not of patients: {each} a region. Their intervals are "
        "over slices and say nothing about other bodies."
    )
    if body in choice.bodies and choice.images != REAL:
        note += " These weights were trained on this anatomy: it is no test of them."
    return Part(f"{ANATOMY}:{body}", f"Synthetic slices of {body}", tuple(cases), note, synthetic=True)


def pictures(data: Path, modality: str, each: int) -> dict[str, list[NDArray[np.float32]]]:
    """Return `each` synthetic images of every region, as the training draws them from all bodies."""
    classes = CLASSES[modality]
    nobody = Split(frozenset(), frozenset(), frozenset())
    pool = make_pool(data, modality, classes, nobody, Choice(SYNTHETIC))
    sampler = Sampler(pool, 128, _SEED)
    return {
        region: [sampler.picture(region)[0].values for _ in range(each)]
        for region in classes if region in pool.sites
    }  # fmt: skip
