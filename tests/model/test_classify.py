"""Classifier and weights: verified files, equal after a round trip, shipped weights that load."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.classify import BATCH, LENGTHWISE, SHIPPED, Classifier, WeightsError, softmax
from model.networks import SMALL, Definition, build
from model.prediction import Prediction
from model.preprocess import network_input
from model.read import Image
from model.regions import CLASSES
from model.weights_file import card_path, file_digest, load, read_card, save, write_card

TINY = Definition(SMALL, CLASSES["CT"], size=32, widths=(4, 8), blocks=1)


def pictures(n: int, shape: tuple[int, int] = (40, 50)) -> list[Image]:
    """Return n different images of noise."""
    rng = np.random.default_rng(3)
    valid = np.ones(shape, np.bool_)
    return [Image(rng.normal(i, 1 + i, shape).astype(np.float32), valid, (1.0, 1.0)) for i in range(n)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a very small untrained CT network, written with their card."""
    path = tmp_path_factory.mktemp("weights") / "ct.npz"
    save(path, build(TINY), TINY, {"modality": "CT", "temperature": 1.5})
    return path


@pytest.fixture(scope="module")
def classifier(tiny: Path) -> Classifier:
    """A classifier over the very small network."""
    return Classifier.load({"CT": tiny})


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the very small weights that a test may damage."""
    path = tmp_path / "ct.npz"
    path.write_bytes(tiny.read_bytes())
    card_path(path).write_bytes(card_path(tiny).read_bytes())
    return path


def test_prediction_has_a_row_per_image_in_order(classifier: Classifier) -> None:
    """Any number of images, over several batches, gives as many rows that sum to one."""
    images = pictures(2 * BATCH + 3)
    found = classifier.predict("CT", images)
    assert found.probabilities.shape == (len(images), 18)
    assert np.allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    alone = classifier.predict("CT", images[BATCH + 1 : BATCH + 2])
    assert np.allclose(found.probabilities[BATCH + 1], alone.probabilities[0], atol=1e-5)


def test_prediction_repeats_exactly(classifier: Classifier) -> None:
    """The same images give the same bits."""
    images = pictures(5)
    first, second = classifier.predict("CT", images), classifier.predict("CT", images)
    assert np.array_equal(first.probabilities, second.probabilities)


def test_no_images_no_rows(classifier: Classifier) -> None:
    """An empty series is no error."""
    assert classifier.predict("CT", []).probabilities.shape == (0, 18)


def test_images_are_taken_batch_by_batch(classifier: Classifier) -> None:
    """A generator is never read further than one batch ahead of the network."""
    taken = 0

    def counted() -> Iterator[Image]:
        nonlocal taken
        for image in pictures(BATCH):
            taken += 1
            yield image
        raise EOFError

    with pytest.raises(EOFError):
        classifier.predict("CT", counted())
    assert taken == BATCH


def test_same_numbers_after_saving_and_loading(tmp_path: Path) -> None:
    """A loaded network says what the saved one said, to the half precision of its kernels."""
    model = build(TINY)
    path = tmp_path / "ct.npz"
    save(path, model, TINY, {"modality": "CT", "temperature": 1.0})
    images = pictures(4)
    inputs = np.stack([network_input(image.values, image.valid, 32) for image in images])
    expected = softmax(np.asarray(model(inputs, training=False)), 1.0)
    found = Classifier.load({"CT": path}).predict("CT", images)
    assert np.allclose(found.probabilities, expected, atol=2e-3)
    assert found.weights_digest == file_digest(path)


def test_energy_is_that_of_the_logits_whatever_the_temperature(tmp_path: Path) -> None:
    """Energies come beside the probabilities, with the threshold of the card, which may be absent."""
    model = build(TINY)
    images = pictures(3)
    inputs = np.stack([network_input(image.values, image.valid, 32) for image in images])
    logits = np.asarray(model(inputs, training=False), np.float64)
    for card in ({"temperature": 1.0}, {"temperature": 2.5, "maximum_energy": -3.5}):
        path = tmp_path / "ct.npz"
        save(path, model, TINY, {"modality": "CT", **card})
        found = Classifier.load({"CT": path}).predict("CT", images)
        assert found.energy is not None
        assert np.allclose(found.energy, -np.log(np.exp(logits).sum(axis=1)), atol=5e-3)
        assert found.maximum_energy == card.get("maximum_energy")


def test_a_threshold_that_is_no_number_is_refused(copy: Path) -> None:
    """A card whose threshold is a word or infinite makes the weights malformed."""
    for wrong in ("low", float("inf")):
        write_card(copy, {**read_card(copy), "maximum_energy": wrong})
        with pytest.raises(WeightsError, match="malformed"):
            Classifier.load({"CT": copy})


def test_network_gets_the_preprocessing_of_its_card(tmp_path: Path) -> None:
    """Weights trained on the body alone are served the body alone: a wide border of air changes nothing."""
    definition = replace(TINY, preprocessing="body")
    path = tmp_path / "ct.npz"
    save(path, build(definition), definition, {"modality": "CT", "temperature": 1.0})
    values = np.full((64, 64), -1000, np.float32)
    values[20:40, 16:44] = np.random.default_rng(0).normal(40, 200, (20, 28))
    wide = np.pad(values, 40, constant_values=-1000)
    pair = [Image(image, np.ones(image.shape, np.bool_), (1.0, 1.0)) for image in (values, wide)]
    found = Classifier.load({"CT": path}).predict("CT", pair).probabilities
    assert np.array_equal(found[0], found[1])


def test_temperature_softens() -> None:
    """A higher temperature lowers confidence and leaves the order of the classes."""
    logits = np.array([[3.0, 1.0, 0.0]], np.float32)
    hot, cold = softmax(logits, 3.0), softmax(logits, 1.0)
    assert hot[0, 0] < cold[0, 0]
    assert np.array_equal(hot.argsort(), cold.argsort())


def test_tampered_weights_are_refused(copy: Path) -> None:
    """One changed byte is found by the digest, and the sentence names the path."""
    damaged = bytearray(copy.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    copy.write_bytes(bytes(damaged))
    with pytest.raises(WeightsError, match=r"ct\.npz are not those of their card"):
        Classifier.load({"CT": copy})


def test_missing_weights_are_named(tmp_path: Path) -> None:
    """Weights that are not there are an error with their path."""
    with pytest.raises(WeightsError, match=r"ct\.json"):
        Classifier.load({"CT": tmp_path / "ct.npz"})


def test_weights_of_another_modality_are_refused(copy: Path) -> None:
    """CT weights configured for MR are an error, not nonsense."""
    with pytest.raises(WeightsError, match="are for CT, not for MR"):
        Classifier.load({"MR": copy})


def test_weights_that_do_not_fit_their_definition(copy: Path) -> None:
    """A card that defines another network is an error even with the right digest."""
    card = read_card(copy)
    write_card(copy, {**card, "definition": {**card["definition"], "widths": [4, 12]}})
    with pytest.raises(WeightsError, match="do not fit"):
        Classifier.load({"CT": copy})


@pytest.mark.parametrize("text", ["", "[]", '{"digest": 3}', '{"definition": {}}'])
def test_malformed_card_is_one_sentence(copy: Path, text: str) -> None:
    """Whatever stands in the card, the error is a WeightsError."""
    card_path(copy).write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError):
        Classifier.load({"CT": copy})


def test_pickled_arrays_are_refused(copy: Path) -> None:
    """An archive with a pickled object in it is refused before anything is unpickled."""
    with copy.open("wb") as file:
        np.savez(file, np.array([{}], dtype=object))
    write_card(copy, {**read_card(copy), "digest": file_digest(copy)})
    with pytest.raises(WeightsError, match="malformed"):
        Classifier.load({"CT": copy})


def test_unknown_modality(classifier: Classifier) -> None:
    """Asking for a modality without a model is an error."""
    with pytest.raises(ValueError, match="no model for MR"):
        classifier.predict("MR", [])


def test_import_leaves_tensorflow_alone() -> None:
    """Importing the classifier does not load TensorFlow: the receiver must stay small."""
    code = "import sys, model.classify; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0


@pytest.mark.parametrize("modality", SHIPPED)
def test_shipped_weights_are_those_of_their_card(modality: str) -> None:
    """The weights in the package match their card's digest, classes and modality."""
    weights, known = load(SHIPPED[modality]), modality.removesuffix(LENGTHWISE)
    assert weights.definition.classes == CLASSES[known]
    assert weights.modality == known
    assert weights.lengthwise == (known != modality)
    assert {"figures", "data", "training"} <= weights.card.keys()


