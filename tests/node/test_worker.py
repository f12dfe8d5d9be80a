"""Tests of what the worker says of a series, with the shipped weights."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydicom.uid import JPEG2000Lossless

from db.records import Outcome
from model.classify import SHIPPED, Classifier
from model.frames import read_headers
from node import version
from node.settings.config import Config
from node.worker import classify, networks
from tests.builders import SAGITTAL, Recipe, real_series, write
from tests.multiframe import Enhanced, write_enhanced


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """The shipped networks."""
    return Classifier.load(SHIPPED)


def outcome(classifier: Classifier, paths: list[Path]) -> Outcome:
    """Classify files as one series."""
    headers = [header for path in paths for header in read_headers(path)]
    return classify(headers, Config.standalone(), classifier, lambda: None)


def reasons(found: Outcome) -> Mapping[str | None, int]:
    """Count the reasons for which images were only passed on, None for those classified."""
    all_reasons = [image.reason for image in found.images]
    return {reason: all_reasons.count(reason) for reason in all_reasons}


def test_images_come_back_in_order_along_the_body(classifier: Classifier, tmp_path: Path) -> None:
    """Whatever the order of the files, positions ascend and every image has one result."""
    paths = write(tmp_path, Recipe(n=7))
    found = outcome(classifier, [paths[index] for index in (3, 0, 6, 1, 5, 2, 4)])
    positions = [image.position_mm for image in found.images]
    assert positions == [-100.0, -95.0, -90.0, -85.0, -80.0, -75.0, -70.0]
    assert {image.sop_instance_uid for image in found.images} == {path.stem for path in paths}
    assert found.weights_digest == classifier.digest("CT")
    assert found.software_version == f"{version.VERSION} {classifier.runtime('CT')}"


def test_networks_are_made_ready_as_asked() -> None:
    """What `preload` names is compiled at once; everything else waits for its first image."""
    asked = Config.standalone().classify.model_copy(update={"preload": ("XR",)})
    found = networks(Config.standalone().model_copy(update={"classify": asked}))
    assert [name for name, one in found._loaded.items() if "compiled" in vars(one)] == ["XR"]


def test_undecodable_images_are_left_out_of_a_tilted_stack(classifier: Classifier, tmp_path: Path) -> None:
    """In a fan of slightly different normals one broken image changes nothing for the others."""
    fan = [
        write(
            tmp_path / str(index),
            Recipe(
                n=1,
                seed=f"fan{index}",
                orientation=(1.0, 0.0, 0.0, 0.0, 1.0 - index * index / 200, index / 10),
                first_position=(0.0, 0.0, index / 1000),
                overrides={"SeriesInstanceUID": "1.2.3"} | ({"PixelData": b"x" * 8} if index == 4 else {}),
            ),
        )[0]
        for index in range(5)
    ]
    found = outcome(classifier, fan)
    assert found.verdict is not None
    assert len(found.verdict.regions) == 4
    assert sorted(reasons(found).values()) == [1, 4]


def test_a_foreign_modality_within_a_series_is_passed_on(classifier: Classifier, tmp_path: Path) -> None:
    """The network of one modality never sees images of another."""
    paths = write(tmp_path / "ct", Recipe(n=3)) + write(tmp_path / "mr", Recipe(modality="MR", n=1))
    assert reasons(outcome(classifier, paths)) == {None: 3, "MR within a series of CT": 1}


def test_a_series_without_a_slice_has_a_reason(classifier: Classifier, tmp_path: Path) -> None:
    """When nothing is classified there is no verdict, and the reasons say why."""
    found = outcome(classifier, write(tmp_path, Recipe(n=2, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))))
    assert (found.verdict, found.reason, found.weights_digest) == (None, "localizer", None)


def test_frames_of_an_enhanced_object_are_slices(classifier: Classifier, tmp_path: Path) -> None:
    """The frames get the regions that the same images get by themselves, as one result for the instance."""
    recipe = Recipe(n=6)
    classic = outcome(classifier, write(tmp_path / "classic", recipe))
    enhanced = outcome(classifier, [write_enhanced(tmp_path / "enhanced", Enhanced(recipe))])
    [image] = enhanced.images
    assert [frame.region for frame in image.frames] == [each.region for each in classic.images]
    assert [frame.position_mm for frame in image.frames] == [each.position_mm for each in classic.images]
    assert image.region in {frame.region for frame in image.frames}
    assert image.reason is None
    assert enhanced.verdict is not None
    assert classic.verdict is not None
    assert (enhanced.verdict.term, enhanced.verdict.spans) == (classic.verdict.term, classic.verdict.spans)


def test_frames_and_images_of_one_series_are_one_stack(classifier: Classifier, tmp_path: Path) -> None:
    """Classic and Enhanced objects side by side: all slices along the body, each result where it belongs."""
    above = Recipe(n=3, seed="above", first_position=(-25.0, -25.0, -85.0))
    paths = [
        write_enhanced(tmp_path / "enhanced", Enhanced(above)),
        *write(tmp_path / "classic", Recipe(n=3)),
    ]
    found = outcome(classifier, paths)
    assert found.verdict is not None
    assert len(found.verdict.regions) == 6
    whole = {image.sop_instance_uid: image for image in found.images}
    assert [frame.position_mm for frame in whole[above.instance_uid(0)].frames] == [-85.0, -80.0, -75.0]
    assert [whole[Recipe().instance_uid(i)].position_mm for i in range(3)] == [-100.0, -95.0, -90.0]


def test_frames_that_are_no_slices_have_their_reason(classifier: Classifier, tmp_path: Path) -> None:
    """Undecodable frames are left out one by one; an object without slices has one reason."""
    what = Enhanced(Recipe(n=4, transfer_syntax=JPEG2000Lossless))
    path = write_enhanced(tmp_path / "cut", what)
    raw = path.read_bytes()
    at = raw.rindex(b"\xff\x4f\xff\x51")
    path.write_bytes(raw[:at] + b"\0" * 8 + raw[at + 8 :])
    [image] = outcome(classifier, [path]).images
    assert [frame.reason is None for frame in image.frames] == [True, True, True, False]
    assert image.reason is None
    scout = write_enhanced(tmp_path / "scout", Enhanced(Recipe(n=2, series_description="Topogram")))
    [image] = outcome(classifier, [scout]).images
    assert (image.reason, image.region) == ("localizer", None)
    assert [frame.reason for frame in image.frames] == ["localizer"] * 2


def mixed(folder: Path) -> list[Path]:
    """Write one MR series of three axial and two sagittal images."""
    one = {"SeriesInstanceUID": "1.2.3"}
    axial = write(folder / "a", Recipe(modality="MR", n=3, seed="axial", overrides=one))
    upright = Recipe(modality="MR", n=2, seed="sagittal", orientation=SAGITTAL, overrides=one)
    return [*write(folder / "s", upright), *axial]


def test_planes_of_one_series_go_to_their_networks(classifier: Classifier, tmp_path: Path) -> None:
    """Axial and sagittal MR are shown to two networks; every image has its result, and its own place."""
    found = outcome(classifier, mixed(tmp_path))
    assert reasons(found) == {None: 5}
    assert found.weights_digest == classifier.digest("MR")
    places = {image.sop_instance_uid: image.position_mm for image in found.images}
    upright = Recipe(modality="MR", n=2, seed="sagittal")
    assert [places[upright.instance_uid(index)] for index in range(2)] == [-25.0, -30.0]


def test_planes_that_no_network_knows_are_passed_on(tmp_path: Path) -> None:
    """Without the network for planes along the body, such images are named by their plane."""
    found = outcome(Classifier.load({"MR": SHIPPED["MR"]}), mixed(tmp_path))
    assert reasons(found) == {None: 3, "sagittal plane": 2}


@pytest.mark.skipif("mr/knee_sag_mese" not in real_series(), reason="the data folder is not there")
def test_a_real_sagittal_series_is_named(classifier: Classifier) -> None:
    """A sagittal knee of a subject that was not trained on is a knee; its span reaches up and down."""
    found = outcome(classifier, real_series()["mr/knee_sag_mese"])
    assert found.verdict is not None
    assert found.verdict.term == "KNEE"
    [span] = found.verdict.spans
    assert 100 < span.last_mm - span.first_mm < 250
    assert found.weights_digest == classifier.digest("MR_LENGTHWISE")
