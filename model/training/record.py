"""The record of a run: what was trained on what, where and with what; beside the weights and in their card.

No path of the machine is in it: files and folders appear by name.
"""

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from model.networks import Definition
from model.training import radiographs, split
from model.training.bodies import FILES
from model.training.data import read_manifest, true_subject, usable
from model.training.fit import State
from model.training.folder import Series
from model.training.run import XR, Run
from model.training.sampler import REAL, SYNTHETIC
from model.weights_file import load

ROOT: Final = Path(__file__).parents[2]
LIBRARIES: Final = (
    "bodytag", "keras", "numpy", "opencv-python-headless", "pydicom", "scipy", "tensorflow", "jax", "torch",
)  # fmt: skip
POINTS: Final = 20
"""The history in the record has at most about so many points."""


def made_of(run: Run, definition: Definition, series: Sequence[Series]) -> dict[str, Any]:
    """Return what a run consists of: its file, network, data and first weights; alike when it goes on."""
    plain = run.as_json()
    del plain["suppliers"]  # how many processes make the batches changes nothing of them
    return {
        "config": plain,
        "network": definition.as_json(),
        "data": data_digest(run, series),
        "split": _digest([split.SPLIT_FILE.read_bytes()]) if run.data and run.modality != XR else None,
        "initial": None if run.start is None else load(run.start).digest,
    }


def record(run: Run, of: dict[str, Any], state: State, legs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the whole record of a finished run. `legs` are what `leg` returned at each start."""
    before = None if run.start is None else load(run.start).card.get("training")
    every = max(1, len(state.history) // POINTS)
    shown = (*state.history[every - 1 : -1 : every], state.mean)
    return {
        **of,
        "steps": state.step,
        "images_seen": state.step * run.batch,
        "seconds": round(state.seconds, 1),
        "history": [
            {"step": one.step, "loss": round(one.loss, 4), "accuracy": round(one.accuracy, 4)}
            | ({"distance_loss": round(one.distance, 4)} if run.position else {})
            for one in shown
        ],
        "legs": list(legs),
        "before": before,
    }


def leg(step: int) -> dict[str, Any]:
    """Return where, with what and from which step on a run is started or goes on."""
    import keras

    return {
        "from_step": step,
        **commit(),
        "versions": versions(),
        "backend": keras.backend.backend(),
        "machine": machine(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> dict[str, Any]:
    """Return the repository's commit and whether files differed from it; None where it is no repository."""
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top) != ROOT:
        return {"commit": None, "dirty": None}
    return {"commit": _git("rev-parse", "HEAD"), "dirty": _git("status", "--porcelain") != ""}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    """Return the processor's name, the number of cores, and the devices where Keras's backend tells."""
    import keras

    try:
        devices = keras.distribution.list_devices()
    except AttributeError:  # the torch backend has no such list
        devices = None
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor()
    return {"cpu": processor, "cores": os.cpu_count(), "devices": devices}


def data_digest(run: Run, series: Iterable[Series]) -> str:
    """Return a SHA-256 over manifests and labels, and over names and sizes of all files of a run."""
    parts = []
    for path, name in sorted(_files(run), key=lambda found: found[1]):
        parts.append(f"{name} {path.stat().st_size}".encode())
        if path.suffix == ".csv":
            parts.append(path.read_bytes())
    parts += [each.table.read_bytes() for each in run.folders]
    for one in series:
        sizes = sorted(f"{header.sop_instance_uid} {header.path.stat().st_size}" for header in one.headers)
        parts += [size.encode() for size in sizes]
    return _digest(parts)


def _files(run: Run) -> Iterable[tuple[Path, str]]:
    """Yield the files of the data folder that a run reads, with their names in it."""
    if run.data is None:
        return
    names: set[str] = set()
    if run.modality == XR:
        rows_of_films = radiographs.read(run.data) if run.images != SYNTHETIC else ()
        names |= {radiographs.MANIFEST, *(r.file for r in radiographs.training(rows_of_films, run.without))}
    elif run.images != SYNTHETIC:
        train = split.read().train
        for modality in ("CT", "MR") if run.modality == "MR" else ("CT",):
            names.add(f"{modality.lower()}.csv")
            rows = usable(read_manifest(run.data, modality), ("train",))
            mine = (row for row in rows if true_subject(row.subject) in train)
            names |= {row.file for row in mine if row.source not in run.without}
    if run.images != REAL:
        names |= {f"anatomy/{FILES[body]}" for body in run.bodies} | {"anatomy/landmarks.json"}
    for name in names:
        for path in run.data.glob(name) if "*" in name else [run.data / name]:
            yield path, path.relative_to(run.data).as_posix()


def _digest(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(hashlib.sha256(part).digest())
    return found.hexdigest()
