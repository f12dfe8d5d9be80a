"""Radiographs of one series at work: both heads of the network, the verdict, and one result an image."""

from collections.abc import Sequence

import numpy as np

from db.records import ImageResult
from model.prediction import Prediction
from model.read import ImageHeader
from node.settings.config import Config
from rules.decide import expanded
from rules.films import Films, decide_films
from rules.verdict import Verdict


def verdict(prediction: Prediction, config: Config) -> Verdict:
    """Decide a series of radiographs; of the configured rules `doubt` alone concerns them."""
    parts = prediction.part_probabilities
    films = Films(
        prediction.probabilities,
        np.zeros((len(prediction.probabilities), 0), np.float32) if parts is None else parts,
        prediction.energy,
        prediction.maximum_energy,
    )
    return decide_films(films, config.classify.minimum_confidence, "doubt" in expanded(config.rules))


def results(headers: Sequence[ImageHeader], decided: Verdict) -> list[tuple[ImageHeader, ImageResult]]:
    """Return what was found in each image, in the order of the verdict; all at height 0."""
    return [
        (header, ImageResult(header.sop_instance_uid, region, confidence, 0.0, None))
        for header, region, confidence in zip(headers, decided.regions, decided.confidences, strict=True)
    ]
