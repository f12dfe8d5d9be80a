"""Preprocessing: what may and what may not change a network input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.preprocess import (
    BODY,
    FIELD_MM,
    PHYSICAL,
    SIZED,
    WHOLE,
    believable,
    body_box,
    fitted_shape,
    network_input,
    normalise,
)


def picture(rows: int = 60, columns: int = 80, seed: int = 0) -> NDArray[np.float32]:
    """Return a bright disc with noise on dark air, float32 (rows, columns)."""
    v, u = np.ogrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    noise = np.random.default_rng(seed).normal(0, 20, (rows, columns))
    return (np.where(u * u + v * v < 0.5, 40.0, -1000.0) + noise).astype(np.float32)


def everywhere(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return a mask that calls every pixel valid."""
    return np.ones(values.shape, np.bool_)


def test_shape_and_range() -> None:
    """An input is float32 (size, size, 1) within the clip limits of plus and minus two."""
    values = picture()
    values[0, 0] = 1e6
    made = network_input(values, everywhere(values), 64)
    assert made.shape == (64, 64, 1)
    assert made.dtype == np.float32
    assert -2.001 <= made.min() < made.max() <= 2.001


def test_mean_and_std_are_those_of_the_paper() -> None:
    """Without outliers the result is (x - mean) / (2 std)."""
    values = picture()
    expected = (values - values.mean()) / (2 * values.std())
    assert np.allclose(normalise(values, everywhere(values)), expected, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 100), st.floats(-5000, 5000))
def test_scale_and_offset_do_not_matter(factor: float, offset: float) -> None:
    """An image in other units, as every MR scanner has its own, gives the same input."""
    values = picture()
    other = (values * np.float32(factor) + np.float32(offset)).astype(np.float32)
    mask = everywhere(values)
    assert np.allclose(network_input(values, mask, 32), network_input(other, mask, 32), atol=0.02)


@pytest.mark.parametrize("padding", [-2000.0, -32768.0, 30000.0, np.nan])
def test_padding_value_has_no_effect(padding: float) -> None:
    """What stands in padding pixels changes nothing, be it far below, far above or no number."""
    values = picture()
    valid = everywhere(values)
    valid[:, :20] = False
    air = np.where(valid, values, np.float32(-1000))
    padded = np.where(valid, values, np.float32(padding))
    assert np.array_equal(network_input(padded, valid, 48), network_input(air, valid, 48))


def test_padding_enters_neither_mean_nor_std() -> None:
    """The valid part is normalised as if the padding were not there at all."""
    values = picture()
    valid = everywhere(values)
    valid[30:] = False
    alone = normalise(values[:30], everywhere(values[:30]))
    assert np.allclose(normalise(values, valid)[:30], alone, atol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(60, 120), (120, 60), (33, 100), (300, 40)])
def test_aspect_ratio_is_kept(rows: int, columns: int) -> None:
    """A wide or tall image is centred in the square with its proportions, filled up with air."""
    values = np.full((rows, columns), 100.0, np.float32)
    values[0, 0] = 0.0
    made = network_input(values, everywhere(values), 64)[:, :, 0]
    body = made > made.min() + 0.5
    scale = 64 / max(rows, columns)
    assert body.any(axis=1).sum() == pytest.approx(rows * scale, abs=1)
    assert body.any(axis=0).sum() == pytest.approx(columns * scale, abs=1)


def test_pixels_that_are_not_square() -> None:
    """Rows twice as far apart as columns make a square matrix twice as high as wide."""
    assert fitted_shape(100, 100, 64, aspect=2.0) == (64, 32)
    assert fitted_shape(100, 100, 64, aspect=0.5) == (32, 64)


def test_border_is_air_not_zero() -> None:
    """The square is filled up with the darkest value of the image, so that no border shows."""
    values = picture(40, 80)
    made = network_input(values, everywhere(values), 64)[:, :, 0]
    assert np.all(made[:10] == made.min())
    assert made.min() < -0.3


