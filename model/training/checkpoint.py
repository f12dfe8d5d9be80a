"""Where a run stands, on disk: one file, replaced as a whole, so that a kill leaves the old or the new.

Arrays of the network and the optimizer, and one JSON text with the rest; no pickle.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.training.fit import Learnt, Mean, State
from model.training.run import RunError

NAME: Final = "checkpoint.npz"
_TEXT: Final = "state"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run, the arrays of its network, and what must be the same for it to go on (`of`)."""

    state: State
    arrays: tuple[NDArray[Any], ...]
    of: Mapping[str, Any]


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint of the run whose folder this is."""
    text = json.dumps({"state": asdict(checkpoint.state), "of": dict(checkpoint.of)})
    arrays = {f"{index:05d}": array for index, array in enumerate(checkpoint.arrays)}
    path = folder / NAME
    unfinished = path.with_suffix(".new")
    with unfinished.open("wb") as file:
        np.savez(file, **{_TEXT: np.array(text)}, **arrays)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def read(folder: Path) -> Checkpoint | None:
    """Read the checkpoint of a run's folder, None where there is none. Raises RunError on a damaged one."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            plain = json.loads(str(stored[_TEXT]))
            arrays = tuple(stored[name] for name in sorted(stored.files) if name != _TEXT)
        return Checkpoint(_state(plain["state"]), arrays, plain["of"])
    except (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"the checkpoint {path} is damaged, --fresh starts anew: {error}") from error


def _state(plain: Mapping[str, Any]) -> State:
    history = tuple(Mean(**one) for one in plain["history"])
    window = tuple(Learnt(**one) for one in plain["window"])
    return State(int(plain["step"]), float(plain["seconds"]), history, window)
