"""Draws training images, balanced over regions and subjects, about half real and half synthetic."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.preprocess import WHOLE, network_input
from model.training import augment, looks, upright
from model.training.bodies import FILES, Body, Site, load_bodies
from model.training.data import Sample, load, read_manifest, samples, usable
from model.training.sequences import contrast
from model.training.spectra import Exchange
from model.training.split import Split
from model.training.synthesis import Drawing, draw, draw_upright, mr_from_ct

ALSO_SHARE: Final = 0.25
"""Weight in the target of a second region that a reader could reasonably give (column `also`)."""
BORDER_SHARE: Final = 0.3
"""Weight in the target of the region that begins right beside a slice; none at BORDER_MM (data.py)."""

TRIES: Final = 4
"""How many real volumes are tried for a plane along the body."""
UNTOLD: Final = 0.25
"""How often the network is not told the spacing of an image, though it is known."""
PERSONS: Final = (0.8, 1.15)
"""Smallest and largest size of a person against the one imaged."""

MOST_REAL: Final = {"CT": 0.65, "MR": 0.5}
"""Largest share of real images of a region; MR has few sources, whose contrast must not tell the region."""

EXCHANGED: Final = {"CT": 0.0, "MR": 0.3}
"""Share of images that take the look of another: in MR only the trunk and the head are real ones."""

FAVOUR: Final = dict.fromkeys(("forearm", "elbow", "arm", "shoulder"), 1.4) | {"hand": 2.0, "foot": 2.0}
"""Regions drawn more often than the others: the weakest on the validation subjects of the models before."""


MIXED: Final = "mixed"
REAL: Final = "real"
SYNTHETIC: Final = "synthetic"


@dataclass(frozen=True)
class Choice:
    """What a run trains on: `images` mixed, real or synthetic, `without` these sources, these `bodies`.

    `omitted` regions are never shown, so that it can be measured what becomes of what is not known.
    `upright` is the share of sagittal and coronal images.
    """

    images: str = MIXED
    without: tuple[str, ...] = ()
    bodies: tuple[str, ...] = tuple(FILES)
    omitted: tuple[str, ...] = ()
    upright: float = 0.0


EVERYTHING: Final = Choice()


def choice_of(training: object) -> Choice:
    """Return what of the data weights were trained on, as far as their card's record says so."""
    record = training if isinstance(training, Mapping) else {}
    config, everything = record.get("config", record), EVERYTHING
    return Choice(
        str(config.get("images", everything.images)),
        tuple(config.get("without", everything.without)),
        tuple(config.get("bodies", everything.bodies)),
        tuple(config.get("omitted", everything.omitted)),
        float(config.get("upright", everything.upright)),
    )


Second = tuple[str, float] | None
"""A second region that a slice could be read as, and its weight in the target."""


def second_reading(sample: Sample) -> Second:
    """Return what else a slice could be read as: as its manifest says, or the region beginning beside it."""
    if sample.stack.row.also:
        return sample.stack.row.also, ALSO_SHARE
    return None if sample.beside is None else (sample.beside[0], BORDER_SHARE * sample.beside[1])


@dataclass(frozen=True)
class People:
    """The slices of one region by subject, with the cumulative chance of each subject to be drawn."""

    groups: tuple[tuple[Sample, ...], ...]
    ladder: NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """Real slices by region and subject, and the synthetic sites by region.

    `upright` are real sagittal and coronal images, `upright_share` how often one is drawn.
    """

    classes: tuple[str, ...]
    modality: str
    real: dict[str, People]
    borrowed: dict[str, People]
    sites: dict[str, tuple[tuple[Body, Site], ...]]
    upright: dict[str, People] = field(default_factory=dict)
    upright_share: float = 0.0


def part_samples(
    data: Path, modality: str, classes: tuple[str, ...], split: Split, part: str, upright: bool = False
) -> tuple[Sample, ...]:
    """Return the labelled slices, axial or `upright`, of one part of the split."""
    use = "eval" if part == "evaluation" else "train"
    subjects = split.part(part)
    rows = usable(read_manifest(data, modality), (use,), upright)
    found = samples((load(data, row) for row in rows), classes)
    return tuple(sample for sample in found if sample.subject in subjects)


