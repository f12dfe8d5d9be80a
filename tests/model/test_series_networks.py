"""Tests of the networks for whole series: built by name, saved, read, asked; a few steps of training."""

from dataclasses import replace
from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest

from model import runtimes, series_networks
from model.graphs import Network
from model.projections import SIZE, THIRDS, TONES
from model.runtimes import AUTO, ONNXRUNTIME, OPENVINO, TENSORFLOW, Engine, compiled_whole
from model.series_labels import AXES, CONTRASTS, PAPER_PARTS, PARTS
from model.series_networks import HEADS, LIGHT, PAPER, STACK_SIZE, SeriesDefinition, build, default
from model.series_reader import GEOMETRY, NETWORK, SeriesReader
from model.series_stack import Plan
from model.series_weights import SHIPPED, load, restore, save
from model.training import (
    volume_bodies,
    volume_cases,
    volume_evaluation,
    volume_paper,
    volume_real,
    volume_tables,
)
from model.training.data import DATA
from model.training.run import RunError
from model.training.volume_cache import Source, seen
from model.training.volume_draw import NOBODY
from model.training.volume_fit import known_loss, varied
from model.training.volume_protocols import PROTOCOLS
from model.training.volume_run import SeriesRun, is_series
from model.training.volume_run import load as load_run
from model.volumes import STORED, Volume
from model.weights_file import WeightsError

RUNS = Path(__file__).parents[2] / "model" / "training" / "runs"
SMALL_PAPER = replace(default(PAPER), widths=(2, 2, 2, 2), shape=(16, 16, 16))
needs_data = pytest.mark.skipif(not (DATA / "anatomy").is_dir(), reason="the training data is not here")


def planned(turned: bool = True) -> Plan:
    """Return the plan of an axial stack of ten slices."""
    turn, reach = (STORED["axial"], (0.0, 50.0)) if turned else (None, None)
    return Plan((), np.arange(10.0) * 5, 5.0, turn, "" if turned else "no positions", reach)


def stack() -> Volume:
    """Return a stack of noise round water."""
    values = np.random.default_rng(3).normal(0, 200, (10, 60, 50)).astype(np.float32)
    return Volume(values, (5.0, 3.0, 3.0))


def test_a_definition_survives_the_card() -> None:
    """What a card says builds the same network; nonsense is refused with a sentence."""
    for definition in (default(LIGHT), SMALL_PAPER):
        assert SeriesDefinition.from_json(definition.as_json()) == definition
    assert default(PAPER).parts == PAPER_PARTS
    assert default(PAPER).shape == (128, 224, 224)
    with pytest.raises(ValueError, match="no network for series is called 'x'"):
        SeriesDefinition("x")


def test_the_papers_network_is_served_by_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The 3D network, small and shallow here, is written, read and asked; it has three heads."""
    monkeypatch.setattr(series_networks, "BOTTLENECKS", (1, 1, 1, 1))
    path = tmp_path / "paper.npz"
    save(path, build(SMALL_PAPER), SMALL_PAPER, {"modality": "CT", "temperatures": {}})
    said = SeriesReader.load(path).predict(stack(), planned())
    assert set(said.parts) == set(PAPER_PARTS)
    assert sum(said.parts.values()) == pytest.approx(1.0, abs=1e-4)
    assert (set(said.contrasts), set(said.axes)) == (set(CONTRASTS), set(AXES))
    assert said.stretches is None


@pytest.mark.parametrize("light", [True, False])
def test_every_runtime_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, light: bool) -> None:
    """The runtimes for CPUs get the networks as ONNX: logits differ by rounding, the paper's included."""
    monkeypatch.setattr(series_networks, "BOTTLENECKS", (1, 1, 1, 1))
    path = SHIPPED if light else tmp_path / "paper.npz"
    if not light:
        save(path, build(SMALL_PAPER), SMALL_PAPER, {"modality": "CT", "temperatures": {}})
    known = load(path)
    model = restore(path, known)
    network = Network(known.digest, known.definition.as_json(), lambda: model)
    rng = np.random.default_rng(5)
    inputs = {each.name: rng.normal(0, 1, (2, *each.shape[1:])).astype(np.float32) for each in model.inputs}
    expected = compiled_whole(path, network, Engine(TENSORFLOW))(inputs)
    assert len(expected) == len(HEADS) - (not light)
    for runtime in (ONNXRUNTIME, OPENVINO):
        found = compiled_whole(path, network, Engine(runtime, 1))(inputs)
        for wanted, said in zip(expected, found, strict=True):
            assert wanted.std() > 1e-3
            assert np.allclose(said, wanted, atol=1e-4 * np.abs(wanted).max())


