"""The loop that trains: rate, steps, what is kept of them. Keras 3, whatever its backend.

The last weights count (or their moving average): no step is chosen by a score, so validation stays
unseen but for the temperature.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model import efficientnet
from model.classify import without_chatter
from model.networks import Definition, build
from model.training import imagenet, position
from model.training.run import IMAGENET, Run
from model.training.supply import Batch
from model.weights_file import load, restore

RISE: Final = 0.1
"""Share of the run in which the learning rate rises."""
ACCURACY: Final = "right"
EVERY: Final = 50
"""Steps that make one entry of the history."""


@dataclass(frozen=True)
class Learnt:
    """What one step gave: the whole loss, the share of labelled images right, the loss of the distances."""

    loss: float
    accuracy: float
    distance: float


@dataclass(frozen=True)
class Mean:
    """The means of the steps up to `step` since the mean before it; `seconds` since the run began."""

    step: int
    seconds: float
    loss: float
    accuracy: float
    distance: float


@dataclass(frozen=True)
class State:
    """How far a run is: steps and seconds done, a mean of every EVERY steps, and the steps since the last."""

    step: int = 0
    seconds: float = 0.0
    history: tuple[Mean, ...] = ()
    window: tuple[Learnt, ...] = ()

    def after(self, seconds: float, learnt: Learnt) -> "State":
        """Return the state one step later."""
        later = State(self.step + 1, seconds, self.history, (*self.window, learnt))
        if later.step % EVERY:
            return later
        return replace(later, history=(*self.history, later.mean), window=())

    @property
    def mean(self) -> Mean:
        """The mean of the steps since the last mean, or that one where there are none."""
        if not self.window:
            return self.history[-1]
        found = np.mean([(one.loss, one.accuracy, one.distance) for one in self.window], axis=0)
        return Mean(self.step, self.seconds, *(float(value) for value in found))


class Stopped(Exception):  # noqa: N818 - nothing is wrong: somebody wants the run to pause
    """The run was asked to stop; `state` is how far it came."""

    def __init__(self, state: State) -> None:
        super().__init__(f"stopped after step {state.step}")
        self.state = state


def progress(run: Run, step: int, seconds: float) -> float:
    """Return how much of the run is done, 0..1, by steps or by time, whichever is further."""
    by_steps = step / run.steps if run.steps else 0.0
    by_time = seconds / (60.0 * run.minutes) if run.minutes else 0.0
    return min(1.0, max(by_steps, by_time))


def rate_at(run: Run, done: float) -> float:
    """Return the learning rate: a short linear rise, then half a cosine down to a hundredth.

    With restarts so many equal pieces of the run have each the whole of it.
    """
    done = min(done, 1.0 - 1e-9) * (run.restarts + 1) % 1.0 if run.restarts else done
    if done < RISE:
        return run.rate * (0.1 + 0.9 * done / RISE)
    return run.rate * (0.01 + 0.99 * 0.5 * (1.0 + float(np.cos(np.pi * (done - RISE) / (1.0 - RISE)))))


class Network:
    """A network in training, with its optimizer."""

    def __init__(self, run: Run, definition: Definition) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with without_chatter():
            import keras

            keras.utils.set_random_seed(run.seed)
            self.model = first(run, definition)
        self._initial = self.model.get_weights() if run.initial_share else []
        self._initial_share = run.initial_share
        if run.frozen_normalisation:
            freeze_normalisation(self.model.layers)
        freeze_stages(self.model.layers, run.frozen_stages)
        self._paired = 2 * position.pairs_in(run.batch) if run.position else 0
        self._whole = position.attach(self.model) if run.position else self.model
        optimizer = keras.optimizers.AdamW(
            run.rate, weight_decay=run.decay, clipnorm=1.0, use_ema=run.ema > 0, ema_momentum=run.ema or 0.99
        )
        losses: Any = _labelled_loss(self._paired, run.smoothing, definition.heads)
        metrics: Any = [_labelled_share_right(self._paired, len(definition.classes))]
        weights = None
        if run.position:
            losses = {position.CLASS_OUTPUT: losses, position.OUTPUT: position.distance_loss(self._paired)}
            weights = {position.CLASS_OUTPUT: 1.0, position.OUTPUT: run.position}
            metrics = {position.CLASS_OUTPUT: metrics}
        self._whole.compile(optimizer, losses, loss_weights=weights, metrics=metrics)
        optimizer.build(self._whole.trainable_variables)

    def learn(self, batch: Batch, rate: float) -> Learnt:
        """Take one step."""
        if batch.paired != self._paired:
            raise ValueError(f"a batch with {batch.paired} paired slices where {self._paired} belong")
        self._whole.optimizer.learning_rate = rate
        targets: Any = batch.targets
        if self._paired:
            targets = {position.CLASS_OUTPUT: batch.targets, position.OUTPUT: batch.heights}
        said = self._whole.train_on_batch(batch.images, targets, return_dict=True)
        right = next(value for name, value in said.items() if name.endswith(ACCURACY))
        distance = float(said.get(f"{position.OUTPUT}_loss", 0.0))
        return Learnt(float(said["loss"]), float(right), distance)

    def arrays(self) -> list[NDArray[Any]]:
        """Return everything that the next step depends on: weights, random seeds, the optimizer's memory."""
        return [np.array(variable.numpy()) for variable in self._variables()]

    def put_back(self, arrays: Iterable[NDArray[Any]]) -> None:
        """Take what `arrays` returned; raises ValueError where it is of another network."""
        for variable, array in zip(self._variables(), arrays, strict=True):
            variable.assign(array)

    def finish(self) -> Any:
        """Return the trained keras.Model, with averaged weights where they are to be averaged."""
        self._whole.optimizer.finalize_variable_values(self._whole.trainable_variables)
        if self._initial:
            self.model.set_weights(between(self._initial, self.model.get_weights(), self._initial_share))
        return self.model

    def _variables(self) -> list[Any]:
        return [*self._whole.variables, *self._whole.optimizer.variables]


