"""What a run shows and records: lines, bar, event files; digest of the data, commit, history."""

import io
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tensorboardX.proto.event_pb2 import Event

from model.networks import SMALL, Definition
from model.regions import CLASSES
from model.training import record, split, watch
from model.training.fit import EVERY, Learnt, State
from model.training.run import Run
from model.training.watch import watching

TINY = Definition(SMALL, CLASSES["CT"], size=32, widths=(4, 8), blocks=1)


def watched(run: Run, console: Console, first: State, steps: int) -> State:
    """Let a run of so many steps be watched, each of half a second."""
    state = first
    with watching(run, state, console) as told:
        for _ in range(steps):
            state = state.after(state.seconds + 0.5, Learnt(2.0, 0.25, 0.125))
            told(state, 1e-3, state.step / (run.steps or 1))
    return state


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read the scalars of all event files: TFRecord is length, checksum, data, checksum."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
            data = data[16 + length :]
    return found


def test_lines_without_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Elsewhere than in a terminal a line comes every EVERY steps, and one at the end."""
    run = Run(modality="CT", steps=120, batch=8, out=tmp_path, position=1.0)
    watched(run, Console(file=io.StringIO()), State(), 120)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" (")[0] for line in lines] == [f"step {EVERY}", f"step {2 * EVERY}", "step 120"]
    assert lines[0].endswith(
        "(41.7 %) loss 2.000 accuracy 0.250 distance 0.125 rate 1.00e-03, 16 images/s, left 0:00:35"
    )


def test_a_bar_in_a_terminal(tmp_path: Path) -> None:
    """In a terminal one bar says loss, accuracy, pace and what is left; it fits into 110 columns."""
    shown = io.StringIO()
    run = Run(modality="CT", steps=10, batch=8, out=tmp_path)
    watched(run, Console(file=shown, force_terminal=True, width=110, legacy_windows=False), State(), 10)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue()).rstrip().splitlines()[-1]
    assert len(last) <= 110
    assert "step 10 loss 2.000 accuracy 0.250 rate 1.0e-03" in last
    assert "16 images/s" in last
    assert "left 0:00:00" in last


def test_pace_and_time_left_of_a_run_that_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was done before the stop makes neither the pace nor the time left better."""
    run = Run(modality="CT", steps=200, batch=8, out=tmp_path)
    watched(run, Console(file=io.StringIO()), State(step=100, seconds=1000.0), 50)
    assert "16 images/s, left 0:00:25" in capsys.readouterr().out


def test_event_files_hold_the_curves(tmp_path: Path) -> None:
    """TensorBoard finds loss, accuracy and rate, of the run's second part too, and none after `forget`."""
    run = Run(modality="CT", steps=150, out=tmp_path)
    state = watched(run, Console(file=io.StringIO()), State(), 100)
    watched(run, Console(file=io.StringIO()), state, 50)
    found = scalars(tmp_path / watch.LOGS)
    assert set(found) == {"loss", "accuracy", "rate"}
    assert sorted(found["loss"]) == [(50, 2.0), (100, 2.0), (150, 2.0)]
    watch.forget(tmp_path)
    assert scalars(tmp_path / watch.LOGS) == {}


def test_history_of_the_record_is_short() -> None:
    """A long run is told in about twenty points, the last step among them."""
    run = Run(modality="CT", steps=5000)
    state = State()
    for step in range(4990):
        state = state.after(float(step), Learnt(1.0, 0.5, 0.0))
    written = record.record(run, {"config": {}}, state, [])
    points = [one["step"] for one in written["history"]]
    assert points == sorted(points)
    assert 15 <= len(points) <= 30
    assert points[-1] == written["steps"] == 4990
    assert "distance_loss" not in json.dumps(written)


def data_folder(folder: Path, subject: str) -> Path:
    """Write a data folder with one volume of this subject."""
    folder.mkdir()
    np.savez(folder / "v.npz", hu=np.zeros((4, 8, 8), np.int16), spacing=np.ones(3))
    line = f'v.npz,here,{subject},axial,"[[0, 3, ""knee""]]",high,CC0,train'
    head = "file,source,subject,plane,labels,confidence,licence,use"
    (folder / "ct.csv").write_text(f"{head}\n{line}\n", encoding="utf-8")
    return folder


def test_digest_of_the_data(tmp_path: Path) -> None:
    """The same data give the same digest wherever they lie; another manifest or file another one."""
    subject = min(split.read().train)
    folders = [data_folder(tmp_path / name, subject) for name in "ab"]
    runs = [Run(modality="CT", steps=1, images="real", data=folder) for folder in folders]
    first, second = (record.data_digest(run, ()) for run in runs)
    assert first == second
    assert runs[1].data is not None
    np.savez(runs[1].data / "v.npz", hu=np.zeros((5, 8, 8), np.int16), spacing=np.ones(3))
    larger = record.data_digest(runs[1], ())
    assert larger != first
    (runs[1].data / "ct.csv").write_text(
        (runs[1].data / "ct.csv").read_text(encoding="utf-8").replace("0, 3", "0, 2"), encoding="utf-8"
    )
    assert record.data_digest(runs[1], ()) not in (first, larger)


def test_commit_of_another_repository_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here there is a commit; a copy that is installed somewhere, inside another repository, has none."""
    assert len(record.commit()["commit"]) == 40
    inside = record.ROOT / "model"
    monkeypatch.setattr(record, "ROOT", inside)
    assert record.commit() == {"commit": None, "dirty": None}
    monkeypatch.setattr(record, "ROOT", tmp_path)
    assert record.commit() == {"commit": None, "dirty": None}


def test_what_a_run_is_made_of_has_no_paths(tmp_path: Path) -> None:
    """Configuration, network and digests stand in the record; no folder of the machine does."""
    data = data_folder(tmp_path / "d", min(split.read().train))
    run = Run(modality="CT", steps=1, images="real", data=data, out=tmp_path / "o")
    made = record.made_of(run, TINY, ())
    assert str(tmp_path) not in json.dumps(made)
    assert set(made) == {"config", "network", "data", "split", "initial"}
    assert "suppliers" not in made["config"]