@pytest.mark.parametrize("values", [np.zeros((9, 9), np.float32), np.full((9, 9), 7e4, np.float32)])
def test_constant_image_becomes_zeros(values: NDArray[np.float32]) -> None:
    """An image of a single value has no spread to divide by and becomes zeros, not NaN."""
    assert np.array_equal(network_input(values, everywhere(values), 16), np.zeros((16, 16, 1), np.float32))


def test_image_of_padding_alone_becomes_zeros() -> None:
    """An image without a single valid pixel becomes zeros."""
    values = picture()
    assert not network_input(values, np.zeros(values.shape, np.bool_), 16).any()


def test_shapes_must_agree() -> None:
    """A mask of another shape is an error, not a broadcast."""
    with pytest.raises(ValueError, match="has no meaning"):
        network_input(picture(), np.ones((3, 3), np.bool_), 16)


def small_body(bright: float = 50.0) -> NDArray[np.float32]:
    """Return a disc of 40 pixels' diameter, off-centre in 200 x 300 pixels of air with noise."""
    v, u = np.ogrid[:200, :300]
    noise = np.random.default_rng(1).normal(0, 10, (200, 300))
    return (np.where((v - 60) ** 2 + (u - 220) ** 2 < 400, bright, -1000.0) + noise).astype(np.float32)


def test_body_fills_the_square() -> None:
    """A small body in a large field of view is cut out with a margin, and fills most of the input."""
    values = small_body()
    top, bottom, left, right = body_box(values, everywhere(values))
    assert 32 <= top <= 40 < 80 <= bottom <= 88
    assert 192 <= left <= 200 < 240 <= right <= 248
    made = network_input(values, everywhere(values), 64, preprocessing=BODY)[:, :, 0]
    whole = network_input(values, everywhere(values), 64)[:, :, 0]
    assert (made > 0).mean() > 10 * (whole > 0).mean()


def test_whole_is_the_default() -> None:
    """Weights whose card names no preprocessing are served with the whole image, as ever."""
    values = small_body()
    mask = everywhere(values)
    assert np.array_equal(network_input(values, mask, 64), network_input(values, mask, 64, (0.7, 0.7), WHOLE))


def test_second_leg_stays_and_a_speck_goes() -> None:
    """Parts of a tenth of the largest one's area are kept, a cable beside the patient is not."""
    values = small_body()
    values[40:80, 20:50] = 50.0
    values[180:186, 280:286] = 50.0
    top, bottom, left, right = body_box(values, everywhere(values))
    assert left <= 20
    assert right < 280
    assert bottom < 180
    assert top <= 40


def test_grey_bands_are_cut_away() -> None:
    """Bands of one grey beside and above an image change nothing of the input."""
    values = small_body()
    banded = np.pad(values, ((0, 0), (30, 50)), constant_values=-400.0)
    banded = np.pad(banded, ((7, 0), (0, 0)), constant_values=-500.0)
    plain = network_input(values, everywhere(values), 64, preprocessing=BODY)
    assert np.array_equal(network_input(banded, everywhere(banded), 64, preprocessing=BODY), plain)


def test_padding_does_not_move_the_box() -> None:
    """Padding pixels count as air, whatever number stands in them."""
    values = small_body()
    valid = everywhere(values)
    valid[120:] = False
    padded = np.where(valid, values, np.float32(32767))
    assert body_box(padded, valid) == body_box(np.where(valid, values, values[valid].min()), valid)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 5))
def test_box_lies_inside_of_any_image(rows: int, columns: int, seed: int) -> None:
    """Whatever the image holds, the box is not empty and does not leave it."""
    rng = np.random.default_rng(seed)
    values = (rng.random((rows, columns)) < 0.02 * seed).astype(np.float32)
    top, bottom, left, right = body_box(values, rng.random((rows, columns)) < 0.9)
    assert 0 <= top < bottom <= rows
    assert 0 <= left < right <= columns


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 100), st.floats(-5000, 5000))
def test_box_does_not_depend_on_units(factor: float, offset: float) -> None:
    """Scale and offset move the box by a pixel of the small copy at most."""
    values = small_body()
    other = (values * np.float32(factor) + np.float32(offset)).astype(np.float32)
    boxes = [body_box(image, everywhere(image)) for image in (values, other)]
    assert np.abs(np.subtract(boxes[0], boxes[1])).max() <= 4


