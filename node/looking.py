"""How the worker looks at a series: which images, decoded where, and shown to which network."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from model.classify import LENGTHWISE, Classifier
from model.prediction import Prediction
from model.read import Image, ImageHeader, UndecodableError, read_pixels
from model.standing import stood
from node.ahead import Decoders
from node.glance import Look, ignore
from rules.thin import chosen, spread


@dataclass
class Looking:
    """One look at one series; `alive` is called as it goes on, `look` is shown each decoded image.

    `kept` are the images that the rows of the prediction are for, in their order; `undecodable` the others,
    with a reason each. With `every_mm` axial slices that lie close are not looked at (rules/thin.py).
    """

    classifier: Classifier
    alive: Callable[[], None]
    look: Look = ignore
    decoders: Decoders | None = None
    every_mm: float | None = None
    kept: list[ImageHeader] = field(default_factory=list)
    undecodable: list[tuple[ImageHeader, str]] = field(default_factory=list)

    def films(self, modality: str, headers: Sequence[ImageHeader]) -> Prediction:
        """Show radiographs to their network, each for itself."""
        prediction, kept = self._judged(modality, headers)
        self.kept += kept
        return prediction

    def stack(self, headers: Sequence[ImageHeader], positions_mm: NDArray[np.float64]) -> Prediction:
        """Show images, sorted by their positions (n,), to the network of each; the first's comes first."""
        groups: dict[str, list[int]] = {}
        for index, header in enumerate(headers):
            groups.setdefault(self.classifier.network_for(header) or "", []).append(index)
        found = [
            self._thinned(name, [headers[index] for index in mine], positions_mm[mine])
            for name, mine in groups.items()
        ]
        return reduce(Prediction.beside, found)

    def _thinned(
        self, name: str, headers: Sequence[ImageHeader], positions_mm: NDArray[np.float64]
    ) -> Prediction:
        """Look at as many images of one network as are needed, and say of the rest what lies between."""
        picked = chosen(positions_mm, None if name.endswith(LENGTHWISE) else self.every_mm)
        prediction, kept = self._judged(name, [headers[index] for index in picked])
        rest = sorted(set(range(len(headers))) - {int(index) for index in picked})
        if not rest:
            self.kept += kept
            return prediction
        if not kept:  # nothing to go by
            prediction, kept = self._judged(name, [headers[index] for index in rest])
            self.kept += kept
            return prediction
        seen = {id(header) for header in kept}
        mine = [index for index, header in enumerate(headers) if id(header) in seen or index in set(rest)]
        self.kept += [headers[index] for index in mine]
        looked_at = [place for place, index in enumerate(mine) if id(headers[index]) in seen]
        return _spread(prediction, np.array(looked_at, np.intp), positions_mm[mine])

    def _judged(self, name: str, headers: Sequence[ImageHeader]) -> tuple[Prediction, list[ImageHeader]]:
        """Return what a network says of images, and those that could be decoded."""
        kept: list[ImageHeader] = []
        if self.decoders is not None and self.decoders.worthwhile(len(headers)):
            return self.classifier.judge(name, self._ahead(self.decoders, name, headers, kept)), kept
        return self.classifier.predict(name, self._here(headers, kept)), kept

    def _here(self, headers: Sequence[ImageHeader], kept: list[ImageHeader]) -> Iterator[Image]:
        """Decode one image after the other."""
        for header in headers:
            self.alive()
            try:
                image = read_pixels(header)
            except UndecodableError as error:
                self.undecodable.append((header, str(error)))
                continue
            kept.append(header)
            self.look(header, image)
            yield stood(image, header)

    def _ahead(
        self, decoders: Decoders, name: str, headers: Sequence[ImageHeader], kept: list[ImageHeader]
    ) -> Iterator[NDArray[np.float32]]:
        """Have the images decoded and prepared by other processes, while the network is at work."""
        definition = self.classifier.definition(name)
        for made in decoders.images(headers, definition, self.look is not ignore):
            self.alive()
            if made.given is None:
                self.undecodable.append((made.header, made.reason or ""))
                continue
            kept.append(made.header)
            if made.image is not None:
                self.look(made.header, made.image)
            yield made.given


def _spread(
    prediction: Prediction, picked: NDArray[np.intp], positions_mm: NDArray[np.float64]
) -> Prediction:
    """Return a prediction for all positions (n,) of one for those of some indices (m,)."""
    probabilities, energies = prediction.probabilities, prediction.energy
    if energies is not None:
        energies = spread(picked, energies[:, np.newaxis], positions_mm)[:, 0]
    return replace(prediction, probabilities=spread(picked, probabilities, positions_mm), energy=energies)
