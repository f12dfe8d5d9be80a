"""Weights on disk: half-precision arrays (.npz) beside a card (.json) with their definition and digest.

No pickle: arrays are read with `allow_pickle=False`, the card is JSON. The digest is the SHA-256 of
the .npz file and is verified before anything of it is used.
"""

import hashlib
import json
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.networks import Definition, build

_ROWS: Final = re.compile(r"\[\n\s*([^\[\]{}]*?)\n\s*\]")
"""A list of plain values, spread over several lines."""


class WeightsError(Exception):
    """Weights cannot be used; the message is one sentence with the path."""


@dataclass(frozen=True)
class Weights:
    """Verified weights: float32 arrays in the order of the network's variables, and their card.

    `maximum_energy` is the card's threshold of doubt (rules/doubt.py), None where it gives none;
    `part_temperature` is the temperature of a second head.
    """

    definition: Definition
    modality: str
    temperature: float
    digest: str
    arrays: tuple[NDArray[np.float32], ...]
    card: Mapping[str, Any]
    maximum_energy: float | None = None

    @property
    def lengthwise(self) -> bool:
        """Whether they were trained on sagittal and coronal images as well."""
        training = self.card.get("training")
        config = training.get("config") if isinstance(training, Mapping) else None
        return isinstance(config, Mapping) and bool(config.get("upright"))

    part_temperature: float = 1.0


def card_path(path: Path) -> Path:
    """Return the path of the card beside a weights file."""
    return path.with_suffix(".json")


def save(path: Path, model: Any, definition: Definition, card: Mapping[str, object]) -> str:
    """Write a keras model's weights and their card, and return the digest."""
    return write(path, [np.asarray(each) for each in model.get_weights()], definition, card)


def write(
    path: Path,
    weights: Sequence[NDArray[np.float32]],
    definition: Definition,
    card: Mapping[str, object],
) -> str:
    """Write weights in the order of the network's variables and their card, and return the digest.

    Kernels become half precision; vectors (biases, normalisation) stay single, as running variances
    can leave the range of half precision and weigh nothing.
    """
    arrays = {f"{index:04d}": _halved(each) for index, each in enumerate(weights)}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    digest = file_digest(path)
    write_card(path, {"definition": definition.as_json(), "digest": digest, **card})
    return digest


def _halved(array: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
    return array.astype(np.float16) if array.ndim > 1 else array.astype(np.float32)


def write_card(path: Path, card: Mapping[str, object]) -> None:
    """Write the card of the weights file `path`, each innermost list on one line."""
    text = json.dumps(card, indent=1, ensure_ascii=False)
    lines = _ROWS.sub(lambda row: f"[{' '.join(row[1].split())}]", text)
    card_path(path).write_text(lines + "\n", encoding="utf-8")


def read_card(path: Path) -> dict[str, Any]:
    """Read the card of the weights file `path`; raises WeightsError."""
    card = card_path(path)
    try:
        plain = json.loads(card.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"the card {card} of the weights cannot be read: {error}") from error
    if not isinstance(plain, dict):
        raise WeightsError(f"the card {card} of the weights is not a JSON object")
    return plain


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits; raises WeightsError where it is unreadable."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"the weights {path} cannot be read: {error}") from error


def load(path: Path) -> Weights:
    """Read and verify weights and card. Raises WeightsError with one sentence that names the path."""
    card, digest = read_card(path), file_digest(path)
    if digest != card.get("digest"):
        raise WeightsError(f"the weights {path} are not those of their card: SHA-256 {digest} does not match")
    try:
        definition = Definition.from_json(card["definition"])
        modality, temperature = str(card["modality"]), float(card["temperature"])
        maximum = _finite(card.get("maximum_energy"))
        parts = float(card.get("part_temperature", temperature))
        with np.load(path, allow_pickle=False) as stored:
            arrays = tuple(stored[name].astype(np.float32) for name in sorted(stored.files))
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise WeightsError(f"the weights {path} or their card are malformed: {error}") from error
    for value in (temperature, parts):
        if not 0.05 <= value <= 20.0:
            raise WeightsError(
                f"the card {card_path(path)} gives the temperature {value}, which makes no sense"
            )
    return Weights(definition, modality, temperature, digest, arrays, card, maximum, parts)


def _finite(value: object) -> float | None:
    """Return a number of the card, None where there is none; raises ValueError or TypeError."""
    number = None if value is None else float(str(value))
    if number is not None and not math.isfinite(number):
        raise ValueError(f"{value} is no threshold")
    return number


def restore(path: Path, weights: Weights) -> Any:
    """Return the keras.Model that verified weights describe; raises WeightsError where they do not fit."""
    return fitted(path, build(weights.definition), weights.arrays)


def fitted(path: Path, model: Any, arrays: Sequence[NDArray[np.float32]]) -> Any:
    """Put the arrays of `path` into a keras.Model and return it; raises WeightsError if they do not fit."""
    try:
        model.set_weights(list(arrays))
    except ValueError as error:
        raise WeightsError(f"the weights {path} do not fit the network of their card: {error}") from error
    return model
