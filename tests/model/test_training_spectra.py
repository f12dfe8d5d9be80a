"""The look of one image in the shape of another."""

import numpy as np

from model.training.spectra import Exchange, mixed


def _square(noise: float, seed: int) -> np.ndarray:
    image = np.random.default_rng(seed).normal(0.0, noise, (64, 48)).astype(np.float32)
    image[16:48, 12:36] += 1.0
    return image


def test_shape_stays_and_look_changes() -> None:
    """A clean square mixed with grain is grainy, and lies where it lay."""
    clean, grain = _square(0.0, 1), np.random.default_rng(2).normal(0.0, 1.0, (80, 80)).astype(np.float32)
    found = mixed(clean, grain, 0.5)
    assert found.shape == clean.shape
    assert found.dtype == np.float32
    assert np.corrcoef(found.ravel(), clean.ravel())[0, 1] > 0.5
    assert found[20:44, 16:32].std() > 0.02
    assert found.min() >= clean.min()


def test_nothing_of_the_other_is_the_image_itself() -> None:
    """A share of 0 changes nothing, nor does an image of one value, as given or as taken from."""
    image = _square(0.1, 3)
    assert np.allclose(mixed(image, _square(0.3, 4), 0.0), image, atol=1e-4)
    flat = np.full((64, 48), 7.0, np.float32)
    assert np.array_equal(mixed(flat, image, 1.0), flat)
    assert np.array_equal(mixed(image, flat, 1.0), image)


def test_images_are_exchanged_with_earlier_ones_alone() -> None:
    """The first image has nobody to exchange with, a share of none changes none, a seed repeats itself."""
    first, second = _square(0.0, 5), _square(0.3, 6)
    always, never = Exchange(1.0), Exchange(0.0)
    assert np.array_equal(always(first, np.random.default_rng(1)), first)
    assert np.array_equal(never(first, np.random.default_rng(1)), first)
    changed = always(second, np.random.default_rng(2))
    assert not np.allclose(changed, second, atol=1e-3)
    assert np.array_equal(never(second, np.random.default_rng(2)), second)
    again = Exchange(1.0)
    again(first, np.random.default_rng(1))
    assert np.array_equal(again(second, np.random.default_rng(2)), changed)
