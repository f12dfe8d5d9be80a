"""Ensembles: one file that says what its members say on average, and refuses members that do not fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.networks import build
from model.training.ensemble import join
from model.training.film_evaluation import without
from model.weights_file import WeightsError, load, restore, save
from tests.model.evaluation import TINY, weights

LEFT_OUT: dict[str, object] = {"config": {"without": ["one"], "seed": 1}, "commit": "abc"}


def test_it_says_the_mean_of_what_its_members_say(tmp_path: Path) -> None:
    """Its logits are the mean of theirs, for members of any weights; three members are no different."""
    paths = [weights(tmp_path / f"{seed}" / "ct.npz", seed) for seed in (1, 2, 3)]
    pair, three = tmp_path / "pair.npz", tmp_path / "deep" / "three.npz"
    digest = join(paths[:2], pair)
    join([pair, paths[2]], three)
    images = np.random.default_rng(5).normal(0, 1, (4, 32, 32, 1)).astype(np.float32)
    said = [np.asarray(restore(path, load(path))(images, training=False)) for path in (*paths, pair)]
    assert load(pair).digest == digest
    assert load(pair).definition == replace(TINY, members=2)
    assert load(three).definition == replace(TINY, members=3)
    assert np.abs(said[0] - said[1]).max() > 1e-3
    np.testing.assert_allclose(said[3], np.mean(said[:2], axis=0), atol=1e-5)
    whole = np.asarray(restore(three, load(three))(images, training=False))
    np.testing.assert_allclose(whole, np.mean(said[:3], axis=0), atol=1e-5)


def test_its_card_tells_of_every_member_and_of_what_was_left_out(tmp_path: Path) -> None:
    """The card holds each member's digest and training, and no temperature of any of them."""
    paths = [weights(tmp_path / f"{seed}.npz", seed, LEFT_OUT) for seed in (1, 2)]
    join(paths, tmp_path / "pair.npz")
    pair = load(tmp_path / "pair.npz")
    assert without(pair) == ("one",)
    assert pair.temperature == 1.0
    assert [one["digest"] for one in pair.card["training"]["members"]] == [
        load(path).digest for path in paths
    ]
    assert pair.card["training"]["members"][0]["commit"] == "abc"


def test_members_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Another network, other data, or one file alone make no ensemble; nothing is written."""
    first = weights(tmp_path / "first.npz")
    other = weights(tmp_path / "other.npz", 2, LEFT_OUT)
    wider = replace(TINY, widths=(4, 12))
    save(tmp_path / "wider.npz", build(wider), wider, {"modality": "CT", "temperature": 1.0})
    out = tmp_path / "out.npz"
    for paths, why in (
        ([first], "two weights files or more"),
        ([first, tmp_path / "wider.npz"], r"wider\.npz are not of the same network as .*first\.npz"),
        ([first, other], r"other\.npz were not trained on the same data as .*first\.npz"),
    ):
        with pytest.raises(WeightsError, match=why):
            join(paths, out)
    assert not out.exists()