def make_pool(
    data: Path,
    modality: str,
    classes: tuple[str, ...],
    split: Split,
    choice: Choice = EVERYTHING,
    extra: tuple[Sample, ...] = (),
) -> Pool:
    """Load everything that a model of this modality trains on; MR borrows the anatomy of real CT.

    `extra` are samples from elsewhere, all of them for training.
    """
    real, borrowed, along = extra, tuple[Sample, ...](), tuple[Sample, ...]()
    if choice.images != SYNTHETIC:
        if choice.upright:
            along = _without(part_samples(data, modality, classes, split, "train", upright=True), choice)
        real += _without(part_samples(data, modality, classes, split, "train"), choice)
        if modality == "MR":
            ct = part_samples(data, "CT", classes, split, "train")
            borrowed = _without([sample for sample in ct if sample.stack.row.hounsfield], choice)
    bodies = load_bodies(data, choice.bodies) if choice.images != REAL else ()
    shown = tuple(region for region in classes if region not in choice.omitted)
    own, lent, long = (grouped(_shown(found, choice.omitted)) for found in (real, borrowed, along))
    return Pool(classes, modality, own, lent, sites_of(bodies, modality, shown), long, choice.upright)


def sites_of(
    bodies: Iterable[Body], modality: str, regions: tuple[str, ...]
) -> dict[str, tuple[tuple[Body, Site], ...]]:
    """Return the sites of these regions, for MR each as many times as it is asked for."""
    found: dict[str, list[tuple[Body, Site]]] = defaultdict(list)
    for body in bodies:
        for site in body.sites:
            if site.region in regions and site.last > site.first:
                found[site.region] += [(body, site)] * (site.often if modality == "MR" else 1)
    return {region: tuple(pairs) for region, pairs in found.items()}


def _without(found: Iterable[Sample], choice: Choice) -> tuple[Sample, ...]:
    return tuple(sample for sample in found if sample.stack.row.source not in choice.without)


def _shown(found: Iterable[Sample], omitted: tuple[str, ...]) -> tuple[Sample, ...]:
    """Return the samples that no omitted region is to be seen in, not even as a second reading."""
    return tuple(
        sample
        for sample in found
        if sample.label not in omitted and (second_reading(sample) or ("", 0.0))[0] not in omitted
    )


