"""Networks to be run, and the shelf on which their ONNX graphs are kept for the next time.

To write a graph takes Keras, and Keras TensorFlow: seconds, and half a gigabyte that stays. What finds its
graph on the shelf needs neither.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import model.onnx_graph
from model.onnx_graph import exported


@dataclass(frozen=True)
class Network:
    """A network to be run: its weights' digest and its definition, and what restores its keras.Model.

    `shelf` is a folder where graphs are kept, which only this program writes to; None: nowhere.
    """

    digest: str
    definition: Mapping[str, object]
    restore: Callable[[], Any]
    shelf: Path | None = None

    def onnx(self) -> bytes:
        """Return the network as an ONNX file, from the shelf if it is there. Raises NotExportableError."""
        kept = self._kept()
        if kept is not None and kept.is_file():
            return kept.read_bytes()
        made = exported(self.restore())
        if kept is not None:
            _put(kept, made)
        return made

    def _kept(self) -> Path | None:
        if self.shelf is None:
            return None
        key = hashlib.sha256(json.dumps(self.definition, sort_keys=True).encode())
        key.update(Path(str(model.onnx_graph.__file__)).read_bytes())
        return self.shelf / f"{self.digest[:16]}-{key.hexdigest()[:16]}.onnx"


def _put(kept: Path, made: bytes) -> None:
    """Lay a graph on the shelf, whole or not at all, in place of others of the same weights."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=kept.parent, suffix=".part", delete=False) as file:
        file.write(made)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(kept)
    for old in kept.parent.glob(f"{kept.name.split('-', maxsplit=1)[0]}-*.onnx"):
        if old != kept:
            old.unlink(missing_ok=True)
