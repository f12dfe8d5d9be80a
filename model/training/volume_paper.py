"""The training of the paper's 3D network (Li et al. 2024): SGD at 0.001, a tenth of it every 7 epochs.

Volumes are drawn as for the light network and given to it in the stack's own axes. A step at full size needs
about 30 GB of memory for two series; on a processor it takes minutes, so `shape` may be smaller.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.series_labels import AXES, PAPER_PARTS, PARTS
from model.series_networks import PAPER, SeriesDefinition
from model.series_volumes import paper_input
from model.training.volume_cache import Source, turned
from model.training.volume_run import SeriesRun
from model.volumes import laid

EPOCH: Final = 100
"""Steps after which an epoch is counted: series are drawn without end."""
EPOCHS_A_STAGE: Final = 7


def batch(
    source: Source, definition: SeriesDefinition, size: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], list[NDArray[np.int32]]]:
    """Return float32 (size, slices, rows, columns, 1) and the targets of each head, -1 where not known."""
    volumes, targets = [], []
    for _ in range(size):
        each = source.draw(rng)
        volumes.append(paper_input(turned(laid(each.volume, AXES[each.axis]), rng), definition))
        known = each.part >= 0 and PARTS[each.part] in PAPER_PARTS
        targets.append((PAPER_PARTS.index(PARTS[each.part]) if known else -1, each.contrast, each.axis))
    return np.stack(volumes), [np.array(column, np.int32) for column in zip(*targets, strict=True)]


def definition_of(run: SeriesRun) -> SeriesDefinition:
    """Return the paper's network at the size that the run gives."""
    from dataclasses import replace

    from model.series_networks import default

    return replace(default(PAPER), shape=run.shape)


def train(run: SeriesRun, weights: Path) -> None:
    """Train for so many steps and write the weights; an interrupted run begins anew."""
    import keras

    from model.series_networks import build
    from model.training.fit import State
    from model.training.volume_fit import known_loss
    from model.training.volume_train import finish, source_of

    definition = definition_of(run)
    keras.utils.set_random_seed(run.seed)
    model, source = build(definition), source_of(run)
    model.compile(keras.optimizers.SGD(0.001, momentum=0.9), loss=[known_loss] * 3)
    steps = run.steps or EPOCH
    for step in range(steps):
        model.optimizer.learning_rate = 0.001 * 0.1 ** (step // (EPOCH * EPOCHS_A_STAGE))
        rng = np.random.default_rng([run.seed, 11, step])
        images, targets = batch(source, definition, run.batch, rng)
        said = model.train_on_batch(images, targets, return_dict=True)
        print(f"step {step + 1}: loss {float(said['loss']):.3f}", flush=True)
    finish(run, definition, model, State(steps, 0.0), weights)
