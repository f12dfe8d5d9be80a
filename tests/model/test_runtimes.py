"""Runtimes: the same weights give the same answers in each, on real images, and `auto` finds its way."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import runtimes
from model.classify import SHIPPED, Classifier
from model.gate import reason
from model.networks import LITE, MOBILE, PAPER, SMALL, Definition, build
from model.onnx_graph import NotExportableError, exported
from model.prediction import Prediction
from model.read import Image, ImageHeader, read_header, read_pixels
from model.runtimes import (
    AUTO,
    BFLOAT16,
    ONNXRUNTIME,
    OPENVINO,
    TENSORFLOW,
    Engine,
    Runtime,
    chosen,
    compiled,
)
from model.standing import stood
from model.weights_file import Weights, WeightsError, restore
from tests.builders import real_series

LOGITS: float = 1e-4
"""How far a logit may be from TensorFlow's; the shipped networks' logits reach from about -10 to 15."""
OTHERS: Sequence[Runtime] = (ONNXRUNTIME, OPENVINO)
CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def images() -> dict[str, list[Image]]:
    """Every third real image of the data folder, of films each, by the network that it is for."""
    classifier = Classifier.load(SHIPPED, Engine(ONNXRUNTIME))
    found: dict[str, list[Image]] = {}
    films = next(iter(real_series().values()))[0].parents[2] / "xr"
    for paths in (*real_series().values(), *([path] for path in sorted(films.iterdir())[:8])):
        headers = [header for header in map(read_header, paths[::3]) if reason(header) is None]
        for header in headers:
            found.setdefault(_network(classifier, header), []).append(stood(read_pixels(header), header))
    return found


def _network(classifier: Classifier, header: ImageHeader) -> str:
    name = classifier.network_for(header)
    assert name is not None
    return name


def weights(definition: Definition, model: Any) -> Weights:
    """Return a model's weights, moved a little so that no normalisation is the identity."""
    rng = np.random.default_rng(1)
    arrays = [(each * rng.uniform(0.9, 1.1, each.shape)).astype(np.float32) for each in model.get_weights()]
    return Weights(definition, "CT", 1.0, "d" * 64, tuple(arrays), {})


@pytest.mark.skipif(not real_series(), reason="the data folder is not there")
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks_say_the_same_in_every_runtime(name: str, images: dict[str, list[Image]]) -> None:
    """On real images probabilities and energies are TensorFlow's to rounding, and so is the class."""
    said: dict[str, Prediction] = {}
    for runtime in (TENSORFLOW, *OTHERS):
        classifier = Classifier.load({name: SHIPPED[name]}, Engine(runtime))
        said[runtime] = classifier.predict(name, images[name])
        assert classifier.runtime(name).startswith(f"{runtime} ")
    expected = said.pop(TENSORFLOW)
    assert len(expected.probabilities) >= 3
    assert expected.energy is not None
    for found in said.values():
        assert found.energy is not None
        assert np.abs(found.energy - expected.energy).max() < LOGITS
        assert np.abs(found.probabilities - expected.probabilities).max() < LOGITS
        assert np.array_equal(found.probabilities.argmax(axis=1), expected.probabilities.argmax(axis=1))
        assert found.weights_digest == expected.weights_digest


@pytest.mark.parametrize(("network", "members"), [(SMALL, 1), (LITE, 1), (LITE, 2), (PAPER, 1), (MOBILE, 1)])
def test_every_network_is_exported(network: str, members: int) -> None:
    """Networks of each name give the same logits in every runtime, for any number of images up to a batch."""
    channels = 3 if network in (PAPER, MOBILE) else 1
    definition = Definition(network, CLASSES, size=64, channels=channels, members=members)
    known = weights(definition, build(definition))
    inputs = np.random.default_rng(2).normal(0, 1, (5, 64, 64, channels)).astype(np.float32)
    expected = np.asarray(restore(Path("ct.npz"), known)(inputs, training=False))
    scale = float(np.abs(expected).max())
    assert expected.std(axis=0).max() > 1e-3 * scale
    for runtime in OTHERS:
        infer = compiled(Path("ct.npz"), known, 5, Engine(runtime)).infer
        for count in (5, 2):
            assert np.abs(infer(inputs[:count]) - expected[:count]).max() < 1e-4 * scale


