"""Tests of the shelf: a network's ONNX graph is written once, and found by whoever runs the same network."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from model.graphs import Network
from model.networks import SMALL, Definition, build
from model.onnx_graph import exported

DEFINITION = Definition(SMALL, ("head", "foot"), size=32)


def test_a_graph_is_written_once(tmp_path: Path) -> None:
    """The second time nothing is restored; another definition, or no shelf, has a graph of its own."""
    asked = []

    def restored() -> object:
        asked.append(1)
        return build(DEFINITION)

    shelf = tmp_path / "networks"
    made = Network("a" * 64, DEFINITION.as_json(), restored, shelf).onnx()
    assert Network("a" * 64, DEFINITION.as_json(), restored, shelf).onnx() == made
    assert len(asked) == 1
    Network("a" * 64, DEFINITION.as_json(), restored).onnx()
    Network("b" * 64, DEFINITION.as_json(), restored, shelf).onnx()
    assert len(asked) == 3
    assert len(list(shelf.iterdir())) == 2


def test_what_is_out_of_date_makes_room(tmp_path: Path) -> None:
    """A graph of the same weights by another definition takes the place of the one before, and of drafts."""
    model = build(DEFINITION)
    Network("a" * 64, DEFINITION.as_json(), lambda: model, tmp_path).onnx()
    (before,) = tmp_path.iterdir()
    (tmp_path / f"{'a' * 16}-left by a kill.part").touch()
    Network("a" * 64, {**DEFINITION.as_json(), "dropout": 0.5}, lambda: model, tmp_path).onnx()
    (after,) = tmp_path.iterdir()
    assert before != after
    assert after.read_bytes().startswith(exported(model))


def test_a_damaged_graph_is_written_again(tmp_path: Path) -> None:
    """What was cut off, as by a crash, or cannot be kept at all, costs time and nothing else."""
    model = build(DEFINITION)
    network = Network("a" * 64, DEFINITION.as_json(), lambda: model, tmp_path)
    made = network.onnx()
    (kept,) = tmp_path.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-100])
    assert network.onnx() == made
    assert kept.read_bytes() == whole
    taken = tmp_path / "file"
    taken.touch()
    assert Network("a" * 64, DEFINITION.as_json(), lambda: model, taken / "networks").onnx() == made


def test_with_a_graph_at_hand_tensorflow_is_not_loaded(tmp_path: Path) -> None:
    """Another process that finds the graphs says the same, without Keras and TensorFlow."""
    code = (
        "import sys, numpy as np; from pathlib import Path; from model.classify import SHIPPED, Classifier; "
        "from model.read import Image; from model.runtimes import Engine; "
        f"engine = Engine('onnxruntime', 1, shelf=Path({str(tmp_path)!r})); "
        "loaded = Classifier.load({'CT': SHIPPED['CT']}, engine); "
        "values = np.random.default_rng(4).normal(0, 300, (128, 128)).astype(np.float32); "
        "said = loaded.predict('CT', [Image(values, np.ones(values.shape, bool), (1.0, 1.0))]); "
        "print('tensorflow' in sys.modules, said.probabilities.tobytes().hex())"
    )
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.split()
        for _ in range(2)
    )
    assert (first[0], second[0]) == ("True", "False")
    assert first[1] == second[1]
    assert np.isfinite(np.frombuffer(bytes.fromhex(second[1]), np.float32)).all()
