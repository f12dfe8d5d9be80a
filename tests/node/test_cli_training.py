"""`bodytag train` as a process: real signals, resuming, sentences; and a node that loads none of it."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from model.networks import SMALL, Definition, build
from model.regions import CLASSES
from model.training import checkpoint
from model.weights_file import Weights, load, save
from tests.builders import Recipe, write
from tests.harness import wait_until

TRAIN = [sys.executable, "-m", "node", "train", "--config"]
STEPS = 240


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two labelled series, and the untrained weights of a very small network."""
    place = tmp_path_factory.mktemp("train")
    lines = ["series_uid,region,from_mm,to_mm"]
    for name, region in (("P1", "knee"), ("P2", "thigh")):
        recipe = Recipe(n=8, seed=name, patient_id=name)
        write(place / "dicom" / name, recipe)
        lines.append(f"{recipe.series_uid},{region},-100,-65")
    (place / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    tiny = Definition(SMALL, CLASSES["CT"], size=32, widths=(4, 8), blocks=1)
    save(place / "tiny.npz", build(tiny), tiny, {"modality": "CT", "temperature": 1.0, "training": {}})
    return place


def config(folder: Path, name: str, **keys: object) -> Path:
    """Write a run's file and return its path."""
    plain: dict[str, Any] = {
        "modality": "CT", "initial": "tiny.npz", "data": None, "steps": STEPS, "batch": 4, "ema": 0.9,
        "folders": [{"folder": "dicom", "labels": "labels.csv"}], "out": name, **keys,
    }  # fmt: skip
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(plain), encoding="utf-8")
    return path


def run(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run([*TRAIN, str(path), *options], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def whole(folder: Path) -> Weights:
    """The weights of a run that was never stopped."""
    done = run(config(folder, "whole"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"wrote {folder / 'whole' / 'ct.npz'}\n")
    return load(folder / "whole" / "ct.npz")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_goes_on_to_the_same_weights(
    folder: Path, whole: Weights, number: signal.Signals
) -> None:
    """Stopped by a signal and started again, a run ends with the weights of one that was never stopped."""
    name = f"stopped{number}"
    stopped = config(folder, name)
    log = folder / f"{name}.log"
    with log.open("w") as file:
        process = subprocess.Popen([*TRAIN, str(stopped)], stdout=file, stderr=file)
        wait_until(lambda: "step 50 (" in log.read_text(), "fifty steps")
        process.send_signal(number)
        assert process.wait(120) == 1, log.read_text()
    kept = checkpoint.read(folder / name)
    assert kept is not None
    assert 50 <= kept.state.step < STEPS
    assert log.read_text().endswith(
        f"stopped after step {kept.state.step}; the same command goes on from there\n"
    )
    again = run(stopped)
    assert again.returncode == 0, again.stderr
    found, goes_on = again.stdout.splitlines()[:2]
    assert found == "dicom: 2 series, 16 labelled images of 2 subjects, 0 of them kept for validation"
    assert goes_on == f"goes on from step {kept.state.step}"
    weights = load(folder / name / "ct.npz")
    assert weights.digest == whole.digest
    assert [leg["from_step"] for leg in weights.card["training"]["legs"]] == [0, kept.state.step]


def test_a_killed_run_leaves_nothing_behind(folder: Path) -> None:
    """After a kill the process that makes batches ends too, and the folder is free for the same run."""
    path = config(folder, "killed")
    log = folder / "killed.log"
    with log.open("w") as file:
        process = subprocess.Popen([*TRAIN, str(path)], stdout=file, stderr=file)
        wait_until(lambda: "step 50 (" in log.read_text(), "fifty steps")
        helpers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(120)
    assert helpers
    wait_until(lambda: not any(helper.is_running() for helper in helpers), "no process is left")
    again = run(config(folder, "killed", steps=60))
    assert again.returncode == 0, again.stderr
    assert "wrote" in again.stdout


def test_mistakes_are_sentences(folder: Path) -> None:
    """A wrong key, labels that do not fit and missing data end with status 2 and one line."""
    wrong = run(config(folder, "wrong", speed=1))
    assert (wrong.returncode, wrong.stderr) == (
        2,
        f"error: {folder / 'wrong.yaml'}: speed: is no known key\n",
    )
    bad = folder / "bad.csv"
    bad.write_text("series_uid,region,from_mm,to_mm\n1.2.3,knee,0,1\n", encoding="utf-8")
    unfit = run(config(folder, "unfit", folders=[{"folder": "dicom", "labels": "bad.csv"}]))
    assert unfit.returncode == 2
    assert unfit.stderr == f"error: {bad}: line 2: there is no series 1.2.3 in {folder / 'dicom'}\n"
    absent = run(config(folder, "absent", data="nowhere"))
    assert absent.returncode == 2
    assert "no manifest at" in absent.stderr
    assert "Traceback" not in absent.stderr


def test_a_node_loads_no_training() -> None:
    """Neither the commands nor the running node import training, Keras or TensorFlow."""
    script = (
        "import sys, node.cli, node.service; "
        "print([name for name in sys.modules if name.startswith(('model.training', 'keras', 'tensorflow'))])"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


def test_two_networks_become_one_file(folder: Path, whole: Weights) -> None:
    """`bodytag ensemble` writes one file of two; what does not fit is a sentence and status 2."""
    path = folder / "whole" / "ct.npz"
    command = [sys.executable, "-m", "node", "ensemble"]
    out = folder / "pair" / "ct.npz"
    done = subprocess.run([*command, path, path, "--out", out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"wrote {out}, SHA-256 {load(out).digest}")
    assert load(out).definition.members == 2
    assert len(load(out).arrays) == 2 * len(whole.arrays)
    alone = subprocess.run([*command, path, "--out", out], capture_output=True, text=True, check=False)
    assert (alone.returncode, alone.stderr) == (2, "error: an ensemble needs two weights files or more\n")
