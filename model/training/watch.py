"""What can be seen of a run: a bar in a terminal, plain lines elsewhere, and TensorBoard's event files."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from model.training.fit import EVERY, State, progress
from model.training.run import Run

LOGS: Final = "logs"
WRITER: Final = "tensorboardX"


class Watcher(Protocol):
    """Is told after each step: the state, the learning rate, and how much of the run is done (0..1)."""

    def __call__(self, state: State, rate: float, done: float) -> None:
        """Show it."""


@contextmanager
def watching(run: Run, state: State, console: Console) -> Iterator[Watcher]:
    """Show a run that is at `state` on the console, and write its event files into its folder."""
    with ExitStack() as stack:
        shown: Watcher
        if console.is_terminal:
            bar = stack.enter_context(_bar(console))
            shown = Bar(run, bar, state)
        else:
            shown = Lines(run, state)
        events = stack.enter_context(_events(run, state))

        def told(state: State, rate: float, done: float) -> None:
            shown(state, rate, done)
            if events is not None:
                events(state, rate, done)

        yield told


class _Pace:
    """Images a second since it was made, and the time that is left."""

    def __init__(self, run: Run, state: State) -> None:
        self._run, self._first = run, state

    def images_per_s(self, state: State) -> float:
        seconds = state.seconds - self._first.seconds
        return self._run.batch * (state.step - self._first.step) / seconds if seconds > 0 else 0.0

    def left(self, state: State, done: float) -> str:
        """Say how much longer it takes at the pace so far, as 1:02:03."""
        began = progress(self._run, self._first.step, self._first.seconds)
        seconds = (state.seconds - self._first.seconds) * (1.0 - done) / max(1e-9, done - began)
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _words(run: Run, state: State) -> str:
    mean = state.mean
    distance = f" distance {mean.distance:.3f}" if run.position else ""
    return f"loss {mean.loss:.3f} accuracy {mean.accuracy:.3f}{distance}"


class Lines:
    """One line every EVERY steps, and one for the last."""

    def __init__(self, run: Run, state: State) -> None:
        self._run, self._pace = run, _Pace(run, state)

    def __call__(self, state: State, rate: float, done: float) -> None:
        """Print the means since the line before."""
        if state.step % EVERY and done < 1.0:
            return
        pace = f"{self._pace.images_per_s(state):.0f} images/s, left {self._pace.left(state, done)}"
        words = _words(self._run, state)
        print(f"step {state.step} ({100 * done:.1f} %) {words} rate {rate:.2e}, {pace}", flush=True)


class Bar:
    """A progress bar with loss, accuracy, images a second and time left."""

    def __init__(self, run: Run, bar: Progress, state: State) -> None:
        self._run, self._bar, self._pace = run, bar, _Pace(run, state)
        self._task = bar.add_task("training", total=1.0, words="", pace="", left="")

    def __call__(self, state: State, rate: float, done: float) -> None:
        """Move the bar."""
        self._bar.update(
            self._task,
            completed=done,
            words=f"step {state.step} {_words(self._run, state)} rate {rate:.1e}",
            pace=f"{self._pace.images_per_s(state):.0f}",
            left=self._pace.left(state, done),
        )


def _bar(console: Console) -> Progress:
    texts = [TextColumn(text) for text in ("{task.fields[words]}", "{task.fields[pace]} images/s")]
    return Progress(
        BarColumn(20), TaskProgressColumn(), *texts, TextColumn("left {task.fields[left]}"), console=console
    )


class Events:
    """Event files for TensorBoard: a point every EVERY steps."""

    def __init__(self, run: Run, writer: Any) -> None:
        self._run, self._writer = run, writer

    def __call__(self, state: State, rate: float, done: float) -> None:
        """Write the means of the last steps."""
        if state.step % EVERY and done < 1.0:
            return
        mean = state.mean
        found = {"loss": mean.loss, "accuracy": mean.accuracy, "rate": rate}
        if self._run.position:
            found["distance"] = mean.distance
        for name, value in found.items():
            self._writer.add_scalar(name, value, state.step)


@contextmanager
def _events(run: Run, state: State) -> Iterator[Events | None]:
    """Open the event files; None, and a sentence, where the extra `train` is not installed."""
    if importlib.util.find_spec(WRITER) is None:
        print("no TensorBoard logs are written: pip install 'bodytag[train]'", file=sys.stderr)
        yield None
        return
    from tensorboardX import SummaryWriter

    purge = state.step + 1 if state.step else None
    # the name's own time stamp counts seconds; a run that goes on at once would write over its first file
    suffix = f".{state.step}"
    writer = SummaryWriter(str(run.out / LOGS), purge_step=purge, filename_suffix=suffix)
    try:
        yield Events(run, writer)
    finally:
        writer.close()


def forget(out: Path) -> None:
    """Remove the event files of an earlier run in the same folder."""
    for path in (out / LOGS).glob("events.out.tfevents.*"):
        path.unlink()
