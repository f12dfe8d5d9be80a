"""The report of an evaluation as plain values: what report.json holds, and what the HTML page is made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from model.training.compare import Difference
from model.training.evaluate import Scored
from model.weights_file import Weights

NAME: Final = "report.json"


@dataclass(frozen=True)
class About:
    """The weights that were scored. `training` is the record of their run, as their card has it."""

    path: str
    digest: str
    modality: str
    definition: dict[str, Any]
    temperature: float
    training: dict[str, Any]


@dataclass(frozen=True)
class Incoming:
    """One DICOM series: what its tag, its texts and the node call it, and what of that is right.

    `expected` are the terms that are right. None in place of a judgement means that nothing was said.
    `images` were classified, `right` of the `scored` ones are right; `passed_on` counts the others by
    reason.
    """

    series: str
    expected: tuple[str, ...]
    tag: str
    tag_right: bool | None
    text: str
    text_term: str | None
    text_right: bool | None
    node: str
    node_right: bool | None
    images: int
    scored: int
    right: int
    passed_on: dict[str, int]


@dataclass(frozen=True)
class Report:
    """Everything that an evaluation found. `comparison` is by part and stage, against `before`."""

    version: str
    weights: About
    classes: tuple[str, ...]
    minimum_confidence: float
    parts: tuple[Scored, ...]
    incoming: tuple[Incoming, ...]
    before: About | None
    comparison: dict[str, dict[str, tuple[Difference, ...]]]


_PLAIN: Final = TypeAdapter(Report)


def about(path: Path, weights: Weights, temperature: float) -> About:
    """Describe weights that are scored at this temperature."""
    training = weights.card.get("training")
    return About(
        path=f"{path.parent.name}/{path.name}",
        digest=weights.digest,
        modality=weights.modality,
        definition=weights.definition.as_json(),
        temperature=temperature,
        training=dict(training) if isinstance(training, dict) else {},
    )


def to_json(report: Report) -> bytes:
    """Return the report as JSON; what is not a number becomes null."""
    return _PLAIN.dump_json(report, indent=1)


def from_json(text: bytes) -> Report:
    """Read what `to_json` wrote; raises pydantic's ValidationError where it is something else."""
    return _PLAIN.validate_json(text)
