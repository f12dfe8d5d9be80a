"""The spatially aware bootstrap: patients drawn again, one series of each, no two slices within 10 mm.

Source: Raffy et al. 2023, Evaluation ("no image slices were closer than 10 mm", "one series per study
(randomly selected at each sampling iteration)"). Slices of one person resemble each other and are no
independent evidence; neighbouring slices of one series are nearly the same picture. As the manifests
name no studies, what one source holds of a subject counts as one study.

A draw is a row of weights over the slices, so every measure of weighted slices can be resampled by one
product of matrices, and two outcomes of the same slices are drawn alike (paired).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator
from scipy.sparse import csr_array

DRAWS: Final = 2000
APART_MM: Final = 10.0

Number = Annotated[float, BeforeValidator(lambda value: np.nan if value is None else value)]
"""A float that JSON keeps as null where it is not a number."""


@dataclass(frozen=True)
class Figure:
    """A measure with its 95 % interval; NaN where it cannot be told."""

    value: Number
    low: Number
    high: Number


@dataclass(frozen=True)
class Places:
    """Where n slices come from: subject, study and series of each, and its height in the series, in mm.

    Images without a known height each stand for a series of their own. A study is of one subject;
    its name is its own, whatever the subject.
    """

    subjects: tuple[str, ...]
    studies: tuple[str, ...]
    series: tuple[str, ...]
    positions_mm: tuple[float, ...]


@dataclass(frozen=True)
class Draws:
    """Weights (draws, n) of n slices in each draw, all three from the same choice of series and slices.

    `scaled` weighs what was kept of a study up to all of its slices, so that its mean over the draws is
    the plain count of slices: intervals of the plain figures. `spaced` counts what was
    kept, as the paper does. `once` is `spaced` with each patient exactly once.
    """

    scaled: csr_array[Any]
    spaced: csr_array[Any]
    once: csr_array[Any]


def thinned(positions_mm: NDArray[np.float64], start: int) -> NDArray[np.intp]:
    """Return indices of positions (ascending), `start` among them, each APART_MM or more from the next."""
    kept, step = [start], APART_MM - 1e-6
    here = start
    while (here := int(np.searchsorted(positions_mm, positions_mm[here] + step))) < len(positions_mm):
        kept.append(here)
    here = start
    while (here := int(np.searchsorted(positions_mm, positions_mm[here] - step, side="right")) - 1) >= 0:
        kept.insert(0, here)
    return np.array(kept, np.intp)


@lru_cache(maxsize=6)
def draw(places: Places, count: int = DRAWS, seed: int = 1) -> Draws:
    """Draw `count` times. A slice is chosen at random from each study; its series is the series kept.

    The series is thinned from that slice on, upwards and downwards, so a long series is chosen more
    often than a short one and every phase of the thinning is as likely.
    """
    rng = np.random.default_rng(seed)
    patients, patient = np.unique(np.array(places.subjects), return_inverse=True)
    keys = [f"{subject}\n{study}" for subject, study in zip(places.subjects, places.studies, strict=True)]
    studies, study = np.unique(np.array(keys), return_inverse=True)
    order = np.argsort(study, kind="stable")
    sizes = np.bincount(study, minlength=len(studies))
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    seeds = order[firsts + (rng.random((count, len(studies))) * sizes).astype(np.int64)]
    n = len(patients)
    times = rng.multinomial(n, np.full(n, 1 / n), size=count)[:, patient[order[firsts]]]
    rows, shape = np.repeat(np.arange(count), len(studies)), (count, len(keys))
    drawn = csr_array((times.ravel().astype(np.float64), (rows, seeds.ravel())), shape=shape)
    drawn.eliminate_zeros()
    each = csr_array((np.ones(seeds.size), (rows, seeds.ravel())), shape=shape)
    plain, scaled = _kernels(places, sizes[study])
    return Draws(drawn @ scaled, drawn @ plain, each @ plain)


def _kernels(places: Places, size: NDArray[np.intp]) -> tuple[csr_array[Any], csr_array[Any]]:
    """Return (n, n): row j has the slices kept from start j, as 1 and scaled to `size`, that of its study."""
    heights = np.array(places.positions_mm)
    starts: list[int] = []
    ends: list[NDArray[np.intp]] = []
    for members in _grouped(np.array(places.series)):
        ranked = members[np.argsort(heights[members], kind="stable")]
        for place, index in enumerate(ranked):
            starts.append(int(index))
            ends.append(ranked[thinned(heights[ranked], place)])
    lengths = np.array([len(end) for end in ends])
    rows, columns = np.repeat(starts, lengths), np.concatenate(ends)
    share, shape = np.repeat(size[starts] / lengths, lengths), (len(heights), len(heights))
    return (
        csr_array((np.ones(len(rows)), (rows, columns)), shape=shape),
        csr_array((share, (rows, columns)), shape=shape),
    )


def _grouped(names: NDArray[np.str_]) -> list[NDArray[np.intp]]:
    order = np.argsort(names, kind="stable")
    borders = np.flatnonzero(names[order][1:] != names[order][:-1]) + 1
    return list(np.split(order, borders))


def figure(value: float, draws: NDArray[np.float64]) -> Figure:
    """Return a value with the 2.5th and 97.5th percentile of its draws; draws that are NaN are left out."""
    usable = draws[np.isfinite(draws)]
    low, high = np.quantile(usable, [0.025, 0.975]) if usable.size else (np.nan, np.nan)
    return Figure(float(value), float(low), float(high))


def mean(values: NDArray[np.float64], places: Places) -> Figure:
    """Return the mean of n values, one for each place, with its interval; NaN of no values."""
    if not len(values):
        return Figure(np.nan, np.nan, np.nan)
    weights = draw(places).scaled
    return figure(float(values.mean()), (weights @ values) / weights.sum(axis=1))
