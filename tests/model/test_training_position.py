"""The position output: pairs of slices, their distance as the label, and what is saved of it."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.networks import SMALL, Definition, build
from model.regions import CT_CLASSES
from model.training.bodies import Body, Site
from model.training.data import Row, Stack, samples
from model.training.fit import Network
from model.training.position import FARTHEST_MM, UNIT_MM, Pairs, attach, distance_loss, pairs_in
from model.training.run import Run
from model.training.sampler import Pool, Sampler, grouped
from model.training.supply import Batch
from model.weights_file import load, restore, save

CLASSES = ("knee", "hand")
TINY = Definition(SMALL, CT_CLASSES, size=32, widths=(4, 8), blocks=1, dropout=0.0)


def stack(region: str = "knee", n: int = 40, step_mm: float = 5.0, volume: bool = True) -> Stack:
    """Return a volume of n slices, a quarter of it labelled, brighter from feet to head."""
    row = Row("CT", "f", "s", "a", "axial", ((n // 4, n // 2, region),), "", True, "high", "CC0", "train")
    images = np.full((n, 40, 40), -1000, np.int16)
    images[:, 10:30, 10:30] = 10 * np.arange(n)[:, None, None]
    return Stack(row, tuple(images), volume, (2.0, 2.0), np.arange(n, dtype=np.float64) * step_mm)


def plain(tensor: object) -> NDArray[np.float32]:
    """Return what Keras gave, whatever its backend, as an array."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float32)


def sampler(stacks: tuple[Stack, ...], bodies: tuple[tuple[Body, Site], ...] = ()) -> Sampler:
    """Return a sampler of these stacks."""
    pool = Pool(CLASSES, "CT", grouped(samples(stacks, CLASSES)), {}, {"knee": bodies} if bodies else {})
    return Sampler(pool, 32, (1, 2))


def test_pairs_have_the_distance_of_their_slices() -> None:
    """Slices without a label count too, the lower one comes first, and none are too far apart."""
    mine = (stack(n=200),)
    rng = np.random.default_rng(0)
    drawn = [Pairs(mine, ()).draw(sampler(mine), rng) for _ in range(100)]
    distances = np.array([pair.distance_mm for pair in drawn])
    assert distances.min() >= 0
    assert 300 < distances.max() <= FARTHEST_MM
    assert np.all(distances % 5 == 0)
    assert all(pair.signed and pair.images.shape == (2, 32, 32, 1) for pair in drawn)
    assert drawn[0].targets[1, 0] * UNIT_MM == pytest.approx(drawn[0].distance_mm)


def test_sign_is_not_known_along_an_arm() -> None:
    """A hand may lie above the head; the distance between two of its slices counts without a sign."""
    mine = (stack("hand"),)
    rng = np.random.default_rng(0)
    signed = [Pairs(mine, ()).draw(sampler(mine), rng).signed for _ in range(60)]
    assert not all(signed)
    assert any(signed)  # slices without a label are taken as they lie


def test_only_volumes_with_positions_give_pairs() -> None:
    """Single images, and stacks of unknown order, are left out."""
    lone, loose = stack(n=4, step_mm=0.0), stack(volume=False)
    assert not Pairs((lone, loose), ())
    assert Pairs.of(Pool(CLASSES, "CT", grouped(samples([stack()], CLASSES)), {}, {}))


def test_bodies_give_pairs() -> None:
    """Without real volumes pairs are cut out of the anatomies, with legs or arms in view."""
    part = np.zeros((60, 30, 30), np.uint8)
    part[:, 8:22, 8:22] = 1
    body = Body("b", np.where(part > 0, 3, 0).astype(np.uint8), part, 10.0, ())
    bodies = ((body, Site("knee", 5, 50, ((1,),))),)
    drawer, rng = sampler((), bodies), np.random.default_rng(0)
    pairs = Pairs.of(drawer._pool)
    assert pairs
    for _ in range(10):
        pair = pairs.draw(drawer, rng)
        assert pair.signed
        assert 0 <= pair.distance_mm <= FARTHEST_MM
        assert np.isfinite(pair.images).all()
        assert pair.images.std() > 0.05


def test_loss_is_that_of_the_differences() -> None:
    """Heights may have any origin; without a known sign either sign will do; Huber beyond one unit."""
    targets = np.array([[0, 1], [2, 1], [0, 0], [2, 0], [0, 1], [2, 1], [9, 9]], np.float32)
    heights = np.array([[7], [9], [1], [-1], [0], [-2], [5]], np.float32)
    loss = plain(distance_loss(6)(targets, heights))
    assert loss.tolist() == pytest.approx([0.0, 0.0, 3.5])


def toy(batch: int, paired: int, seed: int) -> Batch:
    """Return a batch whose images are as bright as they lie high; bright ones are of the second class."""
    rng = np.random.default_rng(seed)
    heights = rng.uniform(-1, 1, paired + batch).astype(np.float32)
    heights[:paired] = np.sort(heights[:paired].reshape(-1, 2), axis=1).ravel()
    noise = rng.normal(0, 0.05, (paired + batch, 32, 32, 1)).astype(np.float32)
    targets = np.eye(len(CT_CLASSES), dtype=np.float32)[(heights > 0).astype(int)]
    targets[:paired] = 0
    told = np.zeros((paired + batch, 2), np.float32)
    told[:paired] = np.stack([heights[:paired], np.ones(paired)], axis=1)
    return Batch(heights[:, None, None, None] + noise, targets, told, paired)


def test_position_is_learnt_and_only_the_classifier_is_saved(tmp_path: Path) -> None:
    """Both losses fall; the saved weights are those of the named network and load as the node loads them."""
    import keras

    keras.utils.set_random_seed(1)
    start = tmp_path / "start.npz"
    save(start, build(TINY), TINY, {"modality": "CT", "temperature": 1.0, "training": {}})
    run = Run(modality="CT", initial=str(start), steps=120, batch=16, position=1.0, smoothing=0.0)
    network = Network(run, run.definition())
    paired = 2 * pairs_in(16)
    learnt = [network.learn(toy(16, paired, step), 5e-3) for step in range(120)]
    first, last = learnt[:20], learnt[-20:]
    assert np.mean([one.distance for one in last]) < 0.5 * np.mean([one.distance for one in first])
    assert np.mean([one.loss for one in last]) < np.mean([one.loss for one in first])
    assert np.mean([one.accuracy for one in last]) > 0.85
    path = tmp_path / "ct.npz"
    model = network.finish()
    save(path, model, TINY, {"modality": "CT", "temperature": 1.0, "training": {}})
    again = restore(path, load(path))
    images: NDArray[np.float32] = toy(8, 2, 99).images
    assert plain(again(images)) == pytest.approx(plain(model(images)), abs=0.05)
    with pytest.raises(ValueError, match="0 paired slices where 4 belong"):
        network.learn(toy(16, 0, 0), 1e-3)


def test_head_sits_on_the_features_of_the_last_layer() -> None:
    """The second output shares every layer but its own with the classifier."""
    model = build(TINY)
    both = attach(model)
    images = np.zeros((3, 32, 32, 1), np.float32)
    said = both(images)
    assert plain(said["classes"]) == pytest.approx(plain(model(images)))
    assert said["position"].shape == (3, 1)
    assert len(both.weights) == len(model.weights) + 2
