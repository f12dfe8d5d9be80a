"""Synthetic slices: sites where the landmarks say, intensities that look like their modality."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model.regions import CT_CLASSES
from model.training import augment, diffusion, looks, physique, texture
from model.training.bodies import TISSUES, Body, Landmarks, Site, all_sites, centre_line, load_bodies
from model.training.implants import implanted
from model.training.sampler import sites_of
from model.training.sequences import ANY, FAMILIES, GROUPS, OFTEN, SUPPRESSED, contrast
from model.training.synthesis import (
    HOUNSFIELD,
    _oblique,
    draw,
    hounsfield_table,
    mr_from_ct,
    with_other,
)

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
needs_data = pytest.mark.skipif(
    not (SHARED / "anatomy").is_dir(), reason="the anatomies of ../shared/data are not here"
)

HEIGHTS = {
    "vertex": 1700.0, "skull_base_foramen_magnum": 1560.0, "odontoid_tip": 1555.0, "C7_T1": 1440.0,
    "T1_bottom_est": 1420.0, "lung_apex": 1425.0, "diaphragm_dome_liver_top": 1260.0, "lung_base": 1210.0,
    "T12_bottom": 1160.0, "L4_bottom_aortic_bif_est": 1040.0, "S2_S3_est": 950.0,
    "pubis_ischium_bottom": 840.0, "body_bottom": 10.0,
}  # fmt: skip
SIDE = {
    "AC_joint_top": 1450.0, "lesser_trochanter_est": 838.0, "femur_top": 910.0, "femur_distal_sixth": 590.0,
    "tibia_proximal_sixth": 465.0, "tibia_distal_third": 255.0,
}  # fmt: skip
LIMBS = {
    "humerus": {
        "proximal_end": (1430, 60, 40),
        "proximal_sixth": (1380, 60, 40),
        "distal_sixth": (1180, 60, 40),
    },
    "forearm": {"proximal_sixth": (1115, 60, 40), "distal_sixth": (950, 60, 40)},
    "hand": {"finger_tip_bone": (800, 60, 40)},
    "femur": {"proximal_end": (905, 60, 60)},
}


def marks(spacing_mm: float = 10.0) -> Landmarks:
    """Return the landmarks of an invented person."""
    sides = ("right", "left")
    heights = {**HEIGHTS, **{f"{name}_{side}": mm for name, mm in SIDE.items() for side in sides}}
    limbs = {f"{name}_{side}": axis for name, axis in LIMBS.items() for side in sides}
    return Landmarks({"z_mm": heights, "limbs": limbs}, spacing_mm)


def person(spacing_mm: float = 10.0) -> Body:
    """Return an invented body: a block of muscle with a column of bone, the same at every height."""
    tissue = np.zeros((172, 14, 20), np.uint8)
    tissue[:, 3:11, 4:16] = 3
    tissue[:, 7:9, 9:11] = 5
    part = np.ones(tissue.shape, np.uint8)
    part[:84] = 4
    part[80:146, :, 4:6] = 2
    part[80:146, :, 14:16] = 3
    part[:84, :, 10:] = 5
    limbs = {limb: centre_line(part == limb) for limb in (2, 3, 4, 5)}
    sites = all_sites(marks(spacing_mm), centre_line(tissue == 5), limbs)
    return Body("invented", tissue, part, spacing_mm, sites)


def only(sites: tuple[Site, ...], region: str) -> Site:
    """Return the first site of a region."""
    return next(site for site in sites if site.region == region)


@pytest.mark.parametrize(
    ("region", "low", "high"),
    [("head", 1560, 1700), ("neck", 1425, 1560), ("chest", 1260, 1425), ("abdomen_chest", 1210, 1260),
     ("abdomen", 1040, 1210), ("pelvis", 840, 1040), ("thigh", 590, 838), ("knee", 465, 590),
     ("calf", 255, 465), ("foot", 10, 255), ("shoulder", 1380, 1450), ("arm", 1180, 1380),
     ("elbow", 1115, 1180), ("forearm", 950, 1115), ("hand", 800, 950), ("cspine", 1420, 1555),
     ("tspine", 1160, 1440), ("lspine", 950, 1185)],
)  # fmt: skip
def test_sites_lie_between_their_landmarks(region: str, low: float, high: float) -> None:
    """Every site ends within 13 mm (3 mm of caution, one slice) inside its two landmarks."""
    site = only(person().sites, region)
    assert low < 10 * site.first <= low + 13
    assert high - 13 <= 10 * site.last < high


def test_every_ct_class_has_a_site() -> None:
    """A body gives images of all 18 outputs of the CT model."""
    assert {site.region for site in person().sites} == set(CT_CLASSES)


def test_parts_out_of_view_are_air() -> None:
    """A hand is drawn without the pelvis beside it."""
    body = person()
    hand = only(body.sites, "hand")
    values = draw(body, hand, "CT", np.random.default_rng(0)).values
    # a hand of 20 mm in a window a little wider than it; the trunk would fill 120 mm
    assert (values > -500).sum() < 60


def test_limbs_are_cut_obliquely() -> None:
    """An arm cut at a slant shows longer than it is deep in some draws; what is not in view is air."""
    body = person()
    lone = Body("arm", np.where(body.part == 2, 3, 5).astype(np.uint8), body.part, 10.0, body.sites)
    rng = np.random.default_rng(0)
    cuts = [_oblique(lone, only(body.sites, "arm"), 112, (2,), 2, rng) for _ in range(20)]
    assert all(cut.shape == (2, 41, 41) and set(np.unique(cut)) == {0, 3} for cut, _ in cuts)
    lengths = [int(cut[0].any(axis=1).sum()) for cut, _ in cuts]
    assert min(lengths) >= 14
    assert max(lengths) >= 18
    for _, (top, left, bottom, right) in cuts:
        assert top < 20 < bottom
        assert left < 20 < right


def ramp() -> NDArray[np.float32]:
    """Return an image that brightens from left to right."""
    return np.tile(np.linspace(0.1, 1.0, 80, dtype=np.float32), (80, 1))


def test_diffusion_maps_have_holes() -> None:
    """Where there was little signal a map of the ADC holds nothing or anything, elsewhere the image."""
    nothing = 0
    for seed in range(10):
        cut = diffusion.holed(ramp(), np.random.default_rng(seed))
        assert cut.shape == (80, 80)
        assert cut[:, 70:].mean() > 0.8
        assert cut[:, :8].std() > 0.1 or (cut[:, :8] == 0).mean() > 0.9
        nothing += 0.1 < (cut == 0).mean() < 0.75
    assert nothing >= 5


def test_distortion_moves_and_piles_up_but_keeps_the_signal() -> None:
    """Signal is moved, not made: its sum stays about the same, its shape does not."""
    image = np.zeros((96, 96), np.float32)
    image[30:66, 30:66] = 1.0
    for seed in range(10):
        moved = diffusion.distorted(image, np.random.default_rng(seed))
        assert moved.shape == image.shape
        assert moved.min() >= 0
        assert moved.sum() == pytest.approx(image.sum(), rel=0.15)
        assert not np.array_equal(moved, image)


def test_strong_weighting_drowns_in_noise() -> None:
    """Air is no longer dark: the noise of a magnitude is above zero everywhere."""
    image = np.zeros((96, 96), np.float32)
    image[30:66, 30:66] = 1.0
    for seed in range(5):
        noisy = diffusion.drowned(image, np.random.default_rng(seed))
        assert noisy.min() >= 0
        assert noisy[:20].mean() > 0.02
        assert noisy[40:56, 40:56].mean() > noisy[:20].mean()


def test_vessels_are_painted_within_the_body_of_angiograms() -> None:
    """What an angiogram gains is as bright as its vessels, and begins in the body."""
    cut = np.zeros((80, 80), np.uint8)
    cut[20:60, 20:60] = physique.MUSCLE
    values = np.where(cut > 0, np.float32(0.1), np.float32(0))
    painted = texture.vessels(values, cut, 1.0, 0.9, np.random.default_rng(2))
    changed = painted != values
    assert set(painted[changed].tolist()) == {np.float32(0.9)}
    assert changed[20:60, 20:60].sum() > 0.5 * changed.sum() > 0
    empty = np.zeros((8, 8), np.uint8)
    assert not texture.vessels(empty.astype(np.float32), empty, 1.0, 0.9, np.random.default_rng(2)).any()


def test_field_of_view_follows_the_spine() -> None:
    """A spine's field of view is centred on the vertebra at that height."""
    column = np.zeros((30, 20, 20), np.bool_)
    for z in range(30):
        column[z, 5 + z // 10, 8] = True
    centres = centre_line(column)
    assert centres.shape == (30, 2)
    assert centres[0].tolist() == [5, 8]
    assert centres[29].tolist() == [7, 8]


def test_hounsfield_values_stay_in_their_order() -> None:
    """However they jitter, air is below lung, lung below fat, fat below muscle, muscle below bone."""
    for seed in range(20):
        table = hounsfield_table(np.random.default_rng(seed))
        assert table[0] < table[8] < table[2] < table[3] < table[4]
    assert HOUNSFIELD.shape == (TISSUES,)


def test_mr_brightness_keeps_the_order_of_its_sequence() -> None:
    """Air gives no signal, compact bone hardly any; on T2 fluid outshines muscle."""
    seen = set()
    for seed in range(300):
        drawn = contrast(np.random.default_rng(seed))
        table = drawn.table
        seen.add(drawn.family)
        assert table.shape == (TISSUES,)
        assert table[0] == 0
        assert table.min() >= 0
        assert table[4] < 0.12
        if drawn.family == "t2":
            assert table[11] > table[3]
        if drawn.family == "fat":
            assert table[2] > 4 * table[3]
        if drawn.opposed:
            assert drawn.family in ("t1", "gre")
            assert table[2] > table[3] or drawn.family == "gre"
    assert seen == {*FAMILIES, ANY}


def test_prostates_are_drawn_more_often_in_mr_alone() -> None:
    """What MR is asked for more often is no more often a CT; every other site counts once."""
    body = person()
    counts = {name: len(sites_of([body], name, ("pelvis",))["pelvis"]) for name in ("CT", "MR")}
    assert counts["CT"] == sum(site.region == "pelvis" for site in body.sites)
    assert counts["MR"] == counts["CT"] + 1
    assert sites_of([body], "MR", ("knee",)).keys() == {"knee"}


def test_spines_are_not_drawn_as_diffusion() -> None:
    """Axial spines are scanned with other sequences; a pelvis is drawn with every family."""
    for region, without in (("lspine", {"dwi", "adc", "mra"}), ("pelvis", set[str]())):
        seen = {contrast(np.random.default_rng(seed), region).family for seed in range(300)}
        assert seen == {*FAMILIES, ANY} - without


def test_finer_voxels_keep_the_shape_and_add_no_class() -> None:
    """Three times finer: a disc stays a disc, and no class comes up that was not there."""
    y, x = np.mgrid[:60, :60]
    disc = np.where((y - 30) ** 2 + (x - 30) ** 2 < 400, np.uint8(physique.MUSCLE), np.uint8(0))
    fine = physique.finer(disc, 3)
    assert fine.shape == (180, 180)
    assert set(np.unique(fine)) == {0, physique.MUSCLE}
    assert abs(np.count_nonzero(fine) / (9 * np.count_nonzero(disc)) - 1) < 0.02


def test_vessels_lie_in_fat_and_muscle_alone() -> None:
    """Vessels and tendons are drawn where there is fat or muscle; everything else stays as it was."""
    cut = np.zeros((80, 80), np.uint8)
    cut[10:70, 10:40], cut[10:70, 40:70] = physique.MUSCLE, 4
    drawn = physique.supplied(cut, 1.0, np.random.default_rng(3))
    changed = drawn != cut
    assert changed.any()
    assert set(cut[changed]) == {physique.MUSCLE}
    assert set(drawn[changed]) <= {physique.VESSEL, physique.TENDON}
    assert (physique.supplied(np.zeros_like(cut), 1.0, np.random.default_rng(3)) == 0).all()


def test_the_other_hand_lies_beside_the_one() -> None:
    """The one limb stays where it was, its mirror image comes to the right of it, and nothing else."""
    one = np.zeros((2, 40, 50), np.uint8)
    one[:, 10:20, 5:15], one[:, 12:15, 7:10] = 3, 4
    both, field = with_other(one, (8.0, 3.0, 22.0, 17.0), np.random.default_rng(1), one)
    assert np.array_equal(both[:, :, :15], one[:, :, :15])
    assert np.bincount(both[:, :, 15:].ravel())[1:].tolist() == np.bincount(one.ravel())[1:].tolist()
    assert field[:3] == (8.0, 3.0, 22.0)
    assert field[3] >= 17.0
    nothing = np.zeros((1, 8, 8), np.uint8)
    assert with_other(nothing, (0.0, 0.0, 8.0, 8.0), np.random.default_rng(1), nothing)[0].shape == (1, 8, 8)


def test_every_tissue_has_its_place_in_every_family() -> None:
    """The groups cover the tissue classes once each, and every family knows every group."""
    tissues = sorted(tissue for group in GROUPS.values() for tissue in group)
    assert tissues == list(range(TISSUES))
    for family in FAMILIES.values():
        assert set(family) == set(GROUPS)
    assert set(OFTEN) == set(SUPPRESSED) == set(FAMILIES)


def test_muscles_are_parted_by_fat_alone() -> None:
    """Layers between muscles are fat, thin, and nowhere but in muscle."""
    cut = limb()
    changed = physique.parted(cut, 2.0, np.random.default_rng(3)) != cut
    assert 0 < changed.sum() < 0.5 * (cut == physique.MUSCLE).sum()
    assert (cut[changed] == physique.MUSCLE).all()


def test_mr_from_ct_has_dark_air_and_dark_cortex() -> None:
    """In an MR image made of a CT, air and compact bone are dark beside soft tissue."""
    ct = np.full((30, 30), -1000, np.float32)
    ct[5:25, 5:25] = 60
    ct[12:18, 12:18] = 1200
    for seed in range(10):
        rng = np.random.default_rng(seed)
        mr = mr_from_ct(ct, contrast(rng), rng)
        assert mr[0, 0] < 0.05
        assert mr[15, 15] < 0.1


def checks() -> NDArray[np.float32]:
    """Return a bright square on air, in Hounsfield units."""
    image = np.full((90, 120), -1000, np.float32)
    image[20:70, 30:100] = 50
    return image


def test_fields_of_view_keep_the_body_in_sight() -> None:
    """Whatever field of view is drawn, something of the body is in it, at a sensible size."""
    box = (0.0, 0.0, 90.0, 120.0)
    for seed in range(40):
        view = augment.reframe(checks(), box, -1000.0, augment.freedom("chest"), np.random.default_rng(seed))
        assert max(view.values.shape) == augment.CANVAS
        assert (view.values > 0).mean() > 0.04
        assert view.pixel[0] == pytest.approx(view.pixel[1], rel=0.05)
        assert 0.3 < view.pixel[0] * augment.CANVAS / 120 < 3.5 * 2.6


def test_slab_is_a_mean_or_a_maximum_of_neighbours() -> None:
    """A thick slab lies between its thinnest and its brightest slice."""
    stack = tuple(np.full((4, 4), float(i), np.float32) for i in range(9))
    for seed in range(10):
        value = float(augment.slab(stack, 4, np.random.default_rng(seed))[0, 0])
        assert 3.9 < value <= 7


@pytest.mark.parametrize("label", ["head", "knee"])
def test_looks_stay_finite(label: str) -> None:
    """Display windows, metal and noise leave a finite image of the same shape."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        for out in (
            looks.ct_look(checks(), label, rng),
            looks.grey_look(checks(), rng),
            looks.mr_look(checks() + 1000, label, rng),
            looks.mr_look(checks() + 1000, label, rng, "dwi"),
            looks.mr_look(checks() + 1000, label, rng, "adc"),
        ):
            assert out.shape == (90, 120)
            assert np.isfinite(out).all()


@needs_data
def test_real_anatomies_have_tissue_in_every_site() -> None:
    """In all three bodies every site has at least three slices, with its part of the body in them."""
    for body in load_bodies(SHARED):
        assert {site.region for site in body.sites} == set(CT_CLASSES)
        for site in body.sites:
            assert site.last - site.first >= 2
            middle = (site.first + site.last) // 2
            seen = body.tissue[middle] * np.isin(body.part[middle], site.parts[0])
            assert (seen > 0).any(), (body.name, site.region)


def limb() -> NDArray[np.uint8]:
    """Return a cut through a limb: bone, muscle, fat and skin in rings, on air."""
    y, x = np.mgrid[:80, :80] - 40
    away = np.hypot(y, x)
    cut = np.zeros((80, 80), np.uint8)
    for radius, tissue in ((26, physique.SKIN), (24, physique.FAT), (18, physique.MUSCLE), (6, 4)):
        cut[away <= radius] = tissue
    return cut


def test_fat_grows_under_the_skin_and_shrinks_without_touching_muscle() -> None:
    """A fatter cut is larger, a thinner one smaller; bone and muscle stay, and skin stays outermost."""
    cut = limb()
    more, less = physique.fatter(cut, 8.0), physique.thinner(cut, 4.0)
    assert (less > 0).sum() < (cut > 0).sum() < (more > 0).sum()
    for changed in (more, less):
        assert np.array_equal(changed == physique.MUSCLE, cut == physique.MUSCLE)
        assert np.array_equal(changed == 4, cut == 4)
        outermost = changed[40][np.flatnonzero(changed[40])[0]]
        assert outermost == physique.SKIN
    assert (more == physique.FAT).sum() > 1.5 * (cut == physique.FAT).sum()


def test_wasted_muscle_becomes_fat_and_nothing_else_changes() -> None:
    """Where muscle is lost there is fat, inside the same outline."""
    cut = limb()
    wasted = physique.wasted(cut, 5.0, np.random.default_rng(4))
    changed = wasted != cut
    assert changed.any()
    assert (cut[changed] == physique.MUSCLE).all()
    assert (wasted[changed] == physique.FAT).all()


def test_implants_are_bright_and_leave_the_image_as_it_came() -> None:
    """Metal reaches the scanner's limit somewhere, nothing leaves its range, the input is not written to."""
    image = np.full((120, 160), 40, np.float32)
    for seed in range(12):
        out = implanted(image, np.random.default_rng(seed))
        assert out.max() > 850
        assert out.max() <= 3071
        assert out.min() >= -1024
    assert (image == 40).all()