def disc(diameter: int, size: int = 200) -> NDArray[np.float32]:
    """Return a bright disc in the middle of air, in pixels."""
    y, x = np.mgrid[:size, :size] - size // 2
    return np.where(y * y + x * x < diameter * diameter / 4, np.float32(50), np.float32(-1000))


def test_physical_scale_shows_the_same_size_alike() -> None:
    """A disc of 100 mm covers the same share of the square whatever the pixel size; unknown pixels fit it."""
    fine, coarse = disc(100), disc(50)
    shown = [
        network_input(image, everywhere(image), 80, (mm, mm), PHYSICAL)
        for image, mm in ((fine, 1.0), (coarse, 2.0))
    ]
    areas = [float((one > 0).mean()) for one in shown]
    assert areas[0] == pytest.approx(areas[1], rel=0.1)
    assert areas[0] == pytest.approx(np.pi * 50**2 / FIELD_MM**2, rel=0.15)
    unknown = network_input(fine, everywhere(fine), 80, None, PHYSICAL)
    assert np.array_equal(unknown, network_input(fine, everywhere(fine), 80, None, BODY))


def test_physical_scale_crops_what_is_larger_than_its_square() -> None:
    """Of a body wider than the square only the middle is left, at full scale."""
    image = disc(190)
    made = network_input(image, everywhere(image), 80, (4.0, 4.0), PHYSICAL)
    assert made.shape == (80, 80, 1)
    assert np.ptp(made) == 0 or (made[40] > 0).mean() > 0.95


def test_the_size_in_mm_stands_in_a_second_channel() -> None:
    """The second channel grows by a quarter each octave, and is zero where the size is not known."""
    image = disc(180)
    plain = network_input(image, everywhere(image), 64, None, BODY)
    values = []
    for mm in (1.0, 2.0):
        made = network_input(image, everywhere(image), 64, (mm, mm), SIZED)
        assert made.shape == (64, 64, 2)
        assert np.array_equal(made[:, :, :1], plain)
        assert np.ptp(made[:, :, 1]) == 0
        values.append(float(made[0, 0, 1]))
    assert values[1] - values[0] == pytest.approx(0.25)
    unknown = network_input(image, everywhere(image), 64, (0.0, 0.0), SIZED)
    assert not unknown[:, :, 1].any()


@pytest.mark.parametrize(
    "spacing", [None, (0.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0), (300.0, 300.0), (5.0, 0.1)]
)
def test_a_spacing_that_cannot_be_true_is_unknown(spacing: tuple[float, float] | None) -> None:
    """Zero, negative, giant, wildly oblong or missing pixel spacings count as square pixels."""
    assert believable(spacing) is None
    assert np.array_equal(
        network_input(picture(), everywhere(picture()), 32, spacing),
        network_input(picture(), everywhere(picture()), 32, None),
    )


def test_lines_tables_and_tubes_are_not_the_body() -> None:
    """A viewer's line, a table's arc and a tube do not widen the box; the other leg does."""
    image = np.random.default_rng(1).normal(-1000, 8, (300, 300)).astype(np.float32)
    y, x = np.mgrid[:300, :300]
    image[(y - 100) ** 2 + (x - 100) ** 2 < 40**2] = 40
    alone = body_box(image, everywhere(image))
    image[:, 290:293] = 600
    image[270:275, :] = 200
    image[(y - 20) ** 2 + (x - 200) ** 2 < 5**2] = 300
    assert body_box(image, everywhere(image)) == pytest.approx(alone, abs=3)
    image[(y - 100) ** 2 + (x - 220) ** 2 < 35**2] = 40
    assert body_box(image, everywhere(image))[3] > 250
