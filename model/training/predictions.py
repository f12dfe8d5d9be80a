"""What a network says of the images of a part, kept on disk: evaluating again costs seconds.

Kept are logits, by the digests of the weights, of the images and of the code between the two; the
temperature is applied when they are used.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

import model.classify
import model.efficientnet
import model.networks
import model.preprocess
from model.classify import Classifier, energy, softmax
from model.prediction import Prediction
from model.read import Image
from model.training.cases import Part
from model.training.stages import SeriesOutput
from model.weights_file import Weights, load

CACHE: Final = Path("build/predictions")
_CODE: Final = (model.classify, model.efficientnet, model.networks, model.preprocess)

Tick = Callable[[], None]
"""Called once for every image."""


class Network:
    """The weights of one file; TensorFlow is loaded only if something is not kept already."""

    def __init__(self, path: Path, cache: Path | None = CACHE) -> None:
        self._weights = load(path)
        self.path = path
        self._cache = cache
        self._classifier: Classifier | None = None
        self._known: dict[str, NDArray[np.float64]] = {}
        self.temperature = self._weights.temperature
        self.maximum_energy = self._weights.maximum_energy

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that the network tells apart."""
        return self._weights.definition.classes

    @property
    def weights(self) -> Weights:
        """The verified weights with their card."""
        return self._weights

    @property
    def name(self) -> str:
        """What the weights are called: by their file and its folder."""
        return f"{self.path.parent.name}/{self.path.stem}"

    @property
    def modality(self) -> str:
        """The modality that the weights are for."""
        return self._weights.modality

    def logits(self, part: Part, tick: Tick = lambda: None) -> NDArray[np.float64]:
        """Return the logits (n, k) of all images of a part."""
        if part.digest not in self._known:
            self._known[part.digest] = self._found(part, tick)
        return self._known[part.digest]

    def _found(self, part: Part, tick: Tick) -> NDArray[np.float64]:
        kept = self._kept(part)
        if kept is not None and kept.is_file():
            with np.load(kept, allow_pickle=False) as arrays:
                logits = np.asarray(arrays["logits"], np.float64)
            for _ in range(part.count):
                tick()
            return logits
        if self._classifier is None:
            self._classifier = Classifier.load({self.modality: self.path})
        found = self._classifier.predict(self.modality, _ticking(part.images(), tick))
        logits = _logits(found, self._weights.temperature)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(kept, logits=logits.astype(np.float32))
        return logits

    def outputs(self, part: Part) -> tuple[SeriesOutput, ...]:
        """Return the calibrated output of each case of a part."""
        logits = self.logits(part).astype(np.float32)
        ends = np.cumsum([len(case.pixels) for case in part.cases])
        pieces = np.split(logits, ends[:-1]) if len(ends) else []
        return tuple(
            SeriesOutput(
                self.classes, softmax(piece, self.temperature), case.positions_mm, energy(piece),
                self.maximum_energy, case.lengthwise,
            )
            for case, piece in zip(part.cases, pieces, strict=True)
        )  # fmt: skip

    def _kept(self, part: Part) -> Path | None:
        if self._cache is None:
            return None
        code = hashlib.sha256(b"".join(Path(str(one.__file__)).read_bytes() for one in _CODE)).hexdigest()
        return self._cache / f"{self._weights.digest[:16]}-{part.digest[:16]}-{code[:8]}.npz"


def _logits(found: Prediction, temperature: float) -> NDArray[np.float64]:
    """Return the logits (n, k) behind calibrated probabilities; their energy tells what softmax lost."""
    relative = np.log(np.maximum(found.probabilities.astype(np.float64), 1e-30)) * temperature
    if found.energy is None:
        return relative
    lost = -found.energy.astype(np.float64) - np.logaddexp.reduce(relative, axis=1)
    return np.asarray(relative + lost[:, None], np.float64)


def _ticking(images: Iterator[Image], tick: Tick) -> Iterator[Image]:
    for image in images:
        tick()
        yield image
