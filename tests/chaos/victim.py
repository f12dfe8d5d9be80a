"""The node under test: as it is served, with a stand-in for the networks and with faults built in.

`python -m tests.chaos.victim serve -c node.yaml`; the environment variable BODYTAG_CHAOS holds the faults as
JSON. Its worker imports this file, too, and so has the same faults.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

import model.read
from model.classify import Classifier
from model.prediction import Prediction
from model.read import Image, ImageHeader
from model.regions import CT_CLASSES
from node import clock

_FOREVER: Final = threading.Event()


class StandIn:
    """Stands in for the networks, which take seconds to load: sure of a region that depends on the pixels."""

    @classmethod
    def load(
        cls, weights: Mapping[str, Path], threads: int | None = None, runtime: str = "auto"
    ) -> "StandIn":
        """Load nothing."""
        del weights, threads, runtime
        return cls()

    def network_for(self, header: ImageHeader) -> str | None:
        """Be the one network for every plane."""
        return header.modality

    def predict(self, modality: str, images: Iterable[Image]) -> Prediction:
        """Say the same of the same pixels, in any process."""
        assert modality == "CT"
        shades = [int(np.asarray(image.values).min() + 1024) // 10 for image in images]
        table = np.zeros((len(shades), len(CT_CLASSES)), np.float32)
        table[np.arange(len(shades)), [shade % 5 for shade in shades]] = 1.0
        return Prediction(CT_CLASSES, table, "c" * 64)


def die_at(step: str, nth: int, marker: Path) -> None:
    """Have the process die before or after the nth call of `step`, once: 'before node.worker:main'."""
    when, name = step.split(" ")
    module, _, path = name.partition(":")
    *owners, last = path.split(".")
    owner: Any = import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    function = getattr(owner, last)
    replace(owner, last, _deadly(function, when, nth, marker))


def replace(owner: Any, name: str, new: Any) -> None:
    """Replace a function, also in those modules that imported it by name."""
    old = getattr(owner, name)
    setattr(owner, name, new)
    for module in list(sys.modules.values()):
        if module.__name__.startswith(("node.", "db.", "model.")):
            for known, value in list(vars(module).items()):
                if value is old:
                    setattr(module, known, new)


def _deadly(function: Callable[..., Any], when: str, nth: int, marker: Path) -> Callable[..., Any]:
    calls = 0
    lock = threading.Lock()

    @wraps(function)
    def deadly(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        with lock:
            calls += 1
            due = calls == nth and not marker.exists()
        if due and when == "before":
            _die(marker)
        result = function(*arguments, **options)
        if due:
            _die(marker)
        return result

    return deadly


def _die(marker: Path) -> None:
    marker.write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGKILL)


def spoil_worker(how: str, marked: str) -> None:
    """Have the worker hang, crash or run out of memory over the image whose file name holds `marked`."""
    import_module("node.worker")  # and with it all that decodes
    read_pixels = model.read.read_pixels

    def spoiled(header: ImageHeader) -> Image:
        if marked in header.path.name:
            _spoil(how)
        image: Image = read_pixels(header)
        return image

    replace(model.read, "read_pixels", spoiled)


def _spoil(how: str) -> None:
    if how == "hang":
        _FOREVER.wait()
    if how == "crash":
        os.abort()
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
    bytearray(4 << 30)


def slow_worker(seconds: float) -> None:
    """Have the worker wait before each series, as it would for a network on a GPU: without a processor."""
    worker = import_module("node.worker")
    classify_series = worker.classify_series

    @wraps(classify_series)
    def slow(*arguments: Any, **options: Any) -> Any:
        _FOREVER.wait(seconds)
        return classify_series(*arguments, **options)

    replace(worker, "classify_series", slow)


def jump(file: Path) -> None:
    """Let the node's wall clock be wrong by as many seconds as the file says, from call to call."""

    def utc_now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(file.read_text() or 0))

    replace(clock, "utc_now", utc_now)


def prepare(faults: dict[str, Any]) -> None:
    """Build the faults in."""
    Classifier.load = StandIn.load  # type: ignore[method-assign,assignment]
    if "clock" in faults:
        jump(Path(faults["clock"]))
    if "die" in faults:
        die_at(faults["die"], int(faults.get("nth", 1)), Path(faults["marker"]))
    if "slow" in faults:
        slow_worker(float(faults["slow"]))
    if "worker" in faults:
        spoil_worker(faults["worker"], faults["marked"])


if __name__ in ("__main__", "__mp_main__"):  # the second: in the worker that this node starts
    prepare(json.loads(os.environ.get("BODYTAG_CHAOS", "{}")))

if __name__ == "__main__":
    import_module("node.cli.app").app()
