"""SeriesReader: what a whole CT series is, by one look at its volume. What runs it is imported when needed.

Geometry first: where Image Orientation and Position can be trusted they give the axis, and the network
confirms or contradicts it. Where they cannot, the network's axis says how the stack stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.classify import softmax
from model.enhancement import TRUNK, bright_share
from model.graphs import Network
from model.projections import row_places, views
from model.runtimes import AUTO, Engine, InferAll, Table, compiled_whole
from model.series_labels import WITH, WITHOUT
from model.series_networks import HEADS, PAPER
from model.series_stack import Plan
from model.series_volumes import light_input, paper_input, stack_views
from model.series_weights import SeriesWeights, load, restore
from model.volumes import STORED, Turn, Volume, axis_name, laid, upright

DEFAULT: Final = Engine(AUTO)
GEOMETRY: Final = "geometry"
NETWORK: Final = "network"
MEASURE: Final = "measure"
CONTRADICTS: Final = 0.9
"""How sure the network must be of another axis for that to be told."""


@dataclass(frozen=True, eq=False)
class Stretches:
    """The regions along the height: `probabilities` float32 (m, k) in the order of `classes`, feet first.

    `heights_mm` (m,) are those of their middles in the patient.
    """

    classes: tuple[str, ...]
    probabilities: Table
    heights_mm: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SeriesPrediction:
    """What a whole series is: probabilities by label for part, contrast and axis, and the regions on the way.

    `axis` is that of the geometry, or the likeliest where `axis_from` is the network; `contrasts` are
    measured where `contrast_from` is the measure. `contradicts`: the network is sure of another axis.
    `stretches` is None without trusted geometry or rows.
    """

    parts: Mapping[str, float]
    contrasts: Mapping[str, float]
    axes: Mapping[str, float]
    axis: str
    axis_from: str
    contradicts: bool
    doubt: str
    stretches: Stretches | None
    weights_digest: str
    contrast_from: str = NETWORK


class SeriesReader:
    """A network for whole series, ready to look. One thread at a time."""

    def __init__(self, path: Path, weights: SeriesWeights, engine: Engine = DEFAULT) -> None:
        self._path, self._weights, self._engine = path, weights, engine

    @classmethod
    def load(cls, path: Path, engine: Engine = DEFAULT) -> "SeriesReader":
        """Verify the weights; they are compiled when first needed. Raises WeightsError with one sentence."""
        return cls(path, load(path), engine)

    @property
    def digest(self) -> str:
        """The SHA-256 of the weights."""
        return self._weights.digest

    def predict(self, stack: Volume, planned: Plan) -> SeriesPrediction:
        """Say what a gathered stack is."""
        if self._weights.definition.network == PAPER:
            return self._whole(stack, planned)
        return self._light(stack, planned)

    def _light(self, stack: Volume, planned: Plan) -> SeriesPrediction:
        shown = stack_views(_levelled(stack, planned.turn))
        turn = planned.turn
        if turn is None:
            axes = self._logits(light_input(views(upright(stack, STORED["axial"])), shown))["axis"]
            turn = STORED[self._weights.definition.axes[int(axes.argmax())]]
        standing = upright(stack, turn)
        seen = views(standing)
        said = self._logits(light_input(seen, shown))
        if planned.turn is None:  # which end is the head is not known either: the surer look counts
            low, high, other = turn.flips
            flipped = Turn(turn.order, (not low, high, other))
            again = self._logits(light_input(views(upright(stack, flipped)), shown))
            best = max((said, again), key=lambda each: float(self._soft("part", each).max()))
            said = best
        rows = None
        if planned.reach_mm is not None:
            rows = self._stretches(said["rows"][0], row_places(seen), planned.reach_mm)
        word = softmax(said["contrast"], 1.0)[0][self._weights.definition.contrasts.index(WITH)]
        return self._measured(self._told(said, planned, rows), standing, float(word))

    def _measured(self, said: SeriesPrediction, volume: Volume, word: float) -> SeriesPrediction:
        """Replace the network's word on contrast, in the trunk, by a measure beside which it counts less.

        `word` is the network's probability before its temperature.
        """
        curve = self._weights.enhancement
        if curve is None or max(said.parts, key=lambda each: said.parts[each]) not in TRUNK:
            return said
        share = bright_share(volume)
        if share is None:
            return said
        given = curve.beside(share, word)
        return replace(said, contrasts={WITHOUT: 1.0 - given, WITH: given}, contrast_from=MEASURE)

    def _whole(self, stack: Volume, planned: Plan) -> SeriesPrediction:
        image = paper_input(_levelled(stack, planned.turn), self._weights.definition)
        return self._told(self._logits({"stack": image[np.newaxis]}), planned, None)

    def _told(self, said: Mapping[str, Table], planned: Plan, rows: Stretches | None) -> SeriesPrediction:
        definition = self._weights.definition
        parts, contrasts, axes = (self._soft(head, said)[0] for head in HEADS[:3])
        seen = definition.axes[int(axes.argmax())]
        axis = seen if planned.turn is None else axis_name(planned.turn)
        return SeriesPrediction(
            parts=_named(definition.parts, parts),
            contrasts=_named(definition.contrasts, contrasts),
            axes=_named(definition.axes, axes),
            axis=axis,
            axis_from=NETWORK if planned.turn is None else GEOMETRY,
            contradicts=axis != seen and float(axes.max()) >= CONTRADICTS,
            doubt=planned.doubt,
            stretches=rows,
            weights_digest=self.digest,
        )

    def _stretches(self, logits: Table, places: NDArray[np.float64], reach: tuple[float, float]) -> Stretches:
        known = np.flatnonzero(np.isfinite(places))[::-1]
        low, high = reach
        probabilities = softmax(logits[known], self._weights.temperatures["rows"])
        heights = high - places[known] * (high - low)
        return Stretches(self._weights.definition.regions, probabilities, np.asarray(heights, np.float64))

    def _soft(self, head: str, said: Mapping[str, Table]) -> Table:
        return softmax(said[head], self._weights.temperatures[head])

    def _logits(self, inputs: Mapping[str, Table]) -> dict[str, Table]:
        return dict(zip(HEADS, self._infer(inputs), strict=False))

    @cached_property
    def _infer(self) -> InferAll:
        path, weights = self._path, self._weights
        network = Network(
            weights.digest, weights.definition.as_json(), lambda: restore(path, weights), self._engine.shelf
        )
        return compiled_whole(path, network, self._engine)


def _levelled(stack: Volume, turn: Turn | None) -> Volume:
    """Return the stack as workstations store it, where the geometry says how it lies."""
    return stack if turn is None else laid(upright(stack, turn), axis_name(turn))


def _named(names: tuple[str, ...], values: Table) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}
