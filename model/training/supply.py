"""Batches for training, made in processes of their own, so that making and learning both keep cores busy.

What a batch holds depends on the run's seed and the step's number alone: a run that is stopped and
goes on sees the batches that it would have seen.
"""

import multiprocessing
import queue as queues
import signal
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from types import TracebackType
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from model.networks import Definition
from model.training import folder, radiographs, split
from model.training import radiograph_sampler as films
from model.training.data import samples
from model.training.position import Pairs, pairs_in
from model.training.projections import samples as projections
from model.training.run import Run, RunError
from model.training.sampler import REAL, SYNTHETIC, Pool, Sampler, grouped, make_pool

AHEAD: Final = 6
"""Batches that each process makes in advance."""
_PATIENCE_S: Final = 0.5


@dataclass(frozen=True)
class Batch:
    """What is learnt from in one step: n images, of which the first `paired` are slices of pairs, by twos.

    `images` is float32 (n, size, size, channels), `targets` (n, classes) with zeros for the pairs,
    `heights` (n, 2) as position.Pair.targets has them, with zeros for all but the pairs.
    """

    images: NDArray[np.float32]
    targets: NDArray[np.float32]
    heights: NDArray[np.float32]
    paired: int


@dataclass(frozen=True)
class Order:
    """What batches are to be made of: the run, its network, and the series of the user's own folders."""

    run: Run
    definition: Definition
    series: tuple[folder.Series, ...] = ()


@dataclass(frozen=True)
class Material:
    """Everything that batches are made of, in memory; `pairs` where the position is trained."""

    pool: Pool
    pairs: Pairs | None


def gather(order: Order) -> Material | films.Pool:
    """Load the data of an order. Raises RunError where nothing is left of it."""
    if order.run.modality == radiographs.MODALITY:
        return _films(order.run)
    run, classes = order.run, order.definition.classes
    stacks = [folder.load(series) for series in order.series if series.labelled or run.position]
    extra = samples(stacks, classes)
    if run.data is None:
        pool = Pool(classes, run.modality, grouped(extra), {}, {})
    else:
        pool = make_pool(run.data, run.modality, classes, split.read(), run.choice, extra)
    if not (pool.real or pool.borrowed or pool.sites):
        raise RunError("there is no labelled image of a training subject, so nothing to train on")
    pairs = Pairs.of(pool, stacks) if run.position else None
    if pairs is not None and not pairs:
        raise RunError("position: there is no volume of two slices whose positions are known")
    return Material(pool, pairs)


def _films(run: Run) -> films.Pool:
    """Load the radiographs of a run, and the projections of the anatomies that train with them."""
    if run.data is None:
        raise RunError("data: there are no radiographs without it")
    rows = radiographs.training(radiographs.read(run.data), run.without) if run.images != SYNTHETIC else ()
    drawn = projections(run.data, run.bodies) if run.images != REAL else ()
    pool = films.make_pool(run.data, rows, drawn)
    if not pool.samples:
        raise RunError("there is no radiograph to train on")
    return pool


def batch_at(material: Material | films.Pool, order: Order, step: int) -> Batch:
    """Make the batch of one step."""
    run, definition = order.run, order.definition
    if isinstance(material, films.Pool):
        made = films.Sampler(material, definition.size, (run.seed, step), definition.preprocessing)
        images, targets = made.batch(run.batch)
        if definition.channels == 3:
            images = np.repeat(images, 3, axis=3)
        return Batch(images, targets, np.zeros((run.batch, 2), np.float32), 0)
    sampler = Sampler(material.pool, definition.size, (run.seed, step), definition.preprocessing)
    images, targets = sampler.batch(run.batch)
    heights = np.zeros((run.batch, 2), np.float32)
    paired = 0
    if material.pairs is not None:
        rng = np.random.default_rng((run.seed, step, 1))
        drawn = [material.pairs.draw(sampler, rng) for _ in range(pairs_in(run.batch))]
        paired = 2 * len(drawn)
        images = np.concatenate([*(pair.images for pair in drawn), images])
        heights = np.concatenate([*(pair.targets for pair in drawn), heights])
        targets = np.concatenate([np.zeros((paired, targets.shape[1]), np.float32), targets])
    if definition.channels == 3:
        images = np.repeat(images, 3, axis=3)
    return Batch(images, targets, heights, paired)


class Supply:
    """The batches of a run from step `first` on, made ahead by `run.suppliers` processes."""

    def __init__(self, order: Order, first: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._queues: list[Queue[Batch | str]] = []
        self._processes: list[SpawnProcess] = []
        for number in range(order.run.suppliers):
            queue: Queue[Batch | str] = context.Queue(AHEAD)
            arguments = (order, first + number, queue)
            self._queues.append(queue)
            self._processes.append(context.Process(target=_make, args=arguments, daemon=True))
        self._first = first

    def __enter__(self) -> "Supply":
        for process in self._processes:
            process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, queue in zip(self._processes, self._queues, strict=True):
            process.terminate()
            process.join()
            queue.close()

    def get(self, step: int, stopped: Callable[[], bool]) -> Batch | None:
        """Return the batch of a step, or None once `stopped`; steps must be asked for one after the other.

        Raises RunError with the sentence of what went wrong where no batch will come.
        """
        place = (step - self._first) % len(self._queues)
        while not stopped():
            alive = self._processes[place].is_alive()
            try:
                found = self._queues[place].get(timeout=_PATIENCE_S)
            except queues.Empty:
                if not alive:
                    code = self._processes[place].exitcode
                    raise RunError(f"the process that makes the batches ended with status {code}") from None
                continue
            if isinstance(found, str):
                raise RunError(found)
            return found
        return None


def _make(order: Order, first: int, queue: "Queue[Batch | str]") -> None:
    """Fill the queue with every `suppliers`-th batch for ever, or with one sentence of what is wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the run decides
    cv2.setNumThreads(1)
    try:
        material = gather(order)
    except (OSError, ValueError) as error:
        queue.put(str(error))
        return
    for step in count(first, order.run.suppliers):
        if not _put(queue, batch_at(material, order, step)):
            return


def _put(queue: "Queue[Batch | str]", batch: Batch) -> bool:
    """Wait for room; False when the run is gone, which may have been killed."""
    parent = multiprocessing.parent_process()
    while True:
        try:
            queue.put(batch, timeout=10 * _PATIENCE_S)
        except queues.Full:
            if parent is not None and not parent.is_alive():
                queue.cancel_join_thread()
                return False
        else:
            return True
