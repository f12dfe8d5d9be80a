"""A run from its file to its weights: schedule, history, checkpoint, going on, what is refused."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from rich.console import Console

from model.networks import LITE, SMALL, Definition, build
from model.regions import CLASSES
from model.training import checkpoint, folder, train
from model.training.checkpoint import Checkpoint
from model.training.fit import (
    EVERY,
    Learnt,
    Network,
    State,
    Stopped,
    fit,
    freeze_normalisation,
    freeze_stages,
    progress,
    rate_at,
    started,
)
from model.training.run import Run, RunError, load
from model.training.supply import Batch, Order, Supply, batch_at, gather
from model.weights_file import load as load_weights
from model.weights_file import read_card, save
from tests.builders import Recipe, write

TINY = Definition(SMALL, CLASSES["CT"], size=32, widths=(4, 8), blocks=1)
QUIET = Console(file=None, force_terminal=False)


def test_rate_rises_then_falls() -> None:
    """The learning rate warms up over a tenth of the run and ends at a hundredth of its top."""
    run = Run(modality="CT", rate=1e-3, steps=100)
    rates = [rate_at(run, done) for done in np.linspace(0, 1, 101)]
    assert rates[0] == pytest.approx(1e-4)
    assert int(np.argmax(rates)) == 10
    assert rates[-1] == pytest.approx(1e-5)
    assert np.all(np.diff(rates[10:]) < 0)


def test_frozen_stages_keep_their_weights_and_the_others_learn() -> None:
    """Two stages frozen: neither the stem nor the first three blocks can be trained, all later ones can."""
    model = build(Definition(LITE, CLASSES["CT"], size=32))
    freeze_stages(model.layers, 0)
    assert all(layer.trainable for layer in model.layers)
    freeze_stages(model.layers, 2)
    frozen = {layer.name.split("_")[0] for layer in model.layers if not layer.trainable}
    assert frozen == {"stem", "block00", "block01", "block02"}


def test_progress_is_by_steps_or_by_time() -> None:
    """Half the steps or half the minutes is half the run, and it never passes the end."""
    run = Run(modality="CT", steps=100, minutes=10)
    assert progress(run, 50, 0.0) == 0.5
    assert progress(run, 1, 300.0) == 0.5
    assert progress(run, 200, 0.0) == 1.0
    assert progress(Run(modality="CT", steps=100), 10, 1e9) == 0.1
    assert progress(Run(modality="CT", minutes=1), 10**9, 30.0) == 0.5


def test_history_is_the_means_of_the_steps() -> None:
    """Every EVERY steps make one entry; what came since is not lost."""
    state = State()
    for step in range(EVERY + 10):
        state = state.after(float(step), Learnt(2.0 if step < EVERY else 1.0, 0.5, 0.0))
    assert [asdict(one) for one in state.history] == [
        {"step": EVERY, "seconds": EVERY - 1.0, "loss": 2.0, "accuracy": 0.5, "distance": 0.0}
    ]
    assert (state.step, state.mean.step, state.mean.loss) == (EVERY + 10, EVERY + 10, 1.0)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of a very small network."""
    import keras

    keras.utils.set_random_seed(1)
    path = tmp_path_factory.mktemp("start") / "ct.npz"
    save(path, build(TINY), TINY, {"modality": "CT", "temperature": 1.0, "training": {"steps": 0}})
    return path


def bright(run: Run, step: int) -> Batch:
    """Return a batch of dark and bright images, the first two classes."""
    rng = np.random.default_rng((run.seed, step))
    kinds = rng.integers(0, 2, run.batch)
    images = rng.normal(0, 0.3, (run.batch, 32, 32, 1)) + (2.0 * kinds - 1.0)[:, None, None, None]
    targets = np.eye(len(CLASSES["CT"]), dtype=np.float32)[kinds]
    return Batch(images.astype(np.float32), targets, np.zeros((run.batch, 2), np.float32), 0)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_training_learns(start: Path, ema: float) -> None:
    """Sixty steps suffice to tell bright images from dark ones, with averaged weights too."""
    import keras

    run = Run(modality="CT", initial=str(start), steps=60, batch=16, rate=1e-2, smoothing=0.0, ema=ema)
    network, seen = Network(run, TINY), list[float]()
    state = fit(run, network, State(), lambda step: bright(run, step), lambda _, rate: seen.append(rate))
    assert state.step == len(seen) == 60
    model = network.finish()
    probe = np.stack([np.full((32, 32, 1), level, np.float32) for level in (-1.0, 1.0)])
    assert keras.ops.convert_to_numpy(model(probe, training=True)).argmax(axis=1).tolist() == [0, 1]


