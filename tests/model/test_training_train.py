"""Training: the schedule of a run, and what the demonstration expects."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.networks import SMALL, Definition, build
from model.training.demonstration import Series, regions_of
from model.training.train import Plan, before, fit, progress, rate_at
from model.weights_file import save

TINY = Definition(SMALL, ("dark", "bright"), size=32, widths=(4, 8), blocks=1)


def test_rate_rises_then_falls() -> None:
    """The learning rate warms up over 3 % of the run and ends at a hundredth of its top."""
    plan = Plan("CT", rate=1e-3)
    rates = [rate_at(plan, done) for done in np.linspace(0, 1, 101)]
    assert rates[0] == pytest.approx(1e-4)
    assert int(np.argmax(rates)) == 3
    assert rates[-1] == pytest.approx(1e-5)
    assert np.all(np.diff(rates[3:]) < 0)


def test_progress_is_by_steps_or_by_time() -> None:
    """Half the steps or half the minutes is half the run, and it never passes the end."""
    plan = Plan("CT", steps=100, minutes=10)
    assert progress(plan, 50, 0.0) == 0.5
    assert progress(plan, 1, 300.0) == 0.5
    assert progress(plan, 200, 0.0) == 1.0
    assert progress(Plan("CT", steps=100), 10, 1e9) == 0.1


@pytest.mark.parametrize(
    ("text", "regions"),
    [("hand", {"hand"}), ("pelvis/hip", {"pelvis"}), ("neck (C5..C2)", {"neck"}),
     ("lumbar spine", {"lspine"}), ("abdomen-chest", {"abdomen_chest"}), ("calf/foot-transition", set()),
     ("abdomen+pelvis (2 axial abdomen, 2 coronal)", {"abdomen", "pelvis"})],
)  # fmt: skip
def test_free_text_of_the_samples(text: str, regions: set[str]) -> None:
    """The samples' manifests name regions in free text; transitions are not scored."""
    assert regions_of(text, "CT") == regions


def test_expected_region_by_slice() -> None:
    """A slice outside every range has nothing expected of it."""
    sample = Series(Path("x"), ((0, 2, frozenset({"hand"})),))
    assert sample.expected(2) == {"hand"}
    assert sample.expected(3) == frozenset()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of a very small network."""
    path = tmp_path_factory.mktemp("start") / "ct.npz"
    save(path, build(TINY), TINY, {"modality": "CT", "temperature": 1.0, "training": {"steps": 0}})
    return path


def test_going_on_keeps_the_network(start: Path) -> None:
    """A run that starts from weights trains their network, with the plan's preprocessing; the card tells."""
    assert Plan("CT", start=start).definition == replace(TINY, preprocessing="body")
    assert Plan("CT", start=start, preprocessing="whole").definition == TINY
    assert before(start) == {"steps": 0}
    assert before(None) is None


def test_training_learns(start: Path) -> None:
    """Forty steps suffice to tell bright images from dark ones with the real training loop."""
    plan = Plan("CT", start=start, steps=40, batch=16, rate=1e-2, smoothing=0.0)
    rng = np.random.default_rng(0)
    queue = multiprocessing.get_context("spawn").Queue()
    for _ in range(plan.steps):
        kinds = rng.integers(0, 2, plan.batch)
        images = rng.normal(0, 0.3, (plan.batch, 32, 32, 1)) + (2.0 * kinds - 1.0)[:, None, None, None]
        queue.put((images.astype(np.float32), np.eye(2, dtype=np.float32)[kinds]))
    model = fit(plan, queue)
    probe = np.stack([np.full((32, 32, 1), level, np.float32) for level in (-1.0, 1.0)])
    assert np.asarray(model(probe, training=True)).argmax(axis=1).tolist() == [0, 1]
