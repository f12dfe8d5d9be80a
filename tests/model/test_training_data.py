"""Manifests and split: label ranges as given, no subject on two sides."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.regions import CLASSES, CT_CLASSES
from model.training import split
from model.training.data import BORDER_MM, Row, load, read_manifest, samples, true_subject, usable
from model.training.sampler import (
    BORDER_SHARE,
    Choice,
    Pool,
    Sampler,
    grouped,
    make_pool,
    part_samples,
    second_reading,
    shares,
)

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
needs_data = pytest.mark.skipif(
    not (SHARED / "ct.csv").is_file(), reason="the training data ../shared/data is not here"
)

COLUMNS = ("file", "source", "subject", "plane", "labels", "hounsfield", "confidence", "licence", "use")


def manifest(folder: Path, *lines: dict[str, object]) -> Path:
    """Write a small ct.csv and return its folder."""
    base = {"source": "s", "subject": "a", "plane": "axial", "hounsfield": "yes", "confidence": "high",
            "licence": "CC0", "use": "train", "labels": "[]", "file": ""}  # fmt: skip
    with (folder / "ct.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({**base, **line} for line in lines)
    return folder


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A data folder with one volume of ten slices, slice i filled with i."""
    stack = np.repeat(np.arange(10, dtype=np.int16), 16 * 12).reshape(10, 16, 12)
    np.savez(tmp_path / "v.npz", hu=stack, spacing=np.ones(3))
    labels = [[1, 3, "chest"], [4, 4, "head_neck_boundary"], [6, 8, "neck"]]
    return manifest(tmp_path, {"file": "v.npz", "labels": json.dumps(labels)})


def test_ranges_are_inclusive_and_gaps_have_no_label(volume: Path) -> None:
    """Slices 1 to 3 are chest, 6 to 8 neck; boundaries and what lies outside are not used."""
    (row,) = read_manifest(volume, "CT")
    found = samples([load(volume, row)], CT_CLASSES)
    assert [(s.index, s.label) for s in found] == [
        (1, "chest"), (2, "chest"), (3, "chest"), (6, "neck"), (7, "neck"), (8, "neck"),
    ]  # fmt: skip
    assert all((s.values() == s.index).all() for s in found)


def test_targets_soften_towards_the_region_beside(volume: Path) -> None:
    """The nearer another region begins in mm, the more of it is in the target; a lone image is certain."""
    found = samples([load(volume, row) for row in read_manifest(volume, "CT")], CT_CLASSES)
    by_index = {s.index: s.beside or ("", 0.0) for s in found}
    expected = {3: ("neck", 3.0), 1: ("neck", 5.0), 6: ("chest", 3.0)}
    for index, (region, away_mm) in expected.items():
        assert by_index[index][0] == region
        assert by_index[index][1] == pytest.approx(1 - away_mm / BORDER_MM)
    near, far = (second_reading(s) for s in found if s.index in (3, 1))
    assert near is not None
    assert far is not None
    assert 0.0 < min(near[1], far[1]) < max(near[1], far[1]) <= BORDER_SHARE
    whole = Pool(CT_CLASSES, "CT", grouped(found), {}, {})
    targets = Sampler(whole, 32, seed=1).batch(40)[1]
    assert np.allclose(targets.sum(axis=1), 1.0)
    assert ((targets > 0).sum(axis=1) == 2).all()


def test_glob_of_images_is_one_stack_in_order(tmp_path: Path) -> None:
    """A row may be a glob; its slices are the sorted files."""
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"i_{i}.png"), np.full((8, 8), 10 * i, np.uint8))
    data = manifest(tmp_path, {"file": "i_*.png", "labels": '[[1, 2, "knee"]]'})
    found = samples([load(data, row) for row in read_manifest(data, "CT")], CT_CLASSES)
    assert [float(s.values().mean()) for s in found] == [10.0, 20.0]
    assert not found[0].stack.volume


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A manifest that names what is not there is an error with the path."""
    data = manifest(tmp_path, {"file": "nothing_*.png"})
    with pytest.raises(FileNotFoundError, match="nothing_"):
        load(data, read_manifest(data, "CT")[0])


def test_only_usable_rows(tmp_path: Path) -> None:
    """Evaluation rows, other planes and labels of low confidence do not train."""
    data = manifest(
        tmp_path,
        {"file": "a"}, {"file": "b", "use": "eval"}, {"file": "c", "plane": "coronal"},
        {"file": "d", "confidence": "low"}, {"file": "e", "plane": "oblique (short axis)"},
    )  # fmt: skip
    assert [row.file for row in usable(read_manifest(data, "CT"), ("train",))] == ["a", "e"]


@pytest.mark.parametrize(
    ("name", "person"),
    [("oncoray/mirp/STS_001", "STS_001"), ("STS_001", "STS_001"), ("VHF", "VisibleHumanFemale"),
     ("owner/repo/unknown", "owner/repo/unknown")],
)  # fmt: skip
def test_true_subject(name: str, person: str) -> None:
    """One person has one name, whatever repository or modality the images came from."""
    assert true_subject(name) == person


def row(modality: str, subject: str, region: str, use: str = "train") -> Row:
    """Return a row of one slice."""
    return Row(modality, "f", "s", subject, "axial", ((0, 0, region),), "", True, "high", "CC0", use)


def test_split_keeps_a_person_on_one_side() -> None:
    """A person with CT and MR, or in two sources, is in one part; eval rows stay out of the others."""
    rows = [row("CT", f"p{i}", "knee") for i in range(20)] + [
        row("MR", f"x/y/p{i}", "thigh") for i in range(20)
    ]
    rows += [row("CT", f"x/p{i}", "hand", "eval") for i in range(3)]
    found = split.make_split(rows)
    assert not found.train & found.validation
    assert not found.evaluation & (found.train | found.validation)
    assert found.evaluation == {"p0", "p1", "p2"}
    assert len(found.validation) == pytest.approx(0.2 * 17, abs=1)


def test_split_does_not_depend_on_order() -> None:
    """The same rows in another order give the same split."""
    rows = [row("CT", f"p{i}", ("knee", "head", "foot")[i % 3]) for i in range(40)]
    assert split.make_split(rows) == split.make_split(rows[::-1])


def test_rare_regions_keep_their_training_subjects() -> None:
    """With two subjects a region gives none to validation, unless the demonstration needs one."""
    rows = [row("CT", name, "elbow") for name in ("a", "b")]
    assert split.make_split(rows).validation == frozenset()
    assert split.make_split(rows, frozenset({"b"})).validation == {"b"}


def test_kept_split_has_no_subject_twice() -> None:
    """The split in the repository has three disjoint parts, and the demonstration's subjects held out."""
    kept = split.read()
    assert not kept.train & kept.validation
    assert not kept.train & kept.evaluation
    assert not kept.validation & kept.evaluation
    assert kept.validation >= split.DEMONSTRATION
    assert len(kept.train) > 200