def trained(run: Run) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Return the weights before and after a run."""
    network = Network(run, TINY)
    before = network.model.get_weights()
    fit(run, network, State(), lambda step: bright(run, step), lambda *_: None)
    return before, network.finish().get_weights()


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_result_lies_between_the_first_weights_and_the_trained(start: Path, ema: float) -> None:
    """A share of the first weights is taken at the end alone: training itself goes on as without."""
    run = Run(modality="CT", initial=str(start), steps=5, batch=8, rate=1e-2, ema=ema)
    first, whole = trained(run)
    _, mixed = trained(run.model_copy(update={"initial_share": 0.25}))
    assert any(np.abs(old - new).max() > 1e-3 for old, new in zip(first, whole, strict=True))
    for old, new, between in zip(first, whole, mixed, strict=True):
        assert np.allclose(between, 0.25 * old + 0.75 * new, atol=1e-6)


def test_frozen_normalisation_stays_as_it_was(start: Path) -> None:
    """Statistics and scale of the normalisation layers do not move; kernels do."""
    run = Run(modality="CT", initial=str(start), steps=3, batch=4, frozen_normalisation=True)
    network = Network(run, TINY)
    before = {weight.path: weight.numpy().copy() for weight in network.model.weights}
    fit(run, network, State(), lambda step: bright(run, step), lambda *_: None)
    moved = {w.path for w in network.model.weights if not np.array_equal(before[w.path], w.numpy())}
    assert moved
    assert not any("normalization" in path for path in moved)


def test_weights_of_the_other_modality_lend_what_both_have(start: Path) -> None:
    """Features and the outputs of common regions are taken over by name; a new region begins untaught."""
    lent = load_weights(start)
    mr = replace(lent.definition, classes=CLASSES["MR"])
    model = started(start, mr)
    *body, kernel, _ = model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(body, lent.arrays[:-2], strict=True))
    for place, region in enumerate(CLASSES["MR"]):
        if region in lent.definition.classes:
            column = lent.arrays[-2][:, lent.definition.classes.index(region)]
            assert np.array_equal(kernel[:, place], column)
        else:
            assert not any(np.array_equal(kernel[:, place], column) for column in lent.arrays[-2].T)


def test_normalisation_of_nested_networks_is_frozen_too() -> None:
    """The paper's network holds its body as one layer; the layers in it are found."""
    import keras

    inner = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.BatchNormalization()])
    outer = keras.Sequential([keras.Input((8, 8, 1)), inner])
    freeze_normalisation(outer.layers)
    assert outer.trainable_variables == []


@pytest.mark.parametrize("position", [0.0, 1.0])
def test_going_on_from_a_checkpoint_is_as_if_never_stopped(
    start: Path, tmp_path: Path, position: float
) -> None:
    """Weights, moments, averages and random seeds come back: the weights end up the same, bit for bit."""
    run = Run(modality="CT", initial=str(start), steps=8, batch=4, ema=0.9)
    run = run.model_copy(update={"position": position})

    def batch(step: int) -> Batch:
        plain = bright(run, step)
        if not position:
            return plain
        two = bright(run.model_copy(update={"batch": 2, "seed": 9}), step)
        heights = np.concatenate([np.array([[0, 1], [1, 1]], np.float32), plain.heights])
        return Batch(
            np.concatenate([two.images, plain.images]),
            np.concatenate([0 * two.targets, plain.targets]),
            heights,
            2,
        )

    whole = Network(run, TINY)
    fit(run, whole, State(), batch, lambda *_: None)
    half = Network(run, TINY)
    with pytest.raises(Stopped) as stopped:
        fit(run, half, State(), lambda step: batch(step) if step < 4 else None, lambda *_: None)
    checkpoint.write(tmp_path, Checkpoint(stopped.value.state, tuple(half.arrays()), {"run": {}, "legs": []}))
    found = checkpoint.read(tmp_path)
    assert found is not None
    assert found.state == stopped.value.state
    again = Network(run, TINY)
    again.put_back(found.arrays)
    state = fit(run, again, found.state, batch, lambda *_: None)
    assert state.step == 8
    for one, other in zip(whole.arrays(), again.arrays(), strict=True):
        assert np.array_equal(one, other)


def test_damaged_checkpoint_is_a_sentence(tmp_path: Path) -> None:
    """A checkpoint that cannot be read is not silently trained over."""
    assert checkpoint.read(tmp_path) is None
    (tmp_path / checkpoint.NAME).write_bytes(b"PK no archive")
    with pytest.raises(RunError, match=r"checkpoint\.npz is damaged, --fresh starts anew"):
        checkpoint.read(tmp_path)


KNEE, THIGH = (Recipe(n=8, seed=name, patient_id=name) for name in ("P1", "P2"))


@pytest.fixture
def mine(tmp_path: Path, start: Path) -> Path:
    """A run's file on two series of a folder of one's own, both of training subjects."""
    write(tmp_path / "dicom" / "a", KNEE)
    write(tmp_path / "dicom" / "b", THIGH)
    lines = ["series_uid,region,from_mm,to_mm", f"{KNEE.series_uid},knee,-100,-80",
             f"{THIGH.series_uid},thigh,-100,-65"]  # fmt: skip
    (tmp_path / "dicom" / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    keys = {"modality": "CT", "initial": str(start), "data": None, "folders": [{"folder": "dicom"}],
            "steps": 6, "batch": 4, "out": "out"}  # fmt: skip
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(keys), encoding="utf-8")
    return path


