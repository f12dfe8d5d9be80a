"""Trains the CT or the MR model and writes its weights and card.

    python -m model.training.train --modality CT

Batches are made in their own process, so that both keep the cores busy. The last weights count: no
checkpoint is chosen by its score, so validation stays unseen but for the temperature.
"""

import argparse
import logging
import multiprocessing
import time
from dataclasses import dataclass, replace
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.networks import NETWORKS, SMALL, Definition, build, default
from model.preprocess import BODY, PREPROCESSINGS
from model.regions import CLASSES
from model.training import split
from model.training.data import DATA
from model.training.sampler import Sampler, make_pool
from model.weights_file import load, restore, save

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]
WEIGHTS = Path(__file__).parents[1] / "weights"
log = logging.getLogger("train")


@dataclass(frozen=True)
class Plan:
    """One training run. `minutes` ends it early, with the learning rate brought to its end in time."""

    modality: str
    network: str = SMALL
    steps: int = 2400
    batch: int = 64
    rate: float = 2e-3
    decay: float = 5e-2
    smoothing: float = 0.05
    minutes: float = 0.0
    seed: int = 1
    data: Path = DATA
    out: Path = WEIGHTS
    start: Path | None = None
    preprocessing: str = BODY

    @property
    def definition(self) -> Definition:
        """What is trained: the network that training starts from, or the named one from scratch."""
        if self.start is not None:
            return replace(load(self.start).definition, preprocessing=self.preprocessing)
        return replace(default(self.network, CLASSES[self.modality]), preprocessing=self.preprocessing)


def progress(plan: Plan, step: int, seconds: float) -> float:
    """Return how much of the plan is done, 0..1, by steps or by time, whichever is further."""
    by_time = seconds / (60.0 * plan.minutes) if plan.minutes else 0.0
    return min(1.0, max(step / plan.steps, by_time))


def rate_at(plan: Plan, done: float) -> float:
    """Return the learning rate: a short linear rise, then half a cosine down to a hundredth."""
    if done < 0.03:
        return plan.rate * (0.1 + 0.9 * done / 0.03)
    return plan.rate * (0.01 + 0.99 * 0.5 * (1.0 + float(np.cos(np.pi * (done - 0.03) / 0.97))))


def supply(plan: Plan, queue: "Queue[Batch]") -> None:
    """Fill the queue with batches for ever; runs in its own process, without TensorFlow."""
    import cv2

    cv2.setNumThreads(1)
    definition = plan.definition
    pool = make_pool(plan.data, plan.modality, definition.classes, split.read())
    sampler = Sampler(pool, definition.size, plan.seed, definition.preprocessing)
    while True:
        images, targets = sampler.batch(plan.batch)
        queue.put((np.repeat(images, definition.channels, axis=3), targets))


def fit(plan: Plan, queue: "Queue[Batch]") -> Any:
    """Train the plan's network on the batches of `queue` and return it."""
    import keras

    keras.utils.set_random_seed(plan.seed)
    model = build(plan.definition) if plan.start is None else restore(plan.start, load(plan.start))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=plan.smoothing)
    model.compile(
        keras.optimizers.AdamW(plan.rate, weight_decay=plan.decay, clipnorm=1.0), loss, metrics=["accuracy"]
    )
    start, done = time.monotonic(), 0.0
    history: list[tuple[float, float]] = []
    while done < 1.0:
        images, targets = queue.get(timeout=300)
        model.optimizer.learning_rate = rate_at(plan, done)
        loss_here, right = model.train_on_batch(images, targets)
        history.append((float(loss_here), float(right)))
        seconds = time.monotonic() - start
        done = progress(plan, len(history), seconds)
        if len(history) % 50 == 0 or done >= 1.0:
            mean = np.mean(history[-50:], axis=0)
            log.info("step %d loss %.3f accuracy %.3f, %.0f s", len(history), mean[0], mean[1], seconds)
    return model


def train(plan: Plan) -> Path:
    """Run a plan and return the path of the weights it wrote."""
    context = multiprocessing.get_context("spawn")
    queue: Queue[Batch] = context.Queue(maxsize=6)
    supplier = context.Process(target=supply, args=(plan, queue), daemon=True)
    supplier.start()
    try:
        model = fit(plan, queue)
    finally:
        supplier.terminate()
        supplier.join()
    training = {"network": plan.network, "steps": int(model.optimizer.iterations), "batch": plan.batch,
                "rate": plan.rate, "preprocessing": plan.preprocessing, "seed": plan.seed,
                "before": before(plan.start)}  # fmt: skip
    path = plan.out / f"{plan.modality.lower()}.npz"
    save(path, model, plan.definition, {"modality": plan.modality, "temperature": 1.0, "training": training})
    return path


def before(start: Path | None) -> object:
    """Return how the weights that training starts from were trained themselves, None from scratch."""
    return None if start is None else load(start).card.get("training")


def arguments() -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="train the CT or the MR model")
    parser.add_argument("--modality", choices=sorted(CLASSES), required=True)
    parser.add_argument("--network", choices=sorted(NETWORKS), default=SMALL)
    parser.add_argument("--steps", type=int, default=Plan.steps)
    parser.add_argument("--batch", type=int, default=Plan.batch)
    parser.add_argument("--minutes", type=float, default=Plan.minutes, help="stop by then; 0 means by steps")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="highest learning rate")
    parser.add_argument("--start", type=Path, help="go on from these weights instead of from scratch")
    parser.add_argument("--preprocessing", choices=PREPROCESSINGS, default=Plan.preprocessing)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    return Plan(**vars(parser.parse_args()))


def main() -> None:
    """Train as the command line says."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    plan = arguments()
    log.info("wrote %s; now: python -m model.training.evaluate --modality %s", train(plan), plan.modality)


if __name__ == "__main__":
    main()
