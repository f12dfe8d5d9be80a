"""The training of the light network for whole series: losses, one step, and what a checkpoint holds."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.classify import without_chatter
from model.series_networks import SeriesDefinition, build
from model.series_weights import load
from model.training.run import RunError
from model.training.volume_cache import Seen

WEIGHTS: Final = (0.8, 1.2, 1.0, 0.5)
"""What the loss of each head counts: label, contrast, axis, rows."""
NAMES: Final = ("part", "contrast", "axis", "rows")
RISE: Final = 0.04
"""Share of a run in which the rate rises."""


def rate_at(rate: float, done: float) -> float:
    """Return the learning rate: a short linear rise, then half a cosine down to a hundredth."""
    done = min(done, 1.0 - 1e-9)
    if done < RISE:
        return rate * (0.1 + 0.9 * done / RISE)
    return rate * (0.01 + 0.99 * 0.5 * (1.0 + float(np.cos(np.pi * (done - RISE) / (1.0 - RISE)))))


class SeriesNetwork:
    """The light network in training, with its optimizer."""

    def __init__(
        self,
        definition: SeriesDefinition,
        seed: int,
        rate: float,
        decay: float,
        ema: float,
        initial: Path | None = None,
        only: Sequence[str] = (),
    ) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with without_chatter():
            import keras

            keras.utils.set_random_seed(seed)
            self.model = build(definition)
        if initial is not None:
            begin_with(self.model, initial)
        if only:
            freeze(self.model, only)
        weights = [
            weight if not only or name in only else 0.0 for name, weight in zip(NAMES, WEIGHTS, strict=True)
        ]
        optimizer = keras.optimizers.AdamW(
            rate, weight_decay=decay, clipnorm=1.0, use_ema=ema > 0, ema_momentum=ema or 0.99
        )
        self.model.compile(optimizer, loss=[known_loss] * 4, loss_weights=weights)
        optimizer.build(self.model.trainable_variables)

    def learn(self, batch: Seen, rate: float, rng: np.random.Generator) -> float:
        """Take one step and return the loss."""
        self.model.optimizer.learning_rate = rate
        inputs = varied(batch, rng)
        targets = [batch.part, batch.contrast, batch.axis, batch.rows]
        said = self.model.train_on_batch(
            inputs, [each.astype(np.int32) for each in targets], return_dict=True
        )
        return float(said["loss"])

    def arrays(self) -> list[NDArray[Any]]:
        """Return everything that the next step depends on."""
        return [np.array(variable.numpy()) for variable in self._variables()]

    def put_back(self, arrays: Iterable[NDArray[Any]]) -> None:
        """Take what `arrays` returned; raises ValueError where it is of another network."""
        for variable, array in zip(self._variables(), arrays, strict=True):
            variable.assign(array)

    def finish(self) -> Any:
        """Return the trained keras.Model, with the averaged weights where they were averaged."""
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        return self.model

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]


def varied(batch: Seen, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Return the inputs of a batch with gain, noise and mirroring that no cache holds, as float32."""
    upright = batch.upright.astype(np.float32) / np.float32(255.0)
    stack = batch.stack.astype(np.float32) / np.float32(255.0)
    mirrored = rng.random(batch.count) < 0.5
    for view in (0, 2):
        upright[mirrored, view] = upright[mirrored, view][:, :, ::-1]
    flipped(stack, rng)
    for images in (upright, stack):
        gain = rng.normal(1.0, 0.06, (batch.count, 1, 1, 1, images.shape[-1])).astype(np.float32)
        images *= gain
        images += rng.normal(0.0, rng.uniform(0.0, 0.03), images.shape).astype(np.float32)
    tones = batch.tones + rng.normal(0.0, 0.02, batch.tones.shape).astype(np.float32)
    scale = batch.scale + rng.normal(0.0, 0.03, batch.scale.shape).astype(np.float32)
    return {"upright": upright, "scale": scale, "tones": tones, "stack": stack}


def flipped(stack: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Turn the views (n, 3, size, size, 4) of stacks over along any of the stack's own axes, in place.

    Along the slices the rows of the first two views turn, and the order of the slabs of the third; along
    the rows the second's columns and the third's rows; along the columns the others' columns.
    """
    slices, rows, columns = rng.random((3, len(stack))) < 0.5
    for view in (0, 1):
        stack[slices, view] = stack[slices, view][:, ::-1]
    stack[slices, 2] = stack[slices, 2][..., ::-1]
    stack[rows, 1] = stack[rows, 1][:, :, ::-1]
    stack[rows, 2] = stack[rows, 2][:, ::-1]
    for view in (0, 2):
        stack[columns, view] = stack[columns, view][:, :, ::-1]


def freeze(model: Any, only: Sequence[str]) -> None:
    """Let only these heads learn: `axis` with its towers, `contrast` with the layer before it."""
    import keras

    learning = (
        {id(model.get_layer("contrast")), id(_before(model, "contrast"))} if "contrast" in only else set()
    )
    if "axis" in only:
        stack = next(each for each in model.inputs if each.name == "stack")
        own = keras.Model(stack, model.outputs[NAMES.index("axis")])
        learning |= {id(layer) for layer in own.layers}
    for layer in model.layers:
        layer.trainable = id(layer) in learning


def _before(model: Any, name: str) -> Any:
    """Return the layer whose output a named layer takes."""
    return model.get_layer(name).input._keras_history.operation


def begin_with(model: Any, path: Path) -> None:
    """Give a model the weights of another run; those whose shapes differ begin untaught."""
    fresh, known = model.get_weights(), load(path).arrays
    if len(known) != len(fresh):
        raise RunError(f"initial: {path} holds {len(known)} arrays, the network has {len(fresh)}")
    model.set_weights([b if b.shape == a.shape else a for a, b in zip(fresh, known, strict=True)])


def known_loss(targets: Any, logits: Any) -> Any:
    """Return the cross-entropy where the truth is known, with some smoothing; -1 teaches nothing."""
    import keras
    from keras import ops

    known = ops.cast(targets >= 0, "float32")
    classes = logits.shape[-1]
    wanted = ops.one_hot(ops.maximum(targets, 0), classes)
    found = keras.losses.categorical_crossentropy(wanted, logits, from_logits=True, label_smoothing=0.03)
    each = found * known
    return ops.sum(each) / (ops.sum(known) + 1e-6)
