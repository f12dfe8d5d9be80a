"""Tests of the texture within tissues: where it lies, how strong it is, and what it leaves alone."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.training import texture
from model.training.physique import FAT, MUSCLE
from model.training.sequences import contrast

CORTICAL, SPONGY = 4, 5


def limb() -> NDArray[np.uint8]:
    """Return a limb's cut: a bone with marrow in muscle, under fat, in air."""
    rows, columns = np.ogrid[-60:60, -60:60]
    away = np.hypot(rows, columns)
    cut = np.zeros((120, 120), np.uint8)
    for radius, tissue in ((50, FAT), (42, MUSCLE), (15, CORTICAL), (11, SPONGY)):
        cut[away < radius] = tissue
    return cut


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator of one seed."""
    return np.random.default_rng(4)


def test_bundles_and_patches_stay_within_their_tissues(rng: np.random.Generator) -> None:
    """Muscle alone is bundled, fat and marrow alone are patchy; both by about as much as was asked for."""
    cut, flat = limb(), np.full((120, 120), 0.5, np.float32)
    bundled = texture.bundled(flat, cut, 1.0, 0.1, rng)
    patchy = texture.patchy(flat, cut, 1.0, 0.1, rng)
    assert (bundled != flat)[cut == MUSCLE].all()
    assert (bundled == flat)[cut != MUSCLE].all()
    assert (patchy == flat)[~np.isin(cut, (FAT, SPONGY))].all()
    assert 0.02 < bundled[cut == MUSCLE].std() < 0.4
    assert 0.02 < patchy[cut == FAT].std() < 0.4


def test_fat_suppression_fails_towards_one_side(rng: np.random.Generator) -> None:
    """Fat is as suppressed as drawn somewhere, brighter somewhere else, never beyond its own brightness."""
    cut, flat = limb(), np.full((120, 120), 0.1, np.float32)
    ranges = []
    for _ in range(20):
        values = texture.unevenly_suppressed(flat, cut, 5.0, rng)
        assert (values == flat)[~np.isin(cut, (FAT, SPONGY))].all()
        ranges.append((float(values[cut == FAT].min()), float(values[cut == FAT].max())))
    assert all(0.1 <= low <= high <= 0.5 + 1e-6 for low, high in ranges)
    assert sum(high > 0.3 for _, high in ranges) >= 10
    assert sum(low < 0.15 for low, _ in ranges) >= 10


def test_joints_are_lined_beside_their_bones(rng: np.random.Generator) -> None:
    """Cartilage lies on bone, fluid on cartilage, both within 8 mm; bones stay whole."""
    cut = limb()
    seen = set[int]()
    for _ in range(20):
        lined = texture.lined(cut, 1.0, rng)
        changed = lined != cut
        assert not changed[np.isin(cut, texture.BONES)].any()
        rows, columns = np.nonzero(changed)
        assert (np.hypot(rows - 60, columns - 60) < 15 + 8).all()
        seen |= set(np.unique(lined[changed]).tolist())
    assert seen == {texture.CARTILAGE, texture.FLUID}
    air = np.zeros((30, 30), np.uint8)
    assert (texture.lined(air, 1.0, rng) == air).all()


def test_fading_bones_become_soft_and_nothing_else(rng: np.random.Generator) -> None:
    """What fades lies between the bone's own value and the soft one."""
    cut, flat = limb(), np.full((120, 120), 900.0, np.float32)
    faded = texture.fading(flat, cut, 1.0, 50.0, rng)
    bone = np.isin(cut, texture.BONES)
    assert (faded == flat)[~bone].all()
    assert faded[bone].min() >= 50.0
    assert faded[bone].max() <= 900.0
    assert faded[bone].std() > 20.0


def test_sequences_say_how_far_fat_is_suppressed() -> None:
    """The factor brings suppressed fat back to its own brightness; without suppression it is 1."""
    found = [contrast(np.random.default_rng(seed)) for seed in range(200)]
    times = np.array([each.suppressed_times for each in found])
    fat = np.array([float(each.table[FAT]) for each in found])
    assert 0.2 < (times > 1.0).mean() < 0.6
    assert times.min() == 1.0
    assert times.max() <= 20.0
    assert fat[times > 5].max() < 0.4
