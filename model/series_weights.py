"""Weights of networks for whole CT series: arrays beside a card, verified as those of slices are."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.enhancement import Enhancement
from model.series_networks import HEADS, SeriesDefinition, build
from model.weights_file import WeightsError, file_digest, fitted, read_card, write_card

SHIPPED: Final = Path(__file__).parent / "weights" / "ct_series.npz"
"""The weights for whole CT series that come with the package."""


@dataclass(frozen=True)
class SeriesWeights:
    """Verified weights, float32 arrays in the order of the network's variables; `temperatures` by head.

    `enhancement` turns what is measured into a probability of contrast; None where the card has no curve.
    """

    definition: SeriesDefinition
    temperatures: Mapping[str, float]
    digest: str
    arrays: tuple[NDArray[np.float32], ...]
    card: Mapping[str, Any]
    enhancement: Enhancement | None = None


def save(path: Path, model: Any, definition: SeriesDefinition, card: Mapping[str, object]) -> str:
    """Write a keras model's weights, kernels in half precision, and their card; return the digest."""
    arrays = [np.asarray(each) for each in model.get_weights()]
    stored = {
        f"{index:04d}": each.astype(np.float16) if each.ndim > 1 else each.astype(np.float32)
        for index, each in enumerate(arrays)
    }
    with path.open("wb") as file:
        np.savez_compressed(file, **stored)  # type: ignore[arg-type]
    digest = file_digest(path)
    write_card(path, {"definition": definition.as_json(), "digest": digest, **card})
    return digest


def load(path: Path) -> SeriesWeights:
    """Read and verify weights and card. Raises WeightsError with one sentence that names the path."""
    card, digest = read_card(path), file_digest(path)
    if digest != card.get("digest"):
        raise WeightsError(f"the weights {path} are not those of their card: SHA-256 {digest} does not match")
    try:
        definition = SeriesDefinition.from_json(card["definition"])
        temperatures = {head: float(card["temperatures"].get(head, 1.0)) for head in HEADS}
        curve = card.get("enhancement")
        enhancement = None if curve is None else Enhancement.from_json(curve)
        with np.load(path, allow_pickle=False) as stored:
            arrays = tuple(stored[name].astype(np.float32) for name in sorted(stored.files))
    except (KeyError, TypeError, ValueError, AttributeError, OSError, zipfile.BadZipFile) as error:
        raise WeightsError(f"the weights {path} or their card are malformed: {error}") from error
    if not all(0.05 <= value <= 20.0 for value in temperatures.values()):
        raise WeightsError(f"the card of the weights {path} gives a temperature that makes no sense")
    return SeriesWeights(definition, temperatures, digest, arrays, card, enhancement)


def restore(path: Path, weights: SeriesWeights) -> Any:
    """Return the keras.Model that verified weights describe; raises WeightsError where they do not fit."""
    return fitted(path, build(weights.definition), weights.arrays)