@needs_data
def test_kept_split_is_what_the_manifests_give() -> None:
    """Making the split anew gives the file in the repository, so that it can be reproduced."""
    rows = (*read_manifest(SHARED, "CT"), *read_manifest(SHARED, "MR"))
    assert split.make_split(rows) == split.read()


@needs_data
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_no_licence_forbids_training(modality: str) -> None:
    """No row that trains is marked non-commercial."""
    kept = split.read()
    for one in usable(read_manifest(SHARED, modality), ("train",)):
        if true_subject(one.subject) in kept.train:
            assert "non-commercial" not in one.licence
            assert "BY-NC" not in one.licence


def test_parts_load_only_their_subjects(volume: Path) -> None:
    """A part of the split has the samples of its own subjects and no others."""
    mine = split.Split(frozenset({"a"}), frozenset(), frozenset())
    other = split.Split(frozenset({"b"}), frozenset({"a"}), frozenset())
    assert len(part_samples(volume, "CT", CT_CLASSES, mine, "train")) == 6
    assert part_samples(volume, "CT", CT_CLASSES, other, "train") == ()


def test_sampler_is_balanced_and_repeats(volume: Path) -> None:
    """Regions come equally often whatever their number of slices, and a seed gives the same batch."""
    mine = split.Split(frozenset({"a"}), frozenset(), frozenset())
    real = grouped(part_samples(volume, "CT", CT_CLASSES, mine, "train")[:4])
    pool = Pool(("chest", "neck"), "CT", real, {}, {})
    images, targets = Sampler(pool, 32, seed=5).batch(200)
    assert images.shape == (200, 32, 32, 1)
    assert np.isfinite(images).all()
    assert 70 < targets[:, 0].sum() < 130
    assert np.array_equal(images[:8], Sampler(pool, 32, seed=5).batch(8)[0])


def test_what_there_is_can_be_drawn(volume: Path) -> None:
    """Shares of real, borrowed and synthetic images sum to one; a region without any is never drawn."""
    mine = split.Split(frozenset({"a"}), frozenset(), frozenset())
    real = grouped(part_samples(volume, "CT", CT_CLASSES, mine, "train"))
    pool = Pool(CLASSES["CT"], "CT", real, {}, {})
    for region in CLASSES["CT"]:
        assert sum(shares(pool, region)) == pytest.approx(1.0 if region in real else 0.0)
    targets = Sampler(pool, 32, seed=5).batch(64)[1]
    assert {CLASSES["CT"][index] for index in targets.argmax(axis=1)} == set(real)


def test_regions_can_be_omitted(volume: Path) -> None:
    """An omitted region is neither drawn nor in any target, not even beside another."""
    mine = split.Split(frozenset({"a"}), frozenset(), frozenset())
    pool = make_pool(volume, "CT", CT_CLASSES, mine, Choice(images="real", omitted=("head",)))
    assert set(pool.real) == {"chest", "neck"}
    assert make_pool(volume, "CT", CT_CLASSES, mine, Choice(images="real", omitted=("neck",))).real == {}


def test_sources_and_synthesis_can_be_left_out(volume: Path) -> None:
    """A run may do without a source, and without synthetic images."""
    mine = split.Split(frozenset({"a"}), frozenset(), frozenset())
    pool = make_pool(volume, "CT", CT_CLASSES, mine, Choice(images="real"))
    assert pool.sites == {}
    assert pool.real
    source = next(iter(pool.real.values())).groups[0][0].stack.row.source
    assert make_pool(volume, "CT", CT_CLASSES, mine, Choice(images="real", without=(source,))).real == {}
