"""Networks: shapes, names, and definitions that survive the card."""

import json

import numpy as np
import pytest

from model.networks import NETWORKS, PAPER, SMALL, Definition, build, default
from model.preprocess import WHOLE
from model.regions import CLASSES


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_small_network_gives_a_logit_per_class(modality: str) -> None:
    """The small network maps (n, 128, 128, 1) to one finite logit for each class."""
    definition = default(SMALL, CLASSES[modality])
    model = build(definition)
    out = np.asarray(model(np.zeros((2, 128, 128, 1), np.float32), training=False))
    assert out.shape == (2, len(CLASSES[modality]))
    assert np.isfinite(out).all()


def test_paper_network_is_that_of_the_paper() -> None:
    """The paper's network is a ResNet50V2 of 23.6 million weights at 224 px, 3 channels, 18 CT outputs."""
    definition = default(PAPER, CLASSES["CT"])
    model = build(definition)
    assert model.input_shape == (None, 224, 224, 3)
    assert model.output_shape == (None, 18)
    assert model.count_params() == pytest.approx(23.6e6, rel=0.01)


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_definition_survives_json(network: str) -> None:
    """A definition read back from a card is equal to the one that was written."""
    definition = default(network, CLASSES["MR"])
    assert Definition.from_json(json.loads(json.dumps(definition.as_json()))) == definition


def test_unknown_network_is_named() -> None:
    """A name without a network is an error that says which names there are."""
    with pytest.raises(ValueError, match="small_residual"):
        Definition("vgg", CLASSES["CT"])


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (128, 2)])
def test_senseless_definitions_are_refused(size: int, channels: int) -> None:
    """A network of two channels or of sixteen pixels cannot be defined."""
    with pytest.raises(ValueError, match="does not define"):
        Definition(SMALL, CLASSES["CT"], size=size, channels=channels)


@pytest.mark.parametrize("members", [0, 17])
def test_ensembles_have_members_but_not_without_number(members: int) -> None:
    """An ensemble of none, and of more than anybody would wait for, cannot be defined."""
    with pytest.raises(ValueError, match="does not define"):
        Definition(SMALL, CLASSES["CT"], members=members)


def test_old_cards_mean_the_whole_image() -> None:
    """A card written before preprocessings had names reads as the whole image; an unknown name is refused."""
    plain = default(SMALL, CLASSES["CT"]).as_json()
    del plain["preprocessing"]
    assert Definition.from_json(plain).preprocessing == WHOLE
    with pytest.raises(ValueError, match="whole, body"):
        Definition.from_json({**plain, "preprocessing": "legs"})
