"""Scores weights on parts of the data, for several stages of deciding side by side.

The network is asked once for each image; every stage decides on the same output. The temperature is
fitted on the validation subjects alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.regions import CLASSES
from model.training.bootstrap import Places
from model.training.calibration import fit_temperature
from model.training.cases import Case, EvaluationError, Part
from model.training.compare import Difference, differences
from model.training.confounders import Association, all_associations
from model.training.metrics import Figures, Outcome, credited, figures
from model.training.predictions import Network
from model.training.series_metrics import SeriesFigures, series_figures
from model.training.stages import Decided, Stage

FitEnergy = Callable[[NDArray[np.float64], Sequence[str]], float]
"""Finds the largest energy that counts as known, of the energies (n,) of known images and their subjects."""

PRINCIPAL: Final = ("network", "paper", "order")
"""Stages that are shown in full; of the others the summary is. The last one always is."""

MISTAKES: Final = 24
PER_SUBJECT: Final = 3
"""Mistakes that are shown, and of one subject at most."""


@dataclass(frozen=True)
class Mistake:
    """A wrong slice: which image of which case of the part, the truth, what was said, how confidently."""

    case: int
    image: int
    name: str
    subject: str
    source: str
    truth: str
    predicted: str
    confidence: float


@dataclass(frozen=True, eq=False)
class Judged:
    """What one stage said of a part: regions of all images of each case, and the outcome of the scored."""

    stage: Stage
    decided: tuple[Decided, ...]
    outcome: Outcome


@dataclass(frozen=True)
class StageReport:
    """All figures of one stage; `gain` is what it changes against the first stage, on the same slices."""

    name: str
    title: str
    figures: Figures
    series: SeriesFigures | None
    gain: tuple[Difference, ...]
    confounders: tuple[Association, ...]
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class Scored:
    """Figures of one part. `sources` are slices and subjects by source; a `synthetic` part is of one body."""

    name: str
    title: str
    note: str
    sources: dict[str, tuple[int, int]]
    stages: tuple[StageReport, ...]
    synthetic: bool = False

    @property
    def principal(self) -> tuple[StageReport, ...]:
        """The stages that are shown in full."""
        return tuple(one for one in self.stages if one.name in PRINCIPAL or one is self.stages[-1])


def judge(network: Network, part: Part, stages: Sequence[Stage]) -> tuple[Judged, ...]:
    """Return what each stage says of a part. Raises EvaluationError where it has no labelled slice."""
    if not any(case.scored for case in part.cases):
        raise EvaluationError(f"the part '{part.name}' has no labelled slice to score")
    outputs = network.outputs(part)
    found = []
    for stage in stages:
        decided = tuple(stage.decide(output) for output in outputs)
        found.append(Judged(stage, decided, outcome(network.modality, part.cases, decided, stage)))
    return tuple(found)


def outcome(modality: str, cases: Sequence[Case], decided: Sequence[Decided], stage: Stage) -> Outcome:
    """Return the outcome of the scored images of all cases, case by case."""
    places = [(case, said, index) for case, said in zip(cases, decided, strict=True) for index in case.scored]
    truth = tuple(str(case.truth[index]) for case, _, index in places)
    predicted = (credited(t, said.regions[index], stage.resolves)
                 for t, (_, said, index) in zip(truth, places, strict=True))  # fmt: skip
    return Outcome(
        CLASSES[modality],
        truth,
        tuple(predicted),
        np.array([said.confidences[index] for _, said, index in places], np.float64),
        tuple(case.also for case, _, _ in places),
        Places(
            tuple(case.subject for case, _, _ in places),
            tuple(case.source for case, _, _ in places),
            tuple(case.name for case, _, _ in places),
            tuple(0.0 if c.positions_mm is None else float(c.positions_mm[i]) for c, _, i in places),
        ),
    )


def score(part: Part, judged: Sequence[Judged]) -> Scored:
    """Return the figures of one part, those of the first stage as the ones that others gain upon."""
    first = judged[0].outcome
    sources = by_source(part.cases)
    if part.synthetic:  # drawn image by image, but of one body
        sources = {name: (slices, 1) for name, (slices, _) in sources.items()}
    reports = tuple(_stage_report(part, one, first) for one in judged)
    return Scored(part.name, part.title, part.note, sources, reports, part.synthetic)


def _stage_report(part: Part, one: Judged, first: Outcome) -> StageReport:
    regions = [said.regions for said in one.decided]
    carried = [case.factors for case in part.cases for _ in case.scored]
    return StageReport(
        one.stage.name,
        one.stage.title,
        _of_one_body(figures(one.outcome)) if part.synthetic else figures(one.outcome),
        series_figures(part.cases, regions, one.stage.resolves),
        () if one.outcome is first else differences(first, one.outcome),
        all_associations(carried, one.outcome.right, one.outcome.places),
        worst(part.cases, one.outcome),
    )


def _of_one_body(found: Figures) -> Figures:
    regions = tuple(replace(row, subjects=1) for row in found.regions)
    return replace(found, subjects=1, regions=regions)


def by_source(cases: Sequence[Case]) -> dict[str, tuple[int, int]]:
    """Return scored slices and subjects of each source."""
    people: dict[str, set[str]] = {}
    slices: dict[str, int] = {}
    for case in cases:
        if case.scored:
            people.setdefault(case.source, set()).add(case.subject)
            slices[case.source] = slices.get(case.source, 0) + len(case.scored)
    return {source: (slices[source], len(people[source])) for source in sorted(slices)}


def worst(cases: Sequence[Case], found: Outcome) -> tuple[Mistake, ...]:
    """Return the most confident mistakes, no more than PER_SUBJECT of one subject."""
    places = [(number, index) for number, case in enumerate(cases) for index in case.scored]
    shown: list[Mistake] = []
    of: dict[str, int] = {}
    for place in np.argsort(-found.confidences, kind="stable"):
        number, index = places[place]
        case = cases[number]
        if found.right[place] or of.get(case.subject, 0) >= PER_SUBJECT:
            continue
        of[case.subject] = of.get(case.subject, 0) + 1
        shown.append(
            Mistake(number, index, case.name, case.subject, case.source, found.truth[place],
                    found.predicted[place], float(found.confidences[place]))
        )  # fmt: skip
        if len(shown) == MISTAKES:
            break
    return tuple(shown)


def calibrate(network: Network, part: Part, fit_energy: FitEnergy | None = None) -> None:
    """Fit the temperature, and the largest energy of what is known, on the labelled images of a part.

    The network uses both from then on. Without a way to fit the energy it stays the card's.
    """
    logits = network.logits(part)
    labels = [(label, case.subject) for case in part.cases for label in case.truth]
    kept = [index for index, (label, _) in enumerate(labels) if label in network.classes]
    truth = np.array([network.classes.index(str(labels[index][0])) for index in kept], np.int64)
    subjects = [labels[index][1] for index in kept]
    network.temperature = round(fit_temperature(logits[kept], truth, subjects), 4)
    if fit_energy is not None:
        network.maximum_energy = round(fit_energy(energies(network, part)[kept], subjects), 4)


def energies(network: Network, part: Part) -> NDArray[np.float64]:
    """Return the energies (n,) of all images of a part, each steadied by its vicinity as `doubt` does."""
    return np.concatenate([output.steadied for output in network.outputs(part)])


def compared(
    before: Mapping[str, tuple[Judged, ...]], after: Mapping[str, tuple[Judged, ...]]
) -> dict[str, dict[str, tuple[Difference, ...]]]:
    """Return by part and stage what changed between two weights on the same slices."""
    return {
        part: {
            new.stage.name: differences(old.outcome, new.outcome)
            for old, new in zip(before[part], judged, strict=True)
        }
        for part, judged in after.items()
        if part in before
    }