def test_bfloat16_is_what_openvino_may_compute_in(images: dict[str, list[Image]]) -> None:
    """It moves probabilities a little, says so beside the version, and is refused to other runtimes."""
    loaded = Classifier.load({"CT": SHIPPED["CT"]}, Engine(OPENVINO, precision=BFLOAT16))
    exact = Classifier.load({"CT": SHIPPED["CT"]}, Engine(OPENVINO))
    less, single = (each.predict("CT", images["CT"]).probabilities for each in (loaded, exact))
    assert np.abs(less - single).max() < 0.1
    able = loaded.runtime("CT").endswith(" bfloat16")
    assert able == (not np.array_equal(less, single))
    assert chosen(Engine(AUTO, precision=BFLOAT16)) == (OPENVINO if able else ONNXRUNTIME)
    with pytest.raises(WeightsError, match="onnxruntime computes in single precision alone"):
        chosen(Engine(ONNXRUNTIME, precision=BFLOAT16))


def test_sizes_that_do_not_divide_are_padded_alike() -> None:
    """An odd size puts more padding behind than before; the export does the same."""
    definition = Definition(LITE, CLASSES, size=75)
    known = weights(definition, build(definition))
    inputs = np.random.default_rng(2).normal(0, 1, (2, 75, 75, 1)).astype(np.float32)
    expected = np.asarray(restore(Path("ct.npz"), known)(inputs, training=False))
    for runtime in OTHERS:
        found = compiled(Path("ct.npz"), known, 2, Engine(runtime)).infer(inputs)
        assert np.allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_auto_takes_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime comes first, then OpenVINO; without both, or with a GPU, TensorFlow runs the networks."""
    there = {ONNXRUNTIME, OPENVINO, "onnx"}
    real = importlib.util.find_spec
    monkeypatch.setattr(runtimes, "find_spec", lambda name: real(name) if name in there else None)
    monkeypatch.setattr(runtimes, "_has_gpu", lambda: False)
    assert chosen(Engine(AUTO)) == ONNXRUNTIME
    there.discard(ONNXRUNTIME)
    assert chosen(Engine(AUTO)) == OPENVINO
    with pytest.raises(WeightsError, match=r"onnxruntime is not installed; pip install 'bodytag\[cpu\]'"):
        chosen(Engine(ONNXRUNTIME))
    there.discard("onnx")
    assert chosen(Engine(AUTO)) == TENSORFLOW
    there.update({ONNXRUNTIME, "onnx"})
    monkeypatch.setattr(runtimes, "_has_gpu", lambda: True)
    assert chosen(Engine(AUTO)) == TENSORFLOW
    assert chosen(Engine(ONNXRUNTIME)) == ONNXRUNTIME


def test_a_network_that_cannot_be_exported_runs_by_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` falls back; a runtime that was named is an error with the layer's name."""
    import keras

    def foreign(definition: Definition) -> Any:
        image = keras.Input((definition.size, definition.size, definition.channels))
        x = keras.layers.Conv2D(3, 3, activation="tanh", name="odd")(image)
        return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))

    monkeypatch.setitem(build.__globals__["NETWORKS"], SMALL, foreign)
    definition = Definition(SMALL, CLASSES, size=32)
    with pytest.raises(NotExportableError, match="the layer odd ends with tanh"):
        exported(foreign(definition))
    known = weights(definition, foreign(definition))
    monkeypatch.setattr(runtimes, "_has_gpu", lambda: False)
    assert compiled(Path("ct.npz"), known, 2, Engine(AUTO)).runtime.startswith("tensorflow ")
    with pytest.raises(WeightsError, match=r"onnxruntime cannot run the weights ct\.npz: the layer odd"):
        compiled(Path("ct.npz"), known, 2, Engine(ONNXRUNTIME))
