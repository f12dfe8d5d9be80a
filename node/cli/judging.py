"""The stages that an evaluation judges, made of the node's own rules, and what training fits with them."""

from collections.abc import Callable
from typing import Final

import numpy as np

from model.training.stages import NETWORK, Decided, SeriesOutput, Stage
from node.settings.config import Config
from rules.decide import decide, expanded
from rules.ladder import LADDER
from rules.verdict import Evidence

STAGES: Final = {
    rung.name: (rung.title, rung.rules) for rung in LADDER if rung.rules and not rung.needs_votes
}
"""What is judged beside the network alone: name, title, rules."""

_SAGITTAL: Final = np.array([1.0, 0.0, 0.0])
"""The normal that stands for every plane along the body; the rules treat them alike."""


def stages() -> tuple[Stage, ...]:
    """Return the stages: the network alone, the others, the node as it is installed, the shipped rules last.

    Installed, an image below `classify.minimum_confidence` is unknown; the other stages name every one.
    """
    installed = Config.standalone()
    shipped, minimum = expanded(installed.rules), installed.classify.minimum_confidence
    others, last = [], None
    for name, (title, rules) in STAGES.items():
        if expanded(rules) == shipped:
            last = Stage(name, f"{title} (as shipped)", ruled(rules), resolves=True)
        else:
            others.append(Stage(name, title, ruled(rules), resolves=True))
    if last is None:
        last = Stage("shipped", f"as shipped ({', '.join(shipped)})", ruled(shipped), resolves=True)
    unsure = Stage(
        "installed", f"as installed: below {minimum:g} unknown", ruled(shipped, minimum), resolves=True
    )
    return (NETWORK, *others, unsure, last)


def ruled(rules: tuple[str, ...], minimum_confidence: float = 0.0) -> Callable[[SeriesOutput], Decided]:
    """Return the stage that runs these rules."""

    def decided(output: SeriesOutput) -> Decided:
        normals = np.tile(_SAGITTAL, (len(output.probabilities), 1)) if output.lengthwise else None
        evidence = Evidence(
            output.classes, output.probabilities, output.positions_mm, normals, output.energy,
            output.maximum_energy,
        )  # fmt: skip
        verdict = decide(evidence, rules, minimum_confidence)
        return Decided(verdict.regions, np.array(verdict.confidences, np.float64))

    return decided
