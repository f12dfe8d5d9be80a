"""Regions left out of training: how many of their images are labelled with confidence all the same.

At the threshold of each score that keeps 95 % of the images of known regions. Judged are images by
the confidence of a stage (0 where it says unknown), by their energy, and by that of their vicinity.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.training.cases import Part
from model.training.evaluate import Judged
from model.training.predictions import Network

ENERGY: Final = "energy of the image alone"
VICINITY: Final = "energy of the images within 25 mm"

Accepted = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
"""Scores of known images and of left-out ones -> the share of the latter that is let through."""


@dataclass(frozen=True)
class LeftOut:
    """One score of one region: its images, and shares 0..1; `named` is the share that got any region."""

    score: str
    region: str
    images: int
    known: int
    labelled: float
    named: float


def left_out(
    part: Part, judged: Sequence[Judged], network: Network, omitted: Sequence[str], accepted: Accepted
) -> tuple[LeftOut, ...]:
    """Return what becomes of the omitted regions in a part, for each stage and for the energy."""
    truth = np.array([case.truth[index] for case in part.cases for index in case.scored])
    known = ~np.isin(truth, omitted)
    found = []
    for title, score in _scores(part, judged, network):
        for region in omitted:
            mine, others = score[truth == region], score[known]
            if len(mine) and len(others):
                named = float("nan") if title in (ENERGY, VICINITY) else float(np.mean(mine > 0))
                share = accepted(others, mine)
                found.append(LeftOut(title, region, len(mine), len(others), share, named))
    return tuple(found)


def _scores(
    part: Part, judged: Sequence[Judged], network: Network
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield title and score of the scored images: each stage's confidence, and energies turned round."""
    for one in judged:
        yield one.stage.title, _scored(part, [decided.confidences for decided in one.decided])
    outputs = network.outputs(part)
    energies = [output.energy for output in outputs if output.energy is not None]
    if len(energies) == len(part.cases):
        yield ENERGY, _scored(part, [-energy.astype(np.float64) for energy in energies])
        yield VICINITY, _scored(part, [-output.steadied for output in outputs])


def _scored(part: Part, values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the values of the scored images, case by case."""
    pairs = zip(part.cases, values, strict=True)
    return np.array([value[index] for case, value in pairs for index in case.scored], np.float64)


def table(rows: Sequence[LeftOut]) -> str:
    """Return the rows in Markdown."""
    heads = ("region left out", "judged by", "its images", "known images", "named %",
             "labelled % at 95 % coverage of the known")  # fmt: skip
    lines: list[Sequence[str]] = [heads, ("---",) * len(heads)]
    lines += [
        (row.region, row.score, str(row.images), str(row.known), _percent(row.named), _percent(row.labelled))
        for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f}"
