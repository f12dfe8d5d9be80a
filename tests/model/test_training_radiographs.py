"""Training on radiographs: manifest, split by subject, augmentation, targets, projections, figures."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from model.networks import LITE
from model.preprocess import RADIOGRAPH
from model.radiographs import GROUPS, PART_KEYS
from model.training import drawn_films, film_evaluation, film_tables, radiographs
from model.training.film_protocols import Film
from model.training.projections import Voxels, projected
from model.training.radiograph_sampler import Sample, Sampler, make_pool, reframed, target
from model.training.run import Run, RunError, load
from model.training.supply import Order, batch_at, gather

GROUP_OF = {"chest": "adult_chest", "hand_wrist": "others", "whole_spine": "spine", "abdomen": "abdomen"}


def draw(index: int) -> NDArray[np.uint8]:
    """Draw one small film."""
    rng = np.random.default_rng(index)
    v, u = np.ogrid[-1:1:48j, -1:1:40j]
    return np.asarray(200 * np.exp(-(u**2 + v**2)) + rng.uniform(0, 40, (48, 40)), np.uint8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of twenty films of two sources, children among them."""
    (tmp_path / "xr").mkdir()
    columns = ("file", "source", "subject", "group", "part", "confidence", "licence", "use")
    with (tmp_path / "xr.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, columns)
        out.writeheader()
        for index in range(20):
            part = tuple(GROUP_OF)[index % 4]
            group = "pediatric_chest" if index % 8 == 0 else GROUP_OF[part]
            name = f"xr/{index}.png"
            cv2.imwrite(str(tmp_path / name), draw(index))
            row = (name, "ab"[index % 2], f"s{index // 2}", group, part, "high", "open", "train")
            out.writerow(dict(zip(columns, row, strict=True)))
    return tmp_path


def test_subjects_are_on_one_side(data: Path) -> None:
    """No subject of a source trains and validates; a source left out does neither."""
    rows = radiographs.read(data)
    train, held = radiographs.training(rows, ()), radiographs.validation(rows)
    assert len(train) + len(held) == len(rows)
    assert not {(r.source, r.subject) for r in train} & {(r.source, r.subject) for r in held}
    assert {row.source for row in radiographs.training(rows, ("a",))} == {"b"}


def test_films_of_scoliosis_may_be_called_thoracolumbar(data: Path) -> None:
    """Where a source's films of the whole spine show no neck, the second reading is right as well."""
    path = data / "xr.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",a,", ",aasce_cadma,"), encoding="utf-8")
    spines = [row for row in radiographs.read(data) if row.part == "spine"]
    assert {(row.source, row.also) for row in spines} == {("aasce_cadma", "tlspine")}
    path.write_text(path.read_text(encoding="utf-8").replace("aasce_cadma", "rfspine_num"), encoding="utf-8")
    assert {row.also for row in radiographs.read(data) if row.part == "spine"} == {""}


def test_no_manifest_is_one_sentence(tmp_path: Path) -> None:
    """A folder without films is told by its path."""
    with pytest.raises(FileNotFoundError, match=r"xr\.csv"):
        radiographs.read(tmp_path)


def test_targets_of_both_heads() -> None:
    """A second part that is right shares the target; without a part the second head is not taught."""
    pixels = draw(0)
    both = target(Sample(pixels, "others", "hand", "wrist", "a"))
    assert both[: len(GROUPS)].sum() == pytest.approx(1.0)
    assert both[len(GROUPS) + PART_KEYS.index("hand")] == pytest.approx(0.6)
    assert both[len(GROUPS) :].sum() == pytest.approx(1.0)
    assert target(Sample(pixels, "others", None, "", "a"))[len(GROUPS) :].sum() == 0


def test_the_same_seed_draws_the_same(data: Path) -> None:
    """Batches follow from their seed, and are inputs in range."""
    pool = make_pool(data, radiographs.read(data))
    first, second = (Sampler(pool, 64, (3, 5), RADIOGRAPH).batch(6) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert first[0].shape == (6, 64, 64, 1)
    assert np.abs(first[0]).max() <= 2.001
    other, _ = Sampler(pool, 64, (3, 6), RADIOGRAPH).batch(6)
    assert not np.array_equal(first[0], other)


def test_a_run_makes_batches(data: Path, tmp_path: Path) -> None:
    """A run on films alone supplies inputs and targets of both heads."""
    run = Run(modality="XR", steps=1, batch=3, size=64, images="real", data=data, out=tmp_path / "out")
    definition = run.definition()
    assert (definition.network, definition.preprocessing) == (LITE, RADIOGRAPH)
    order = Order(run, definition)
    batch = batch_at(gather(order), order, 0)
    assert batch.images.shape == (3, 64, 64, 1)
    assert batch.targets.shape == (3, len(definition.outputs))


def test_what_films_cannot_be_trained_with_is_one_sentence(tmp_path: Path) -> None:
    """Keys that mean nothing for films are refused with a sentence."""
    path = tmp_path / "run.yaml"
    path.write_text("{modality: XR, steps: 1, position: 0.5}", encoding="utf-8")
    with pytest.raises(RunError, match="radiographs are trained on"):
        load(path)


def test_projections_show_bone_bright() -> None:
    """A block of bone in soft tissue is brighter than what lies beside it, seen from front and side."""
    tissue = np.zeros((40, 30, 30), np.uint8)
    tissue[:, 5:25, 5:25] = 3
    tissue[:, 13:17, 13:17] = 4
    part = (tissue > 0).astype(np.uint8)
    for angle in (0.0, 90.0):
        film = Film("skull", 0.0, 80.0, (1,), ((angle, 0.0),))
        seen = projected(Voxels(tissue, part, 2.0), film, np.random.default_rng(1))
        middle = seen.shape[1] // 2
        assert seen[:, middle].mean() > seen[:, middle - 7].mean()


def test_gas_in_the_gut_is_dark() -> None:
    """Of two halves of a body the one with gut is never brighter, and darker where gas lies in it."""
    tissue = np.zeros((40, 30, 40), np.uint8)
    tissue[:, 5:25, 5:35] = 3
    tissue[:, 8:22, 6:18] = 19
    part = (tissue > 0).astype(np.uint8)
    film = Film("abdomen", 0.0, 80.0, (1,), ((0.0, 0.0),))
    darker = []
    for seed in range(12):
        seen = projected(Voxels(tissue, part, 2.0), film, np.random.default_rng(seed)).astype(np.float64)
        half = seen.shape[1] // 2
        darker.append(seen[:, half + 4 : -8].mean() - seen[:, 8 : half - 4].mean())
    assert min(darker) > -3.0
    assert max(darker) > 20.0


def test_chests_keep_their_shape() -> None:
    """Exports squeeze other films: the shape of a chest tells a child from an adult."""

    def longest(part: str) -> float:
        rng = np.random.default_rng(4)
        shapes = [reframed(np.full((100, 100), 0.5, np.float32), part, rng).shape for _ in range(200)]
        return float(max(max(shape) / min(shape) for shape in shapes))

    assert longest("chest") < 1.6 < longest("pelvis")


def test_a_foot_is_seen_from_above_and_from_the_side() -> None:
    """Turned about its own axis, a flat foot is wide from above and low from the side, its toes up."""
    tissue = np.zeros((30, 80, 80), np.uint8)
    tissue[5:15, 5:75, 20:60] = 3
    tissue[5:15, 5:15, 20:60] = 4  # toes of bone, in front
    part = (tissue > 0).astype(np.uint8)
    for angle, wide in ((0.0, True), (90.0, False)):
        film = Film("foot", 0.0, 60.0, (1,), ((angle, 0.0),), foot=True)
        seen = projected(Voxels(tissue, part, 2.0), film, np.random.default_rng(1))
        rows, columns = seen.shape
        assert (columns > rows / 2) is wide
        assert seen[: rows // 8].mean() > seen[rows // 2 :].mean()


def test_a_limb_bends_at_its_joint() -> None:
    """What lies above the joint stays, what lies below is turned, as much as before."""
    limb = np.zeros((100, 20), np.float32)
    limb[:, 5:15] = 1.0
    bent = drawn_films.bent(limb, 50, 90.0)
    assert bent.shape[0] < 70
    assert bent.shape[1] > 45
    assert bent.sum() == pytest.approx(limb.sum(), rel=0.1)
    assert np.array_equal(drawn_films.bent(limb, 0, 90.0), limb)


def test_a_spine_curves_to_the_sides() -> None:
    """Each row is moved by at most what was asked for, and not all rows alike."""
    spine = np.zeros((200, 100), np.float32)
    spine[:, 48:53] = 1.0
    curved = drawn_films.curved(spine, 20.0, np.random.default_rng(3))
    places = (curved * np.arange(100)).sum(axis=1) / curved.sum(axis=1)
    assert np.abs(places - 50).max() < 21
    assert np.ptp(places) > 3


def test_films_lie_beside_each_other() -> None:
    """Films of other heights become one row of one height, in their order."""
    dark, bright = np.full((40, 20), 10, np.uint8), np.full((20, 20), 200, np.uint8)
    row = drawn_films.beside([dark, bright], np.random.default_rng(2))
    assert row.shape[0] == 40
    assert row.shape[1] >= 60
    assert (row[:, :20].max(), row[:, -40:].min()) == (10, 200)


def test_figures_of_both_heads(data: Path) -> None:
    """What a perfect network says scores 1 everywhere, and the tables hold the sources."""
    rows = radiographs.read(data)
    groups = np.full((len(rows), len(GROUPS)), -9.0)
    parts = np.full((len(rows), len(PART_KEYS)), -9.0)
    for index, row in enumerate(rows):
        groups[index, GROUPS.index(row.group)] = 0.0
        parts[index, PART_KEYS.index(row.also or str(row.part))] = 0.0
    said = film_evaluation.Said(rows, groups, parts, np.zeros(len(rows)))
    temperatures = film_evaluation.calibrated(said)
    found = film_evaluation.score("all", said, temperatures, lambda g, p: (g.astype(float), p.astype(float)))
    assert found.groups.macro["f1"].value == pytest.approx(1.0)
    assert found.parts is not None
    assert found.parts.weighted["sensitivity"].value == pytest.approx(1.0)
    assert found.confused == {"adult_chest": 0.0, "pediatric_chest": 0.0}
    text = film_tables.tables([found], {"adult_chest": 0.25})
    assert "a 10 images / 10" in text
    assert "adult_chest 25.0 %" in text
    swapped = film_evaluation.swapped_share(said)
    assert swapped == {"adult_chest": 0.0, "pediatric_chest": 0.0}
