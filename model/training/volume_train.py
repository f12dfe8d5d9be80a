"""Trains a network for whole CT series as one configuration file says: `bodytag train --config RUN.yaml`.

A second process draws series while the first learns from those that are there. In the run's folder: the
drawn series, a checkpoint while it lasts, and in the end the weights with their card and the record.
"""

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from model.series_networks import PAPER, SeriesDefinition, default
from model.series_weights import save
from model.training import checkpoint, split, volume_paper
from model.training.checkpoint import Checkpoint
from model.training.fit import State, Stopped
from model.training.train import CHECKPOINT_S, RECORD, Trained, _alone, _signals
from model.training.volume_bodies import load_figures
from model.training.volume_cache import KEYS, SHARD, Seen, Source, make, read
from model.training.volume_fit import SeriesNetwork, rate_at
from model.training.volume_real import load_scans
from model.training.volume_run import SeriesRun

SERIES: Final = "series"
WEIGHTS: Final = "ct_series.npz"
SHARDS_FIRST: Final = 4
"""Files of series that there must be before learning begins."""
AGAIN: Final = 60
"""Steps after which new files are looked for."""
TELL: Final = 20


def train(run: SeriesRun, fresh: bool = False) -> Trained:
    """Train, or go on where the run stopped unless `fresh`.

    Raises RunError or OSError with one sentence; Stopped on SIGTERM or Ctrl-C, with a checkpoint.
    """
    weights = run.out / WEIGHTS
    with _alone(run.out):
        if fresh:
            for name in (checkpoint.NAME, RECORD):
                (run.out / name).unlink(missing_ok=True)
        elif (run.out / RECORD).exists() and weights.exists():
            return Trained(weights, before=True)
        if run.network == PAPER:
            volume_paper.train(run, weights)
        else:
            _train(run, weights)
    return Trained(weights, before=False)


def source_of(run: SeriesRun) -> Source:
    """Return what a run draws from: the training subjects of the kept split, and its anatomies."""
    scans = load_scans(run.data, split.read().train)
    return Source(scans, load_figures(run.data, run.bodies), run.limbs)


def _train(run: SeriesRun, weights: Path) -> None:
    definition = default(run.network)
    state = State()
    network = SeriesNetwork(definition, run.seed, run.rate, run.decay, run.ema, run.initial, run.only)
    kept = checkpoint.read(run.out)
    if kept is not None:
        network.put_back(kept.arrays)
        state = kept.state
        print(f"goes on from step {state.step}", flush=True)

    def keep(state: State) -> None:
        checkpoint.write(run.out, Checkpoint(state, tuple(network.arrays()), {"config": run.plain()}))

    with _signals() as stopped, _drawing(run):
        try:
            state = _loop(run, network, state, keep, stopped)
        except Stopped as early:
            keep(early.state)
            raise
    finish(run, definition, network.finish(), state, weights)


def finish(run: SeriesRun, definition: SeriesDefinition, model: Any, state: State, weights: Path) -> None:
    """Write the weights with their card, and the run's record."""
    record = {
        "config": run.plain(), "steps": state.step, "seconds": round(state.seconds),
        "drawn": len(list((run.out / SERIES).glob("*.npz"))),
    }  # fmt: skip
    card = {"modality": "CT", "temperatures": {"part": 1.0, "contrast": 1.0, "axis": 1.0, "rows": 1.0}}
    save(weights, model, definition, {**card, "training": record})
    (run.out / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (run.out / checkpoint.NAME).unlink(missing_ok=True)


@contextmanager
def _drawing(run: SeriesRun) -> Iterator[None]:
    """Draw series into the run's folder in a process of its own as long as the block lasts."""
    process = multiprocessing.get_context("spawn").Process(target=draw_all, args=(run,), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def draw_all(run: SeriesRun) -> None:
    """Draw all series of a run that are not there yet."""
    make(run.out / SERIES, source_of(run), run.seed, run.series)


def _loop(
    run: SeriesRun, network: SeriesNetwork, state: State, keep: Callable[[State], None],
    stopped: Callable[[], bool],
) -> State:  # fmt: skip
    folder, pool = run.out / SERIES, Pool()
    needed = 1 if run.drawn else min(SHARDS_FIRST, -(-run.series // SHARD))
    while len(list(folder.glob("*.npz"))) < needed:
        if stopped():
            raise Stopped(state)
        time.sleep(0.5)
    kept_s, begun = time.monotonic(), time.monotonic() - state.seconds
    losses: list[float] = []
    while state.seconds < 60.0 * run.minutes and (run.steps is None or state.step < run.steps):
        if stopped():
            raise Stopped(state)
        if state.step % AGAIN == 0 or not pool.count:
            for each in (folder, *run.drawn):
                pool.look(each)
        rng = np.random.default_rng([run.seed, 7, state.step])
        done = max(state.seconds / (60.0 * run.minutes), state.step / run.steps if run.steps else 0.0)
        losses.append(network.learn(pool.batch(run.batch, rng), rate_at(run.rate, done), rng))
        state = State(state.step + 1, time.monotonic() - begun)
        if state.step % TELL == 0:
            mean = float(np.mean(losses))
            print(f"step {state.step}: loss {mean:.3f}, {pool.count} series", flush=True)
            losses.clear()
        if time.monotonic() - kept_s > CHECKPOINT_S:
            keep(state)
            kept_s = time.monotonic()
    return state


class Pool:
    """All drawn series so far, in memory, by the folder that they lie in."""

    def __init__(self) -> None:
        self._parts: dict[Path, dict[str, Seen]] = {}

    @property
    def count(self) -> int:
        """Series in memory."""
        return sum(part.count for each in self._parts.values() for part in each.values())

    def look(self, folder: Path) -> None:
        """Read files that are new."""
        known = self._parts.setdefault(folder, {})
        for path in sorted(folder.glob("*.npz")):
            if path.name not in known:
                known[path.name] = read(path)

    def batch(self, size: int, rng: np.random.Generator) -> Seen:
        """Return `size` series, each any one of any folder."""
        folders = [list(each.values()) for each in self._parts.values() if each]
        found = []
        for _ in range(size):
            parts = folders[int(rng.integers(len(folders)))]
            part = parts[int(rng.integers(len(parts)))]
            found.append((part, int(rng.integers(part.count))))
        return Seen(*(np.stack([getattr(part, key)[place] for part, place in found]) for key in KEYS))
