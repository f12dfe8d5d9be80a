"""Ensembles: networks of one definition, trained apart, asked together.

What two runs get wrong differs more than what they get right, so that their mean is right more often than
either (Hansen and Salamon, IEEE Trans Pattern Anal Mach Intell 12:993-1001, 1990). The mean is that of the
logits, so that an ensemble is a network like any other, in one file with one card.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from model.networks import Definition
from model.training.sampler import Choice, choice_of
from model.weights_file import Weights, WeightsError, load, write


def join(paths: Sequence[Path], out: Path) -> str:
    """Write the ensemble of several weights files as one, and return its digest.

    The card keeps what is known of each member's training. It has no figures and no temperatures yet:
    evaluating fits them. An ensemble among the files counts as its members. Raises WeightsError where the
    files are of different networks or modalities, or where one was trained on what another left out.
    """
    members = [load(path) for path in paths]
    if len(members) < 2:
        raise WeightsError("an ensemble needs two weights files or more")
    first = members[0]
    for path, member in zip(paths, members, strict=True):
        if _kind(member) != _kind(first):
            raise WeightsError(f"the weights {path} are not of the same network as {paths[0]}")
        if _choice(member) != _choice(first):
            raise WeightsError(f"the weights {path} were not trained on the same data as {paths[0]}")
    definition = replace(first.definition, members=sum(one.definition.members for one in members))
    arrays = [array for member in members for array in member.arrays]
    training = {"config": asdict(_choice(first)), "members": [_told(member) for member in members]}
    out.parent.mkdir(parents=True, exist_ok=True)
    card = {"modality": first.modality, "temperature": 1.0, "training": training}
    return write(out, arrays, definition, card)


def _kind(weights: Weights) -> tuple[Definition, str]:
    return replace(weights.definition, members=1), weights.modality


def _choice(weights: Weights) -> Choice:
    return choice_of(weights.card.get("training"))


def _told(weights: Weights) -> dict[str, Any]:
    """Return what a member's card says of its training, and its digest."""
    training = weights.card.get("training")
    return {"digest": weights.digest, **(training if isinstance(training, Mapping) else {})}
