"""Trains a network as one configuration file says: `bodytag train --config RUN.yaml`.

In the run's folder: a checkpoint while it lasts, event files for TensorBoard, the split of the user's
own subjects, and in the end the weights with their card and the run's record. A run that was stopped,
or killed, goes on from its checkpoint.
"""

import fcntl
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from rich.console import Console

from model.training import checkpoint, folder, radiographs, split, watch
from model.training.checkpoint import Checkpoint
from model.training.data import read_manifest
from model.training.fit import Network, State, Stopped, fit, progress
from model.training.folder import Series
from model.training.record import leg, made_of, record
from model.training.run import XR, Run, RunError
from model.training.split import Split
from model.training.supply import Order, Supply
from model.weights_file import save

RECORD: Final = "run.json"
SPLIT: Final = "split.json"
LOCK: Final = "lock"
CHECKPOINT_S: Final = 180.0
"""A kill costs no more than so much of a run."""


@dataclass(frozen=True)
class Trained:
    """Where the weights of a finished run lie, and whether it was finished before."""

    weights: Path
    before: bool


def train(run: Run, console: Console, fresh: bool = False) -> Trained:
    """Train, or go on where the run stopped unless `fresh`.

    Raises RunError, FolderError, WeightsError or OSError with one sentence, and Stopped on SIGTERM or
    Ctrl-C once a checkpoint is written.
    """
    definition = run.definition()
    _check_sources(run)
    found = [folder.scan(each.folder, each.table, run.modality) for each in run.folders]
    scanned = [series for each in found for series in each]
    divided = folder.divide(scanned)
    order = Order(run, definition, folder.training(scanned, divided))
    of = json.loads(json.dumps(made_of(run, definition, scanned)))
    weights = run.out / f"{run.modality.lower()}.npz"
    with _alone(run.out):
        if fresh:
            _forget(run.out)
        elif (run.out / RECORD).exists() and weights.exists():
            _same(json.loads((run.out / RECORD).read_text(encoding="utf-8")), of, run.out)
            return Trained(weights, before=True)
        kept = checkpoint.read(run.out)
        if kept is not None:
            _same(kept.of["run"], of, run.out)
        if run.folders:
            split.write(divided, run.out / SPLIT)
            _tell(scanned, divided)
        _train(order, of, kept, weights, console)
    return Trained(weights, before=False)


def _train(
    order: Order, of: dict[str, Any], kept: Checkpoint | None, weights: Path, console: Console
) -> None:
    run = order.run
    network, state, legs = Network(run, order.definition), State(), []
    if kept is not None:
        network.put_back(kept.arrays)
        state, legs = kept.state, list(kept.of["legs"])
        print(f"goes on from step {state.step}", flush=True)
    legs.append(leg(state.step))

    def keep(state: State) -> None:
        checkpoint.write(run.out, Checkpoint(state, tuple(network.arrays()), {"run": of, "legs": legs}))

    try:
        state = _loop(order, network, state, keep, console)
    except Stopped as stopped:
        if stopped.state.step:
            keep(stopped.state)
        raise
    model = network.finish()
    written = record(run, of, state, legs)
    card = {"modality": run.modality, "temperature": 1.0, "training": written}
    save(weights, model, order.definition, card)
    (run.out / RECORD).write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    (run.out / checkpoint.NAME).unlink(missing_ok=True)


def _loop(
    order: Order, network: Network, state: State, keep: Callable[[State], None], console: Console
) -> State:
    """Train to the end with everything round it: supply, signals, watchers, a checkpoint now and then."""
    run, kept_s = order.run, time.monotonic()
    with (
        _signals() as stopped,
        Supply(order, state.step) as supply,
        watch.watching(run, state, console) as show,
    ):

        def after(state: State, rate: float) -> None:
            nonlocal kept_s
            show(state, rate, progress(run, state.step, state.seconds))
            if time.monotonic() - kept_s > CHECKPOINT_S:
                keep(state)
                kept_s = time.monotonic()

        return fit(run, network, state, lambda step: supply.get(step, stopped), after)


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Note SIGTERM and Ctrl-C; give the question whether one came. A second one ends at once."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, note)
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Make the run's folder, and hold it: two runs in one would destroy each other's checkpoint."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"another run is going on in {out}") from error
        yield


def _forget(out: Path) -> None:
    """Remove what an earlier run left; its weights stay until there are new ones."""
    for name in (checkpoint.NAME, RECORD):
        (out / name).unlink(missing_ok=True)
    watch.forget(out)


def _same(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    """Raise RunError where what lies in the folder is of another configuration, data or network."""
    changed = [key for key in now["config"] if now["config"][key] != before["config"].get(key)]
    changed += [key for key in now if key != "config" and now[key] != before.get(key)]
    if changed:
        raise RunError(
            f"{out} holds a run that differs in {', '.join(changed)}: --fresh starts anew, --out takes "
            "another folder"
        )


def _tell(scanned: Sequence[Series], divided: Split) -> None:
    """Say what was found in the user's own folders, and who of it is trained on."""
    for name in dict.fromkeys(series.source for series in scanned):
        mine = [series for series in scanned if series.source == name]
        images = sum(series.labelled for series in mine)
        people = {series.subject for series in mine if series.labelled}
        print(
            f"{name}: {len(mine)} series, {images} labelled images of {len(people)} subjects, "
            f"{len(people & divided.validation)} of them kept for validation",
            flush=True,
        )


def _check_sources(run: Run) -> None:
    """Raise RunError where a source is left out that there is not."""
    if run.data is None or not run.without:
        return
    if run.modality == XR:
        known = {row.source for row in radiographs.read(run.data)}
    else:
        modalities = ("CT", "MR") if run.modality == "MR" else ("CT",)
        known = {row.source for modality in modalities for row in read_manifest(run.data, modality)}
    for name in run.without:
        if name not in known:
            raise RunError(f"without: there is no source '{name}'; there are {', '.join(sorted(known))}")