def changed(path: Path, **keys: object) -> Run:
    """Load a run's file with some keys changed."""
    plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**plain, **keys}), encoding="utf-8")
    return load(path)


def order(run: Run) -> Order:
    """Return the order of a run on its folders."""
    scanned = [folder.scan(each.folder, each.table, run.modality) for each in run.folders]
    return Order(run, run.definition(), tuple(series for found in scanned for series in found))


@pytest.mark.parametrize("position", [0.0, 0.5])
def test_batches_depend_on_seed_and_step_alone(mine: Path, position: float) -> None:
    """Two processes that make every other batch give what one gives, from any step on."""
    run = changed(mine, position=position)
    material = gather(order(run))
    made = [batch_at(material, order(run), step) for step in range(5)]
    assert not np.array_equal(made[0].images, made[1].images)
    two = changed(mine, suppliers=2)
    with Supply(order(two), 2) as supply:
        for step in (2, 3, 4):
            batch = supply.get(step, lambda: False)
            assert batch is not None
            assert np.array_equal(batch.images, made[step].images)
            assert np.array_equal(batch.targets, made[step].targets)
            assert np.array_equal(batch.heights, made[step].heights)
        assert supply.get(5, lambda: True) is None


def test_supply_says_what_is_wrong(tmp_path: Path) -> None:
    """What goes wrong in the process that makes batches is a sentence of the run, not a hang."""
    run = Run(modality="CT", steps=1, data=tmp_path, images="real")
    with Supply(Order(run, TINY), 0) as supply, pytest.raises(RunError, match="no manifest at"):
        supply.get(0, lambda: False)
    with pytest.raises(RunError, match="nothing to train on"):
        gather(Order(run.model_copy(update={"data": None}), TINY))


def test_a_run_leaves_weights_record_and_logs(mine: Path) -> None:
    """The weights load, their card holds the record without a path, and nothing is left half done."""
    run = load(mine)
    done = train.train(run, QUIET)
    assert done == train.Trained(run.out / "ct.npz", before=False)
    weights = load_weights(done.weights)
    assert weights.definition == TINY
    written: dict[str, Any] = json.loads((run.out / "run.json").read_text(encoding="utf-8"))
    assert read_card(done.weights)["training"] == written
    assert str(mine.parent) not in json.dumps(written)
    assert (written["steps"], written["images_seen"], written["before"]) == (6, 24, {"steps": 0})
    assert written["config"]["folders"] == ["dicom"]
    assert [one["step"] for one in written["history"]] == [6]
    [leg] = written["legs"]
    assert leg["from_step"] == 0
    assert {"python", "keras", "numpy"} <= leg["versions"].keys()
    assert leg["backend"]
    assert leg["machine"]["cores"]
    assert len(written["data"]) == 64
    assert not (run.out / checkpoint.NAME).exists()
    assert list((run.out / "logs").glob("events.out.tfevents.*"))
    kept = json.loads((run.out / "split.json").read_text(encoding="utf-8"))
    assert len(kept["train"]) == 2
    assert "P1" not in str(kept)


def test_a_finished_run_is_not_trained_over(mine: Path) -> None:
    """The same run is done already; another one in its folder is refused; --fresh starts anew."""
    run = load(mine)
    first = train.train(run, QUIET).weights.read_bytes()
    assert train.train(run, QUIET) == train.Trained(run.out / "ct.npz", before=True)
    other = changed(mine, seed=2, rate=0.01)
    with pytest.raises(RunError, match=r"out holds a run that differs in rate, seed: --fresh starts anew"):
        train.train(other, QUIET)
    done = train.train(other, QUIET, fresh=True)
    assert not done.before
    assert done.weights.read_bytes() != first
    assert len(list((run.out / "logs").glob("events.out.tfevents.*"))) == 1


def test_changed_data_do_not_go_on(mine: Path) -> None:
    """A checkpoint of other data is refused: it would be no one run."""
    run = load(mine)
    train.train(run, QUIET)
    labels = mine.parent / "dicom" / "labels.csv"
    labels.write_text(labels.read_text(encoding="utf-8").replace("-80", "-75"), encoding="utf-8")
    with pytest.raises(RunError, match="differs in data"):
        train.train(run, QUIET)


def test_two_runs_in_one_folder_are_refused(mine: Path) -> None:
    """The folder is held while a run is going on."""
    run = load(mine)
    with train._alone(run.out), pytest.raises(RunError, match="another run is going on in"):
        train.train(run, QUIET)


def test_unknown_source_to_leave_out(tmp_path: Path) -> None:
    """A source that is misspelt would otherwise be trained on."""
    (tmp_path / "ct.csv").write_text(
        "file,source,subject,plane,labels,confidence,licence,use\nv.npz,here,a,axial,[],high,CC0,train\n",
        encoding="utf-8",
    )
    run = Run(modality="CT", steps=1, data=tmp_path, without=("there",), out=tmp_path / "o")
    with pytest.raises(RunError, match="without: there is no source 'there'; there are here"):
        train.train(run, QUIET)