@pytest.mark.parametrize("modality", SHIPPED)
def test_shipped_model_looks_at_the_pixels(modality: str) -> None:
    """A bright disc with a dark hole and pure noise do not get the same answer."""
    v, u = np.ogrid[-1:1:128j, -1:1:128j]
    radius = np.hypot(u, v)
    disc = np.where((radius < 0.8) & (radius > 0.2), 50.0, -1000.0).astype(np.float32)
    images = [Image(disc, np.ones(disc.shape, np.bool_), None), *pictures(1, (128, 128))]
    found = Classifier.load({modality: SHIPPED[modality]}).predict(modality, images)
    assert np.abs(found.probabilities[0] - found.probabilities[1]).max() > 0.05


def test_cards_are_json_without_paths_of_this_machine() -> None:
    """A shipped card is plain JSON and names no absolute path."""
    for path in SHIPPED.values():
        text = card_path(path).read_text(encoding="utf-8")
        assert isinstance(json.loads(text), dict)
        assert '"/' not in text


def test_axial_weights_are_not_taken_for_other_planes() -> None:
    """Weights that never saw a sagittal image are refused where such are meant."""
    with pytest.raises(WeightsError, match="not trained on sagittal"):
        Classifier.load({"MR_LENGTHWISE": SHIPPED["MR"]})


def test_two_networks_beside_each_other_count_energy_from_their_thresholds() -> None:
    """What is foreign to its own network stays foreign; who gives no threshold doubts nothing."""
    one = Prediction(
        ("a", "b"), np.full((2, 2), 0.5, np.float32), "d1", np.array([-3.0, 1.0], np.float32), -2.0
    )
    other = Prediction(("a", "b"), np.full((1, 2), 0.5, np.float32), "d2")
    both = one.beside(other)
    assert both.energy is not None
    assert list(both.energy > 0.0) == [False, True, False]
    assert (both.weights_digest, both.maximum_energy, len(both.probabilities)) == ("d1", 0.0, 3)
    with pytest.raises(ValueError, match="different classes"):
        one.beside(Prediction(("a", "c"), np.full((1, 2), 0.5, np.float32), "d3"))
