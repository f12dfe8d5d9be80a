"""Classifier: load once, predict(series) -> Prediction. `load` imports what runs networks, nothing before.

The receiver imports this module without ever loading TensorFlow; the inference process calls `load`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.networks import Definition
from model.prediction import Prediction
from model.preprocess import network_input
from model.radiographs import MODEL as RADIOGRAPHS
from model.radiographs import model_of
from model.read import Image, ImageHeader
from model.runtimes import (
    TENSORFLOW,
    Compiled,
    Engine,
    chosen,
    compiled,
    prepare_tensorflow,
    without_chatter,
)
from model.standing import lengthwise
from model.weights_file import Weights, WeightsError, load

__all__ = ["SHIPPED", "Classifier", "WeightsError", "without_chatter"]

BATCH: Final = 16
"""Images a step."""
LENGTHWISE: Final = "_LENGTHWISE"
"""Ends the name of the network that sees a modality's sagittal and coronal images."""
DEFAULT: Final = Engine()
FILMS: Final = 1
"""Radiographs a step: most of their series hold one or two."""

SHIPPED: Final = {
    name: Path(__file__).parent / "weights" / f"{name.lower()}.npz"
    for name in ("CT", "MR", f"MR{LENGTHWISE}", "XR")
}
"""The weights that come with the package, by model; XR is that of radiographs (CR, DX, RG)."""


@dataclass(frozen=True)
class _Loaded:
    """Verified weights, and their network once it is needed."""

    path: Path
    weights: Weights
    engine: Engine

    @cached_property
    def compiled(self) -> Compiled:
        """The network as the runtime has it."""
        return compiled(self.path, self.weights, self.batch, self.engine)

    @property
    def batch(self) -> int:
        """Images that one step takes at most."""
        return batch_size(self.weights.definition)


class Classifier:
    """The networks of one or more modalities, ready to predict. One thread at a time."""

    def __init__(self, loaded: Mapping[str, _Loaded]) -> None:
        self._loaded = dict(loaded)

    @classmethod
    def load(cls, weights: Mapping[str, Path], engine: Engine = DEFAULT) -> "Classifier":
        """Load and verify the weights of each modality, and compile those that are not the shipped ones.

        The shipped ones are known to fit; they are compiled when first needed, as no site sends everything.
        The engine's `threads` hold for the whole process where TensorFlow runs them, and can be given only
        before it has run anything. Raises WeightsError with one sentence where a file is unreadable, does not
        match its card's digest, or is of another modality, and where the runtime is not installed.
        """
        verified = {modality: _verified(modality, path) for modality, path in weights.items()}
        with without_chatter():
            if chosen(engine) == TENSORFLOW:
                prepare_tensorflow(engine.threads)
        loaded = {name: _Loaded(weights[name], found, engine) for name, found in verified.items()}
        for name, one in loaded.items():
            if one.path != SHIPPED.get(name):
                _ = one.compiled
        return cls(loaded)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that can be predicted, e.g. ("CT", "MR")."""
        return tuple(self._loaded)

    def digest(self, modality: str) -> str:
        """Return the SHA-256 of the weights that decide for `modality`; raises ValueError without a model."""
        return self._network(modality).weights.digest

    def runtime(self, modality: str) -> str:
        """Return what runs the network of `modality`, with its version; raises ValueError without a model."""
        return self._network(modality).compiled.runtime

    def definition(self, modality: str) -> Definition:
        """Return the definition by which a network gets its inputs; raises ValueError without a model."""
        return self._network(modality).weights.definition

    def network_for(self, header: ImageHeader) -> str | None:
        """Return the name of the network that an image is for; None where none knows its plane."""
        name = model_of(header.modality)
        if name == RADIOGRAPHS or not lengthwise(header):
            return name
        along = f"{name}{LENGTHWISE}"
        return along if along in self._loaded else None

    def predict(self, modality: str, images: Iterable[Image]) -> Prediction:
        """Return probabilities float32 (n, classes) for n images, in their order; n may be 0.

        `images` may be a generator: no more than one batch of them is held at a time. Probabilities
        are the softmax of the logits divided by the card's temperature, which was fitted on
        validation subjects to soften, never to sharpen (MODEL_CARD.md says how well they hold).
        """
        definition = self.definition(modality)
        return self.judge(modality, (model_input(image, definition) for image in images))

    def judge(self, modality: str, inputs: Iterable[NDArray[np.float32]]) -> Prediction:
        """Return what `predict` does, of inputs (size, size, channels) that `model_input` made."""
        network = self._network(modality)
        outputs = len(network.weights.definition.outputs)
        logits = [network.compiled.infer(batch) for batch in _batches(iter(inputs), network.batch)]
        table = np.concatenate(logits) if logits else np.zeros((0, outputs), np.float32)
        runtime = network.compiled.runtime if logits else ""
        return replace(predicted(table, network.weights), runtime=runtime)

    def _network(self, modality: str) -> _Loaded:
        name = model_of(modality)
        if name not in self._loaded:
            raise ValueError(f"no model for {modality}")
        return self._loaded[name]


def predicted(logits: NDArray[np.float32], weights: Weights) -> Prediction:
    """Return the calibrated prediction that logits (n, outputs) of these weights mean."""
    definition = weights.definition
    first, second = np.split(logits, [len(definition.classes)], axis=1)
    parts = softmax(second, weights.part_temperature) if definition.parts else None
    return Prediction(
        definition.classes,
        softmax(first, weights.temperature),
        weights.digest,
        energy(logits),
        weights.maximum_energy,
        definition.parts,
        parts,
    )


def batch_size(definition: Definition) -> int:
    """Return how many images a network is given at a time."""
    return FILMS if definition.parts else BATCH


def softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Return calibrated probabilities, float32 (n, k) with rows summing to 1, of logits (n, k)."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def energy(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the energy -log(sum(exp(logits))) of each row, float32 (n,) for logits (n, k)."""
    return np.asarray(-np.logaddexp.reduce(logits.astype(np.float64), axis=1), np.float32)


def _verified(name: str, path: Path) -> Weights:
    weights = load(path)
    modality = name.removesuffix(LENGTHWISE)
    if weights.modality != modality:
        raise WeightsError(f"the weights {path} are for {weights.modality}, not for {modality}")
    if modality != name and not weights.lengthwise:
        raise WeightsError(f"the weights {path} were not trained on sagittal and coronal images")
    return weights


def model_input(image: Image, definition: Definition) -> NDArray[np.float32]:
    """Return the float32 (size, size, channels) input of an image; grey is repeated over three channels."""
    found = network_input(
        image.values, image.valid, definition.size, image.spacing_mm, definition.preprocessing
    )
    return np.repeat(found, 3, axis=2) if definition.channels == 3 else found


def _batches(inputs: Iterator[NDArray[np.float32]], size: int) -> Iterator[NDArray[np.float32]]:
    while batch := list(islice(inputs, size)):
        yield np.stack(batch)
