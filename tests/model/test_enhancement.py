"""Tests of the measure of contrast medium: what counts as enhanced, what does not, and the curve's fit."""

import json
from dataclasses import replace
from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest

from model.enhancement import Enhancement, bright_share
from model.series_labels import AXES, PARTS, WITH
from model.series_reader import MEASURE, NETWORK, SeriesReader
from model.series_stack import Plan
from model.series_weights import SHIPPED, load
from model.training import volume_cases, volume_contrast, volume_real
from model.training.data import DATA
from model.training.volume_cases import SeriesCase
from model.training.volume_draw import NOBODY
from model.volumes import STORED, Volume, laid
from model.weights_file import WeightsError

needs_data = pytest.mark.skipif(not (DATA / "ct.csv").is_file(), reason="the training data is not here")
SHAPE = (12, 80, 100)


def trunk(vessel_hu: float, ring_hu: float = 0.0) -> Volume:
    """Return a trunk of 45 HU in air with a vessel of 36 mm, and a ring of bone round marrow where given."""
    rng = np.random.default_rng(2)
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    plane = np.full(SHAPE[1:], -1000.0, np.float32)
    plane[((rows - 40) / 35) ** 2 + ((columns - 50) / 45) ** 2 < 1] = 45.0
    plane[(rows - 30) ** 2 + (columns - 35) ** 2 < 6**2] = vessel_hu
    if ring_hu:
        away = np.hypot(rows - 60, columns - 50)
        plane[away < 8] = ring_hu
        plane[away < 6] = 180.0
    noise = rng.normal(0, 8, SHAPE).astype(np.float32)
    return Volume(np.repeat(plane[np.newaxis], SHAPE[0], axis=0) + noise, (5.0, 3.0, 3.0))


def test_enhanced_blood_is_bright_and_even() -> None:
    """Unenhanced blood is no brighter than muscle; enhanced blood is, even denser than a rim of bone."""
    assert bright_share(trunk(40.0)) == 0.0
    venous, arterial = bright_share(trunk(160.0)), bright_share(trunk(420.0))
    assert venous is not None
    assert arterial is not None
    assert min(venous, arterial) > 0.01


def test_marrow_is_not_blood() -> None:
    """What lies within a ring of bone is left out, though as bright and even as blood."""
    assert bright_share(trunk(40.0, ring_hu=700.0)) == 0.0


def test_air_has_no_share() -> None:
    """A volume without soft tissue is not measured."""
    assert bright_share(Volume(np.full(SHAPE, -1000.0, np.float32), (5.0, 3.0, 3.0))) is None


def test_the_curve_survives_the_card() -> None:
    """Half at its middle, rising, and nonsense is refused."""
    curve = Enhancement(0.1, 2.0)
    assert Enhancement.from_json(curve.as_json()) == curve
    assert curve.probability(0.1) == pytest.approx(0.5)
    assert curve.probability(0.0) < 0.01 < 0.99 < curve.probability(1.0)
    assert curve.beside(0.1, 0.5) == pytest.approx(0.5)
    assert 0.5 < curve.beside(0.1, 0.8) < 0.8
    assert curve.beside(1.0, 0.0) > 0.9
    for wrong in ({"middle": 0.0, "slope": 1.0}, {"middle": 0.1, "slope": -1.0}):
        with pytest.raises(ValueError, match="no curve that rises"):
            Enhancement.from_json(wrong)


def case(volume: Volume, contrast: int, study: str) -> SeriesCase:
    """Return a chest as an axial series."""
    stack = laid(volume, "axial")
    planned = Plan((), np.arange(SHAPE[0], dtype=np.float64) * 5, 5.0, STORED["axial"], reach_mm=(0.0, 60.0))
    nobody = np.full(SHAPE[0], NOBODY, np.int8)
    return SeriesCase(study, study, "", stack, planned, PARTS.index("chest"), AXES.index("axial"), contrast,
                      nobody, True)  # fmt: skip


def test_the_curve_lies_between_the_two_kinds() -> None:
    """Its middle lies between what was enhanced and what was not; of one kind alone there is no curve."""
    plain, bright = trunk(102.0, ring_hu=700.0), trunk(160.0)
    low, high = bright_share(plain), bright_share(bright)
    assert low is not None
    assert high is not None
    curve = volume_contrast.fit([case(plain, 0, "a"), case(bright, 1, "b")])
    assert low < curve.middle < high
    assert curve.probability(low) < 0.5 < curve.probability(high)
    with pytest.raises(ValueError, match="with and without contrast medium"):
        volume_contrast.fit([case(plain, 0, "a")])


@needs_data
def test_real_trunks_are_told_by_the_shipped_curve() -> None:
    """Chests and spines of sources never trained on: measured, and right where contrast is known."""
    weights = load(SHIPPED)
    assert weights.enhancement is not None
    reader = SeriesReader(SHIPPED, weights)
    silent = SeriesReader(SHIPPED, replace(weights, enhancement=None))
    measured = 0
    for each in volume_cases.real(volume_cases.held_out(DATA, "evaluation")):
        if not each.whole or each.contrast == NOBODY or AXES[each.axis] != "axial":
            continue
        said = reader.predict(each.stack, each.planned)
        assert silent.predict(each.stack, each.planned).contrast_from == NETWORK
        if said.contrast_from == MEASURE:
            measured += 1
            assert (said.contrasts[WITH] > 0.5) == bool(each.contrast), each.name
    assert measured >= 2


@pytest.mark.parametrize(
    ("text", "told"),
    [("yes (vessels bright)", 1), ("no (PET-CT)", 0), ("yes (protocol name)", NOBODY), ("", NOBODY)],
)
def test_a_protocols_name_is_no_truth(text: str, told: int) -> None:
    """What was planned is not known to have been given."""
    assert volume_real._told(text) == told


def test_a_curve_of_nonsense_is_a_bad_card(tmp_path: Path) -> None:
    """A card whose curve falls is refused with the path."""
    path = tmp_path / "ct_series.npz"
    copyfile(SHIPPED, path)
    card = json.loads(SHIPPED.with_suffix(".json").read_text(encoding="utf-8"))
    wrong = {**card, "enhancement": {"middle": -1, "slope": 1}}
    path.with_suffix(".json").write_text(json.dumps(wrong), encoding="utf-8")
    with pytest.raises(WeightsError, match="malformed"):
        load(path)
