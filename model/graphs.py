"""Networks to be run, and the shelf on which their ONNX graphs are kept for the next time.

To write a graph takes Keras, and Keras TensorFlow: seconds, and half a gigabyte that stays. What finds its
graph on the shelf needs neither.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import model.onnx_graph
from model.onnx_graph import exported

SUFFIX: Final = ".graph"
"""Not .onnx: a digest stands behind the graph, and tells a file that was cut off."""
DIGEST_BYTES: Final = 32


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
        found = None if kept is None else _got(kept)
        if found is not None:
            return found
        made = exported(self.restore())
        if kept is not None:
            with suppress(OSError):  # no room, or no leave to write: the next one restores the network again
                _put(kept, made)
        return made

    def _kept(self) -> Path | None:
        if self.shelf is None:
            return None
        key = hashlib.sha256(json.dumps(self.definition, sort_keys=True).encode())
        key.update(Path(str(model.onnx_graph.__file__)).read_bytes())
        return self.shelf / f"{self.digest[:16]}-{key.hexdigest()[:16]}{SUFFIX}"


def _got(kept: Path) -> bytes | None:
    """Return a graph from the shelf; None where it does not lie there, or not as it was put there."""
    try:
        data = kept.read_bytes()
    except OSError:
        return None
    graph, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    return graph if hashlib.sha256(graph).digest() == digest else None


def _put(kept: Path, made: bytes) -> None:
    """Lay a graph and its digest on the shelf, in place of all else of the same weights."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    weights, _ = kept.name.split("-", maxsplit=1)
    with NamedTemporaryFile(dir=kept.parent, prefix=f"{weights}-", suffix=".part", delete=False) as file:
        part = Path(file.name)
        try:
            file.write(made + hashlib.sha256(made).digest())
            file.close()
            part.replace(kept)
        except OSError:
            part.unlink(missing_ok=True)
            raise
    # Others' graphs and what a process that was killed had begun; who is writing now restores it next time.
    for old in kept.parent.glob(f"{weights}-*"):
        if old != kept:
            old.unlink(missing_ok=True)
