"""Sagittal and coronal images for training: cut from anatomies and CT volumes, centred on their region."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.regions import MR_CLASSES
from model.training import split, upright
from model.training.bodies import Body, Site
from model.training.data import Row, Sample, Stack, usable
from model.training.sampler import Pool, Sampler, grouped
from tests.model.test_training_synthesis import only, person


def row(plane: str = "axial", ranges: tuple[tuple[int, int, str], ...] = ((0, 59, "abdomen"),)) -> Row:
    """Return the row of a CT volume."""
    return Row("CT", "v.npz", "s", "a", plane, ranges, "", True, "high", "CC0", "train")


def volume(n: int = 60, step_mm: float = 10.0) -> Sample:
    """Return the middle slice of a volume of n slices: muscle with a column of bone behind its middle."""
    image = np.full((60, 80), -1000, np.int16)
    image[10:50, 10:70] = 50
    image[36:44, 36:44] = 600
    heights = np.arange(n, dtype=np.float64) * step_mm
    stack = Stack(row(), tuple(image.copy() for _ in range(n)), True, (5.0, 5.0), heights)
    return Sample(stack, n // 2, "abdomen")


def bone(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Mark compact and spongy bone of tissue classes."""
    return np.isin(values, (4, 5))


@pytest.mark.parametrize("region", ["lspine", "cspine"])
def test_a_spine_runs_down_its_picture(region: str) -> None:
    """Most cuts show the column of an invented body, which is but 20 mm wide; where they do, along rows."""
    body = person()
    rng = np.random.default_rng(0)
    cuts = [upright.cut(body, only(body.sites, region), rng) for _ in range(20)]
    rows = [float(bone(cut.values).any(axis=1).mean()) for cut in cuts]
    assert sum(share > 0 for share in rows) > len(rows) / 2
    assert max(rows) > 0.5
    for cut in cuts:
        top, left, bottom, right = cut.field
        low, high = upright.HEIGHT_MM[region]
        assert low - 1 <= (bottom - top) * cut.spacing_mm <= high + 1
        assert 0 <= top < bottom <= cut.values.shape[0]
        assert 0 <= left < right <= cut.values.shape[1]


def test_limbs_without_a_line_are_not_cut_lengthwise() -> None:
    """A site round all parts of both legs has no middle that a plane could follow."""
    sites = [site for site in person().sites if site.region == "knee"]
    assert {upright.possible(site) for site in sites} == {False, True}
    assert not any(upright.possible(site) for site in person().sites if site.region == "abdomen_chest")


def test_a_ct_volume_is_reformatted_round_the_sample() -> None:
    """A plane along the body has the body's height in view, in pixels as wide as they are high."""
    rng = np.random.default_rng(1)
    cuts = [upright.reformat(volume(), "abdomen", rng) for _ in range(40)]
    found = [cut for cut in cuts if cut is not None]
    assert len(found) > 10
    for cut in found:
        top, _, bottom, _ = cut.field
        assert 250 <= (bottom - top) * cut.spacing_mm <= 430
        assert -1000 <= float(np.min(cut.values)) <= float(np.max(cut.values)) <= 600


def test_the_middle_of_the_trunk_is_the_spine() -> None:
    """Planes that are lent to the spine go through its bone; sagittal ones of the trunk stay beside it."""
    rng = np.random.default_rng(2)
    lent = [upright.reformat(volume(), "lspine", rng) for _ in range(20)]
    assert np.mean([float(np.max(cut.values)) > 500 for cut in lent if cut is not None]) > 0.5


def test_short_volumes_and_other_regions_in_view_give_nothing() -> None:
    """A volume that is too short for the view, or mostly of another region, is not reformatted."""
    rng = np.random.default_rng(3)
    assert all(upright.reformat(volume(12), "abdomen", rng) is None for _ in range(10))
    mixed = volume()
    other = row(ranges=((0, 28, "chest"), (29, 31, "abdomen"), (32, 59, "pelvis")))
    stack = Stack(other, mixed.stack.images, True, mixed.stack.spacing_mm, mixed.stack.positions_mm)
    assert upright.reformat(Sample(stack, 30, "abdomen"), "abdomen", rng) is None


def test_the_share_of_upright_images_is_drawn() -> None:
    """With a share of one every region that has a view is drawn lengthwise; the others axial, as before."""
    body = person()
    classes = ("lspine", "abdomen_chest")
    sites: dict[str, tuple[tuple[Body, Site], ...]] = {
        name: ((body, only(body.sites, name)),) for name in classes
    }
    sampler = Sampler(Pool(classes, "MR", {}, {}, sites, {}, 1.0), 64, 0)
    assert sampler._upright("lspine") is not None
    assert sampler._upright("abdomen_chest") is None
    images, targets = sampler.batch(6)
    assert images.shape == (6, 64, 64, 1)
    assert np.isfinite(images).all()
    assert (targets.sum(axis=1) == 1).all()


def test_real_sagittal_images_are_drawn() -> None:
    """A region without an anatomy (breast) comes lengthwise from its own sagittal images."""
    images = tuple(np.full((30, 20), level, np.uint8) for level in (10, 20, 30))
    images[1][5:25, 5:15] = 200
    stack = Stack(row("sagittal", ((1, 1, "breast"),)), images, True, (2.0, 2.0), np.arange(3.0))
    people = grouped([Sample(stack, 1, "breast")])
    sampler = Sampler(Pool(MR_CLASSES, "MR", people, {}, {}, people, 1.0), 64, 0)
    drawn = [sampler._upright("breast") for _ in range(30)]
    assert 3 <= sum(one is not None for one in drawn) <= 27


def test_planes_are_divided_apart() -> None:
    """Sagittal and coronal rows are asked for by themselves."""
    rows = [row("axial"), row("sagittal"), row("coronal"), row("oblique (short axis)")]
    assert [one.plane for one in usable(rows, ("train",))] == ["axial", "oblique (short axis)"]
    assert [one.plane for one in usable(rows, ("train",), upright=True)] == ["sagittal", "coronal"]


def test_sagittal_subjects_do_not_move_axial_ones() -> None:
    """Who has axial images is divided by these alone, whoever has sagittal ones."""

    def of(plane: str, subject: str) -> Row:
        return Row("MR", "f", "s", subject, plane, ((0, 3, "knee"),), "", False, "high", "CC0", "train")

    axial = [of("axial", f"a{number}") for number in range(20)]
    both = [of("sagittal", f"a{number}") for number in range(20)]
    alone = [of("sagittal", f"s{number}") for number in range(40)]
    before, after = split.make_split(axial), split.make_split([*axial, *both, *alone])
    assert {name for name in after.validation if name.startswith("a")} == before.validation
    assert any(name.startswith("s") for name in after.validation)