def test_what_cannot_be_exported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` falls back to TensorFlow; a runtime that was named is an error with the layer's name."""
    import keras

    image = keras.Input((4, 4, 2), name="stack")
    summed = keras.ops.mean(image, axis=(1, 2))
    model = keras.Model(image, keras.layers.Dense(3)(summed))
    network = Network("", {}, lambda: model)
    monkeypatch.setattr(runtimes, "_has_gpu", lambda: False)
    inputs = {"stack": np.ones((1, 4, 4, 2), np.float32)}
    (said,) = compiled_whole(SHIPPED, network, Engine(AUTO))(inputs)
    assert np.allclose(said, model(inputs["stack"]), atol=1e-5)
    with pytest.raises(WeightsError, match="is no mean over one axis"):
        compiled_whole(SHIPPED, network, Engine(ONNXRUNTIME))


def test_the_paper_has_fifty_layers() -> None:
    """Convolutions of the main path and the last layer are 50, as its name says."""
    model = build(SMALL_PAPER)
    kernels = [layer for layer in model.layers if type(layer).__name__ == "Conv3D"]
    shortcuts = 4
    assert len(kernels) - shortcuts + 1 == 50


def test_geometry_comes_first() -> None:
    """A trusted header gives the axis and heights; without one the network does, and there are no heights."""
    reader = SeriesReader.load(SHIPPED)
    told, alone = reader.predict(stack(), planned()), reader.predict(stack(), planned(turned=False))
    assert (told.axis, told.axis_from, alone.axis_from) == ("axial", GEOMETRY, NETWORK)
    assert told.stretches is not None
    assert (np.diff(told.stretches.heights_mm) > 0).all()
    assert 0.0 <= told.stretches.heights_mm[0] < told.stretches.heights_mm[-1] <= 50.0
    assert alone.stretches is None
    assert alone.axis == max(alone.axes, key=lambda each: alone.axes[each])
    assert alone.doubt == "no positions"


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    """A file that is not that of its card is not used."""
    path = tmp_path / SHIPPED.name
    copyfile(SHIPPED.with_suffix(".json"), path.with_suffix(".json"))
    copyfile(SHIPPED, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="does not match"):
        load(path)


def test_shipped_runs_can_be_read(tmp_path: Path) -> None:
    """The files of runs are those of series; a mistake is one sentence with the key."""
    for name in (
        "ct-series",
        "ct-series-second",
        "ct-series-third",
        "ct-series-fourth",
        "resnet50-3d-ct-series",
    ):
        assert is_series(RUNS / f"{name}.yaml")
        assert load_run(RUNS / f"{name}.yaml").out.name == name
    assert not is_series(RUNS / "ct.yaml")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("modality: CT_SERIES\nseries: 0\n", encoding="utf-8")
    with pytest.raises(RunError, match="series: Input should be"):
        load_run(wrong)


@needs_data
def test_drawn_series_have_their_labels_and_teach() -> None:
    """Every label can be drawn from the anatomies, some from real volumes; batches know their truth."""
    scans = volume_real.load_scans(DATA, frozenset({"CRLM-CT-1004", "OpenKBP_pt_311"}))
    figures = volume_bodies.load_figures(DATA, ("AM",))
    rng = np.random.default_rng(5)
    draws = [volume_bodies.draw(figures[0], part, rng) for part in PARTS]
    assert [each.part for each in draws] == list(range(len(PARTS)))
    assert all((each.regions != NOBODY).any() for each in draws)
    assert {name for scan in scans for name in volume_real.possible(scan)} >= {"abdomen", "head_neck", "neck"}
    batch = seen([*draws, Source(scans, figures).draw(rng)], rng)
    inputs = varied(batch, rng)
    assert {name: value.shape[1:] for name, value in inputs.items()} == {
        "upright": (3, SIZE, SIZE, 4), "scale": (1,), "tones": (THIRDS * TONES,),
        "stack": (3, STACK_SIZE, STACK_SIZE, 4),
    }  # fmt: skip
    assert (batch.rows != NOBODY).any(axis=1).all()
    images, targets = volume_paper.batch(Source(scans, figures), SMALL_PAPER, 2, rng)
    assert images.shape == (2, 16, 16, 16, 1)
    assert [column.shape for column in targets] == [(2,)] * 3


def test_what_is_not_known_teaches_nothing() -> None:
    """The loss is that of the known truths alone, and zero where there is none."""
    logits = np.array([[4.0, 0.0], [0.0, 9.0]], np.float32)
    both, one, none = (float(known_loss(np.array(truth), logits)) for truth in ([0, 0], [0, -1], [-1, -1]))
    assert none == 0.0
    assert 0.0 < one < both


@needs_data
def test_held_out_series_are_scored_by_study() -> None:
    """Each volume gives a series along every axis; intervals are over studies, tables have every head."""
    scans = volume_real.load_scans(DATA, frozenset({"CRLM-CT-1006"}))
    cases = tuple(volume_cases.real(scans))
    assert len(cases) % 3 == 0
    assert {case.axis for case in cases} == {0, 1, 2}
    said = volume_evaluation.ask(SeriesReader.load(SHIPPED), cases, lambda: None)
    score = volume_evaluation.score("some", said)
    assert (
        0.0 <= score.figures["axis"].low <= score.figures["axis"].value <= score.figures["axis"].high <= 1.0
    )
    assert score.confusion["axis"][1].sum() == len(cases)
    text = volume_tables.tables([score])
    assert all(word in text for word in ("body part, top 1", "contrast: true", "axis: true"))
    assert all(1.0 <= value <= 10.0 for value in volume_evaluation.temperatures(said).values())


def test_estimates_are_shares_with_intervals() -> None:
    """All right in one study and all wrong in another is a half, and surely nothing between 0 and 1."""
    found = volume_evaluation.estimate(np.array([True, True, False, False]), np.array(["a", "a", "b", "b"]))
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
    assert (found.series, found.studies) == (4, 2)


def test_protocols_cover_the_papers_labels() -> None:
    """Each of the sixteen labels has a protocol, and no other."""
    assert {each.part for each in PROTOCOLS} == set(PAPER_PARTS)
    assert SeriesRun().bodies == ("AM", "BP3D")
