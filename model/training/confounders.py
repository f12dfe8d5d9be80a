"""What may sway accuracy besides the region: source, contrast, slice spacing, Hounsfield units, MR sequence.

Source: Raffy et al. 2023, Evaluation and Tables 2 and 3: Pearson's chi-squared and Cramer's V of
accuracy with each factor, p for the median chi-squared of the draws.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from model.training.bootstrap import Figure, Number, Places, draw, figure
from model.training.data import Row

UNKNOWN: Final = "not known"
_FAMILIES: Final = (
    ("diffusion", r"ADC|DWI|DIFF"),
    ("angiography", r"MRA|\bTOF\b"),
    ("Dixon", r"DIXON|IDEAL|IN.?PHASE|OUT.?OF"),
    ("inversion recovery", r"STIR|FLAIR|TIRM"),
    ("cine", r"CINE"),
    ("fat-suppressed", r"\bFS\b|SPAIR|FAT.?SAT|WATER"),
    ("gradient echo", r"GRE|T2\*|T2STAR|FLASH|FGRE|FIELDMAP|TFL|DCE|MT"),
    ("T2", r"T2|HASTE|SSFSE"),
    ("T1", r"T1"),
    ("proton density", r"PD"),
)
"""Families of MR sequences by what the manifest's text says, the first that fits."""


@dataclass(frozen=True)
class Stratum:
    """The slices with one value of a factor: how many, of how many subjects, and the share right."""

    value: str
    slices: int
    subjects: int
    right: Figure


@dataclass(frozen=True)
class Association:
    """Accuracy and one factor. `slices` is the median number that a draw keeps, 10 mm apart."""

    factor: str
    strata: tuple[Stratum, ...]
    slices: float
    chi_squared: Number
    degrees: int
    p: Number
    cramers_v: Number


def factors(row: Row, positions_mm: NDArray[np.float64] | None) -> dict[str, str]:
    """Return the factors of a manifest row, by name."""
    found = {
        "source": row.source,
        "contrast": contrast(row.contrast),
        "slice spacing": spacing(positions_mm),
        "label confidence": row.confidence,
    }
    if row.modality == "CT":
        return {**found, "Hounsfield units": "yes" if row.hounsfield else "no"}
    return {**found, "sequence": sequence_family(row.sequence)}


def contrast(text: str) -> str:
    """Return yes or no as the manifest's text begins, else not known."""
    first = text.split(" ")[0].lower()
    return first if first in ("yes", "no") else UNKNOWN


def spacing(positions_mm: NDArray[np.float64] | None) -> str:
    """Return the paper's class of the distance between slices, for want of their thickness."""
    if positions_mm is None or len(positions_mm) < 2:
        return UNKNOWN
    step = float(np.median(np.diff(positions_mm)))
    return "up to 2 mm" if step <= 2.0 else "2 to 5 mm" if step < 5.0 else "5 mm and more"


def sequence_family(text: str) -> str:
    """Return the family of an MR sequence by the manifest's words."""
    for family, pattern in _FAMILIES:
        if re.search(pattern, text.upper()):
            return family
    return UNKNOWN


def association(
    factor: str, values: Sequence[str], right: NDArray[np.bool_], places: Places
) -> Association | None:
    """Return how accuracy goes with a factor of n slices, None where it has but one value."""
    names = sorted(set(values))
    if len(names) < 2:
        return None
    member = np.array([[value == name for name in names] for value in values], np.float64)
    draws = draw(places)
    strata = tuple(
        _stratum(name, member[:, index] > 0, right, places, np.asarray(draws.scaled @ member)[:, index],
                 np.asarray(draws.scaled @ (member[:, index] * right)))
        for index, name in enumerate(names)
    )  # fmt: skip
    hits = np.asarray(draws.once @ (member * right[:, None]))  # (draws, values)
    totals = np.asarray(draws.once @ member)
    statistic, v = chi_squared(np.stack([hits, totals - hits], axis=1))
    median = float(np.median(statistic))
    degrees = len(names) - 1
    return Association(
        factor, strata, float(np.median(totals.sum(axis=1))), median, degrees,
        float(chi2.sf(median, degrees)), float(np.median(v)),
    )  # fmt: skip


def _stratum(
    name: str, mine: NDArray[np.bool_], right: NDArray[np.bool_], places: Places,
    totals: NDArray[np.float64], hits: NDArray[np.float64],
) -> Stratum:  # fmt: skip
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = hits / totals
    people = {subject for subject, inside in zip(places.subjects, mine, strict=True) if inside}
    return Stratum(name, int(mine.sum()), len(people), figure(float(right[mine].mean()), shares))


def chi_squared(tables: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Pearson's chi-squared and Cramer's V of tables (..., rows, columns), each (...).

    Without Yates' correction. Rows and columns without a count do not enter; where fewer than two
    rows or columns are left, both are 0.
    """
    total = tables.sum(axis=(-2, -1))
    rows, columns = tables.sum(axis=-1), tables.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = rows[..., :, None] * columns[..., None, :] / total[..., None, None]
        terms = np.where(expected > 0, (tables - expected) ** 2 / expected, 0.0)
        statistic = terms.sum(axis=(-2, -1))
        least = np.minimum((rows > 0).sum(axis=-1), (columns > 0).sum(axis=-1)) - 1
        v = np.where(least > 0, np.sqrt(statistic / (total * least)), 0.0)
    return statistic, v


def all_associations(
    cases: Sequence[Mapping[str, str]], right: NDArray[np.bool_], places: Places
) -> tuple[Association, ...]:
    """Return the associations of every factor that the n slices carry."""
    if not cases:
        return ()
    found = (
        association(factor, [each.get(factor, UNKNOWN) for each in cases], right, places)
        for factor in cases[0]
    )
    return tuple(one for one in found if one is not None)
