"""CT series as wholes, in the worker: gathers the volume as images are decoded, and says what it is.

Images that the worker does not decode for itself, those of coronal and sagittal CT, are decoded here, some of
them. Such a series gets its regions from the projection, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from db.records import Outcome, Whole
from model.gate import reason
from model.geometry import centre_z_mm, normal, order, places_mm
from model.read import Image, ImageHeader, UndecodableError, read_pixels
from model.runtimes import Engine
from model.series_reader import SeriesPrediction, SeriesReader, Stretches
from model.series_stack import Gatherer, Plan, plan
from node.glance import Look
from node.settings.config import Config
from rules.decide import decide
from rules.explain import PROJECTION
from rules.thin import chosen
from rules.verdict import Evidence

log = structlog.get_logger()

ALONG: Final = frozenset({"coronal plane", "sagittal plane"})
"""Reasons of the gate for images that make a volume, though no slice network knows their plane."""
UNPLACED: Final = frozenset({"no image orientation", "unusable image orientation", "no image position"})
AT_MOST: Final = 0.6
"""No verdict by the projection alone is surer: few studies of sources never trained on stand behind it, and
it doubts nothing that it never saw. So copies keep their tags unless `relabel.fill_confidence` is lowered."""
CONTRAST: Final = 0.6
"""How sure the network must be of contrast, given or not, for that to be told."""


@dataclass
class Onlooker:
    """Looks on while a series is classified; without a reader or a volume it says nothing."""

    gatherer: Gatherer | None
    reader: SeriesReader | None
    alive: Callable[[], None]
    prediction: SeriesPrediction | None = None

    def beside(self, look: Look) -> Look:
        """Return a look that shows decoded images to this onlooker as well."""
        gatherer = self.gatherer
        if gatherer is None:
            return look

        def both(header: ImageHeader, image: Image) -> None:
            look(header, image)
            gatherer.look(header, image)

        return both

    def finish(self) -> None:
        """Decode what is missing, and look at the volume."""
        if self.gatherer is None or self.reader is None:
            return
        for header in self.gatherer.missing():
            self.alive()
            try:
                self.gatherer.look(header, read_pixels(header))
            except UndecodableError:
                continue
        try:
            stack = self.gatherer.stack()
            if stack is not None:
                self.prediction = self.reader.predict(stack, self.gatherer.plan)
        except (ArithmeticError, LookupError, ValueError):  # odd geometry costs the look, not the verdict
            log.exception("a series could not be looked at as a whole")

    def weighed(self, evidence: Evidence, headers: Sequence[ImageHeader]) -> Evidence:
        """Return the evidence with what the whole series shows at the height of each image."""
        stretches = None if self.prediction is None else self.prediction.stretches
        if stretches is None or stretches.classes != evidence.classes:
            return evidence
        heights = np.array([centre_z_mm(header) for header in headers], np.float64)
        return replace(evidence, whole=at(stretches, heights))

    def told(self, outcome: Outcome, config: Config) -> Outcome:
        """Return the outcome with what the series is, and with regions where the slices gave none."""
        said = self.prediction
        if said is None:
            return outcome
        outcome = replace(outcome, whole=_whole(said, config.classify.minimum_confidence))
        if outcome.verdict is None and not said.contradicts:
            outcome = _along(outcome, said, config)
        if outcome.verdict is not None and said.contradicts:
            flags = (*outcome.verdict.flags, _contradiction(said))
            outcome = replace(outcome, verdict=replace(outcome.verdict, flags=flags))
        return outcome


def onlooker(headers: Sequence[ImageHeader], config: Config, alive: Callable[[], None]) -> Onlooker:
    """Return who looks on at a series: at its CT images that make a volume, if there are enough."""
    path = config.series_weights()
    mine = [header for header in headers if header.modality == "CT" and _of_volume(header)]
    planned = _planned(_thinned(mine, config.classify.every_mm)) if path is not None else None
    if path is None or planned is None:
        return Onlooker(None, None, alive)
    return Onlooker(Gatherer(planned), _reader(path, config.engine()), alive)


def _thinned(headers: Sequence[ImageHeader], every_mm: float | None) -> Sequence[ImageHeader]:
    """Leave out the slices that are not looked at for themselves either (rules/thin.py)."""
    unplaced = any(each.position is None or normal(each.orientation) is None for each in headers)
    if every_mm is None or unplaced:
        return headers
    places = places_mm(headers)
    sequence = order(places)
    return [headers[sequence[index]] for index in chosen(places[sequence], every_mm)]


def _planned(headers: Sequence[ImageHeader]) -> Plan | None:
    try:
        return plan(headers) if headers else None
    except (ArithmeticError, LookupError, ValueError):  # odd geometry costs the look, not the verdict
        log.exception("a series could not be planned as a whole")
        return None


def _of_volume(header: ImageHeader) -> bool:
    why = reason(header)
    return why is None or why in ALONG or why in UNPLACED


@lru_cache(maxsize=2)
def _reader(path: Path, engine: Engine) -> SeriesReader:
    return SeriesReader.load(path, engine)


def at(stretches: Stretches, heights_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, k): what the stretch nearest to each height shows."""
    away = np.abs(heights_mm[:, np.newaxis] - stretches.heights_mm)
    return np.asarray(stretches.probabilities[away.argmin(axis=1)], np.float64)


def _whole(said: SeriesPrediction, minimum: float) -> Whole:
    """Return what the database keeps; in doubt there is no label and no contrast."""
    (part, sure), (second, less) = sorted(said.parts.items(), key=lambda each: -each[1])[:2]
    contrast, told = max(said.contrasts.items(), key=lambda each: each[1])
    seen, seen_sure = max(said.axes.items(), key=lambda each: each[1])
    return Whole(
        part=part if sure >= minimum else None,
        part_confidence=sure,
        second=second,
        second_confidence=less,
        axis=said.axis,
        axis_from=said.axis_from,
        seen_axis=seen,
        seen_axis_confidence=seen_sure,
        contradicts=said.contradicts,
        contrast=contrast if told >= CONTRAST else None,
        contrast_confidence=told,
        weights_digest=said.weights_digest,
    )


def _contradiction(said: SeriesPrediction) -> str:
    seen = max(said.axes, key=lambda each: said.axes[each])
    return f"the header says {said.axis} planes, the images look {seen}"


def _along(outcome: Outcome, said: SeriesPrediction, config: Config) -> Outcome:
    """Return the outcome with a verdict by the projection, where images lie along the body.

    No image has one region then: each shows all of the height. Frames of Enhanced objects stay as they are.
    """
    along = [image for image in outcome.images if image.reason in ALONG and not image.frames]
    stretches = said.stretches
    if stretches is None or not len(stretches.heights_mm) or not along:
        return outcome
    evidence = Evidence(stretches.classes, stretches.probabilities, stretches.heights_mm)
    verdict = decide(evidence, ("order",), config.classify.minimum_confidence)
    spans = tuple(replace(span, images=len(along)) for span in verdict.spans)
    images = tuple(replace(image, reason=None) if image in along else image for image in outcome.images)
    return replace(
        outcome,
        verdict=replace(verdict, spans=spans, rule=PROJECTION, confidence=min(verdict.confidence, AT_MOST)),
        images=images,
        reason=None,
        weights_digest=said.weights_digest,
    )