def between(
    before: Sequence[NDArray[Any]], after: Sequence[NDArray[Any]], share: float
) -> list[NDArray[Any]]:
    """Return weights that are `share` of those before and the rest of those after, array by array."""
    return [share * old + (1.0 - share) * new for old, new in zip(before, after, strict=True)]


def first(run: Run, definition: Definition) -> Any:
    """Return the keras.Model that training starts with."""
    if run.start is not None:
        return started(run.start, definition)
    model = build(definition)
    if run.initial == IMAGENET:
        imagenet.initialise(model, imagenet.read(imagenet.find()))
    return model


def started(path: Path, definition: Definition) -> Any:
    """Return the network of a definition with the weights at `path`, outputs matched by their region.

    Regions that the weights do not know, as those of the other modality may be, begin untaught.
    """
    weights = load(path)
    known, wanted = weights.definition.outputs, definition.outputs
    if known == wanted:
        return restore(path, replace(weights, definition=definition))
    model = build(definition)
    *body, kernel, bias = weights.arrays
    new_kernel, new_bias = (np.array(array) for array in model.get_weights()[-2:])
    for place, region in enumerate(wanted):
        if region in known:
            new_kernel[:, place] = kernel[:, known.index(region)]
            new_bias[place] = bias[known.index(region)]
    model.set_weights([*body, new_kernel, new_bias])
    return model


def freeze_normalisation(layers: Iterable[Any]) -> None:
    """Let the normalisation layers, those of nested models too, keep what they are."""
    import keras

    for layer in layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
        freeze_normalisation(getattr(layer, "layers", ()))


def freeze_stages(layers: Iterable[Any], stages: int) -> None:
    """Let the stem and the first `stages` stages of EfficientNet-Lite0 keep what they are; with 0 none."""
    for layer in layers:
        place = efficientnet.stage(layer.name)
        if stages and place is not None and place <= stages:
            layer.trainable = False


def _labelled_loss(
    paired: int, smoothing: float, heads: Sequence[tuple[int, int]]
) -> Callable[[Any, Any], Any]:
    """Return the categorical cross-entropy of all rows but the first `paired`, summed over the heads.

    A head whose targets of a row are all zero is not taught by that row.
    """
    import keras
    from keras import ops

    def head(targets: Any, logits: Any) -> Any:
        found = keras.losses.categorical_crossentropy(
            targets, logits, from_logits=True, label_smoothing=smoothing
        )
        return found if len(heads) == 1 else found * ops.sum(targets, axis=-1)

    def cross_entropy(targets: Any, logits: Any) -> Any:
        return sum(head(targets[paired:, a:b], logits[paired:, a:b]) for a, b in heads)

    return cross_entropy


def _labelled_share_right(paired: int, classes: int) -> Callable[[Any, Any], Any]:
    """Return the share of labelled rows whose first head is right."""
    from keras import ops

    def right(targets: Any, logits: Any) -> Any:
        said, true = logits[paired:, :classes], targets[paired:, :classes]
        return ops.cast(ops.argmax(true, axis=-1) == ops.argmax(said, axis=-1), "float32")

    right.__name__ = ACCURACY
    return right


def fit(
    run: Run,
    network: Network,
    state: State,
    get: Callable[[int], Batch | None],
    after: Callable[[State, float], None],
) -> State:
    """Train from `state` to the end of the run and return the last state.

    `get` gives the batch of a step, or None where the run is to stop; `after` is called after each
    step with the state and the rate. The clock starts with the first batch. Raises Stopped.
    """
    started: float | None = None
    while (done := progress(run, state.step, state.seconds)) < 1.0:
        batch = get(state.step)
        if batch is None:
            raise Stopped(state)
        if started is None:
            started = time.monotonic() - state.seconds
        rate = rate_at(run, done)
        learnt = network.learn(batch, rate)
        state = state.after(time.monotonic() - started, learnt)
        after(state, rate)
    return state