def grouped(found: Sequence[Sample]) -> dict[str, People]:
    """Group samples by region and subject, with the chance of each subject to be drawn."""
    groups: dict[str, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for sample in found:
        groups[sample.label][sample.subject].append(sample)
    return {label: _people(tuple(tuple(group) for group in by.values())) for label, by in groups.items()}


def _people(groups: tuple[tuple[Sample, ...], ...]) -> People:
    """Give each subject its chance: a source counts by the root of its number of subjects.

    One source with forty people must not drown the others, which look different.
    """
    sources = [group[0].stack.row.source for group in groups]
    weights = np.array([1.0 / np.sqrt(sources.count(source)) for source in sources])
    ladder = np.cumsum(weights / weights.sum())
    ladder[-1] = 1.0
    return People(groups, ladder)


def shares(pool: Pool, label: str) -> tuple[float, float, float]:
    """Return how often a region is drawn real, borrowed from CT, synthetic; they sum to 1.

    The more people a region has, the more often it is drawn from them, up to MOST_REAL. A region
    that has nothing at all is never drawn.
    """
    people = len(pool.real[label].groups) if label in pool.real else 0
    lent = len(pool.borrowed[label].groups) if label in pool.borrowed else 0
    if not people and not lent and label not in pool.sites:
        return (0.0, 0.0, 0.0)
    real = min(MOST_REAL[pool.modality], 0.3 + 0.05 * people) if people else 0.0
    left = 1.0 - real
    if label not in pool.sites:
        return (real, left, 0.0) if lent else (1.0, 0.0, 0.0)
    borrowed = left * min(0.7, 0.3 + 0.05 * lent) if lent else 0.0
    return real, borrowed, left - borrowed


@dataclass(frozen=True)
class Picture:
    """An image before its preprocessing: float32 (rows, columns), and its spacing where that is known."""

    values: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None


class Sampler:
    """An endless supply of batches for one seed, which may be several numbers."""

    def __init__(self, pool: Pool, size: int, seed: int | Sequence[int], preprocessing: str = WHOLE) -> None:
        self._pool = pool
        self._preprocessing = preprocessing
        drawn = np.array([FAVOUR.get(label, 1.0) if any(shares(pool, label)) else 0.0
                          for label in pool.classes])  # fmt: skip
        self._ladder = np.cumsum(drawn) / drawn.sum()
        self._size = size
        self._rng = np.random.default_rng(seed)
        self._exchange = Exchange(EXCHANGED[pool.modality], 0.8)

    def batch(self, n: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return inputs float32 (n, size, size, 1 or 2), targets float32 (n, classes) rows sum to 1."""
        drawn = [self.one() for _ in range(n)]
        return np.stack([image for image, _ in drawn]), np.stack([target for _, target in drawn])

    def one(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Draw a region, then a picture of it, and make the network's input of it."""
        place = int(np.searchsorted(self._ladder[:-1], self._rng.random(), side="right"))
        label = self._pool.classes[place]
        picture, second = self.picture(label)
        return self._input(picture), self._target(label, second)

    def of_slice(self, sample: Sample) -> NDArray[np.float32]:
        """Return the network's input of one slice, varied as training varies it."""
        return self._input(self._softened(self._real(sample), sample.label))

    def of_site(self, body: Body, site: Site) -> NDArray[np.float32]:
        """Return the network's input of a slice drawn from a site of a body."""
        return self._input(self._softened(self._drawn(body, site), site.region))

    def _input(self, picture: Picture) -> NDArray[np.float32]:
        valid = np.ones(picture.values.shape, np.bool_)
        return network_input(picture.values, valid, self._size, self._told(picture), self._preprocessing)

    def picture(self, label: str) -> tuple[Picture, Second]:
        """Return an image of a region as training draws it, and a second region it could be read as."""
        picture, second = self._upright(label) or self._picture(label)
        return self._softened(picture, label), second

    def _softened(self, picture: Picture, label: str) -> Picture:
        # CT limbs come from PET-CT with soft kernels, MR limbs in fine matrices
        strong = self._pool.modality == "CT" and label in augment.LIMBS
        image = looks.soften(picture.values, self._rng, strong=strong)
        if self._rng.random() < 0.07:
            image = augment.letterbox(image, self._rng)
        return replace(picture, values=self._exchange(image, self._rng))

    def _picture(self, label: str) -> tuple[Picture, Second]:
        """Draw where from, then a subject or a body, then a slice."""
        rng, pool = self._rng, self._pool
        real, borrowed, _ = shares(pool, label)
        kind = rng.random()
        if kind < real:
            sample = self._pick(pool.real[label])
            return self._real(sample), second_reading(sample)
        if kind < real + borrowed:
            sample = self._pick(pool.borrowed[label])
            return self._borrowed(sample), second_reading(sample)
        return self._synthetic(label), None

    def _upright(self, label: str) -> tuple[Picture, Second] | None:
        """Draw a sagittal or coronal image now and then, as `_picture` does; None where there is none."""
        rng, pool = self._rng, self._pool
        if not pool.upright_share or rng.random() >= pool.upright_share:
            return None
        kind = rng.random()
        people = len(pool.upright[label].groups) if label in pool.upright else 0
        if people and kind < min(MOST_REAL[pool.modality], 0.3 + 0.05 * people):
            sample = self._pick(pool.upright[label])
            return self._real(sample), second_reading(sample)
        sites = [pair for pair in pool.sites.get(label, ()) if upright.possible(pair[1])]
        if rng.random() < 0.5 or not sites:
            lent = self._reformatted(label)
            if lent is not None:
                return lent, None
        if not sites:
            return None
        body, site = sites[int(rng.integers(len(sites)))]
        return self._shown(draw_upright(body, site, rng)), None

    def _reformatted(self, label: str) -> Picture | None:
        """Cut a real CT volume along the body, and make it look like an MR; None where that fails."""
        pool, rng = self._pool, self._rng
        lenders = [name for name in (label, upright.LENT.get(label)) if name in pool.borrowed]
        if label not in upright.HEIGHT_MM or not lenders:
            return None
        for _ in range(TRIES):
            lender = lenders[int(rng.integers(len(lenders)))]
            plane = upright.reformat(self._pick(pool.borrowed[str(lender)]), label, rng)
            if plane is not None:
                values = np.asarray(plane.values, np.float32)
                view = augment.reframe(values, plane.field, -1000.0, augment.freedom(label), rng)
                return self._lent(_picture(view, (plane.spacing_mm, plane.spacing_mm)), label)
        return None

    def _told(self, picture: Picture) -> tuple[float, float] | None:
        """Return the spacing that the network is told: people differ in size, and often it is not known."""
        if picture.spacing_mm is None or self._rng.random() < UNTOLD:
            return None
        size = float(self._rng.uniform(*PERSONS))
        return picture.spacing_mm[0] * size, picture.spacing_mm[1] * size

    def _target(self, label: str, second: Second) -> NDArray[np.float32]:
        classes = self._pool.classes
        target = np.zeros(len(classes), np.float32)
        target[classes.index(label)] = 1.0
        if second is not None and second[0] in classes:
            target *= 1.0 - second[1]
            target[classes.index(second[0])] += second[1]
        return target

    def _pick(self, people: People) -> Sample:
        person = people.groups[int(np.searchsorted(people.ladder, self._rng.random(), side="right"))]
        return person[int(self._rng.integers(len(person)))]

    def _view(self, sample: Sample) -> Picture:
        """Return the slice, sometimes as a thick slab, in a random field of view."""
        stack, values = sample.stack, sample.values()
        if stack.volume and self._rng.random() < 0.2:
            values = augment.slab(stack.images, sample.index, self._rng)
        box = (0.0, 0.0, float(values.shape[0]), float(values.shape[1]))
        air = float(values.min())
        view = augment.reframe(values, box, air, augment.freedom(sample.label), self._rng)
        return _picture(view, stack.spacing_mm)

    def _real(self, sample: Sample) -> Picture:
        picture = self._view(sample)
        if self._pool.modality == "MR":
            return replace(picture, values=looks.mr_look(picture.values, sample.label, self._rng))
        if sample.stack.row.hounsfield:
            return replace(picture, values=looks.ct_look(picture.values, sample.label, self._rng))
        return replace(picture, values=looks.grey_look(picture.values, self._rng))

    def _borrowed(self, sample: Sample) -> Picture:
        return self._lent(self._view(sample), sample.label)

    def _lent(self, picture: Picture, label: str) -> Picture:
        """Make a CT image of a region look like an MR."""
        drawn = contrast(self._rng, label)
        values = mr_from_ct(picture.values, drawn, self._rng)
        return replace(picture, values=looks.mr_look(values, label, self._rng, drawn.family))

    def _synthetic(self, label: str) -> Picture:
        sites = self._pool.sites[label]
        return self._drawn(*sites[int(self._rng.integers(len(sites)))])

    def _drawn(self, body: Body, site: Site) -> Picture:
        return self._shown(draw(body, site, self._pool.modality, self._rng))

    def _shown(self, drawing: Drawing) -> Picture:
        """Return a drawing in a random field of view, with the look of the modality."""
        air = -1000.0 if self._pool.modality == "CT" else 0.0
        free = augment.freedom(drawing.label)
        view = augment.reframe(drawing.values, drawing.field, air, free, self._rng)
        picture = _picture(view, (drawing.spacing_mm, drawing.spacing_mm))
        if self._pool.modality == "CT":
            return replace(picture, values=looks.ct_look(picture.values, drawing.label, self._rng))
        return replace(
            picture, values=looks.mr_look(picture.values, drawing.label, self._rng, drawing.family)
        )


def _picture(view: augment.View, spacing_mm: tuple[float, float] | None) -> Picture:
    if spacing_mm is None:
        return Picture(view.values, None)
    return Picture(view.values, (view.pixel[0] * spacing_mm[0], view.pixel[1] * spacing_mm[1]))
