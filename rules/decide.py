"""The configured rules, run in order, and what comes out: regions per image, spans, the series' term."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.regions import UNKNOWN
from rules.doubt import doubt
from rules.examined import Examined, examined
from rules.order import order
from rules.paper import PAPER, abdomen_chest, breast, outliers, smooth, without_abdomen_chest
from rules.smooth import smooth_25mm
from rules.state import Rule, State
from rules.terms import SeriesTerm
from rules.together import lengthwise, together
from rules.verdict import Evidence, Span, Verdict
from rules.votes import votes
from rules.whole import whole

RULES: Final[dict[str, Rule]] = {
    "abdomen_chest": abdomen_chest,
    "breast": breast,
    "outliers": outliers,
    "smooth": smooth,
    "smooth_25mm": smooth_25mm,
    "doubt": doubt,
    "votes": votes,
    "whole": whole,
    "order": order,
}
"""Every rule by its name in the configuration: the paper's four in its order, then those beyond."""

TOGETHER: Final = "together"
"""The rule for images whose planes lie along the body, whatever rules are configured for the others."""

_STEPS: Final = {**RULES, TOGETHER: together}

GROUPS: Final = {"paper": PAPER}
"""Names that stand for several rules."""

NETWORK: Final = "network"
"""`Verdict.rule` where no rule changed any image's region."""
DOUBT: Final = "doubt"
"""`Verdict.rule` where too few images are known to name the series."""
KNOWN_SHARE: Final = 0.5


def check(rules: Sequence[str]) -> None:
    """Raise ValueError, with one sentence, where names are unknown or their order makes no sense."""
    for name in rules:
        if name not in RULES and name not in GROUPS:
            raise ValueError(f"there is no rule '{name}'; known are {', '.join((*RULES, *GROUPS))}")
    if "order" in rules[:-1]:
        raise ValueError("'order' decides; it must be the last rule")


def expanded(rules: Sequence[str]) -> tuple[str, ...]:
    """Return the single rules that the configured names stand for; raise ValueError as `check` does."""
    check(rules)
    return tuple(name for given in rules for name in GROUPS.get(given, (given,)))


def decide(evidence: Evidence, rules: Sequence[str], minimum_confidence: float) -> Verdict:
    """Turn the network's outputs for a series into a verdict.

    `rules` are names of RULES or GROUPS, run in the order given; none leaves the plain best class.
    `minimum_confidence` (0..1) is what an image's class must score after the rules, else the image
    is `unknown`. Where less than half of the images are known there is no term and the rule is
    "doubt". The verdict's confidence is the mean over the known images, 0 without any. Images whose
    planes lie along the body are judged together, apart from the others; in a series of both kinds
    the more numerous name it. Raises ValueError for unknown rules.
    """
    names, n = expanded(rules), len(evidence.probabilities)
    along = lengthwise(evidence.normals, n)
    if not along.any():
        return _decide(evidence, names, minimum_confidence)
    upright = ("doubt", TOGETHER) if "doubt" in names else (TOGETHER,)
    if along.all():
        return _spanning(evidence, _decide(evidence, upright if names else (), minimum_confidence))
    kinds = np.flatnonzero(~along), np.flatnonzero(along)
    return _joined(kinds, tuple(decide(evidence.of(kind), rules, minimum_confidence) for kind in kinds))


def _decide(evidence: Evidence, rules: tuple[str, ...], minimum_confidence: float) -> Verdict:
    """Decide on images of one kind by single rules."""
    sequence, start = _start(evidence)
    state, rule = _run(start, rules)
    confidences = state.confidences
    sure = (confidences >= minimum_confidence) & (confidences > 0)
    regions = tuple(region if one else UNKNOWN for region, one in zip(state.regions, sure, strict=True))
    known = np.array([region != UNKNOWN for region in regions], dtype=np.bool_)
    # Without positions the images lie, as far as one knows, all in one place.
    positions = np.zeros(len(regions)) if state.positions_mm is None else state.positions_mm
    found = examined(regions, positions)
    if known.sum() < KNOWN_SHARE * len(known) or not known.any():
        found, rule = _doubted(int(known.sum()), len(known), minimum_confidence), DOUBT
    back = np.argsort(sequence, kind="stable")
    return Verdict(
        regions=tuple(regions[place] for place in back),
        confidences=tuple(map(float, confidences[back])),
        spans=_spans(regions, confidences, positions),
        term=found.named.term,
        code=found.named.code,
        paired=found.named.paired,
        confidence=float(confidences[known].mean()) if known.any() else 0.0,
        rule=rule,
        flags=(*state.flags, *found.named.flags),
        dominant=found.dominant,
    )


def _spanning(evidence: Evidence, verdict: Verdict) -> Verdict:
    """Let the one span of images along the body reach from their lowest to their highest point."""
    if evidence.heights_mm is None or not len(evidence.heights_mm):
        return verdict
    low, high = float(evidence.heights_mm[:, 0].min()), float(evidence.heights_mm[:, 1].max())
    reaching = tuple(replace(span, first_mm=low, last_mm=high) for span in verdict.spans)
    return replace(verdict, spans=reaching)


def _joined(kinds: tuple[NDArray[np.intp], ...], verdicts: tuple[Verdict, ...]) -> Verdict:
    """Join the verdicts on images of two kinds; the one on more images names the series."""
    regions: dict[int, str] = {}
    confidences: dict[int, float] = {}
    for images, verdict in zip(kinds, verdicts, strict=True):
        regions.update(zip(images.tolist(), verdict.regions, strict=True))
        confidences.update(zip(images.tolist(), verdict.confidences, strict=True))
    places = range(len(regions))
    return replace(
        max(verdicts, key=lambda verdict: len(verdict.regions)),
        regions=tuple(regions[place] for place in places),
        confidences=tuple(confidences[place] for place in places),
        spans=tuple(span for verdict in verdicts for span in verdict.spans),
        flags=tuple(dict.fromkeys(flag for verdict in verdicts for flag in verdict.flags)),
    )


def _start(evidence: Evidence) -> tuple[NDArray[np.intp], State]:
    """Sort the evidence by position; a score that is no number counts as 0, such a position as missing."""
    places = evidence.positions_mm
    if places is not None and not np.isfinite(places).all():
        places = None
    n = len(evidence.probabilities)
    sequence = np.arange(n, dtype=np.intp) if places is None else np.argsort(places, kind="stable")
    scores = evidence.probabilities[sequence].astype(np.float64)
    state = State(evidence.classes, np.nan_to_num(scores, nan=0.0, posinf=0.0, neginf=0.0))
    return sequence, replace(
        state,
        positions_mm=None if places is None else places[sequence],
        normals=None if evidence.normals is None else evidence.normals[sequence],
        energy=None if evidence.energy is None else evidence.energy[sequence].astype(np.float64),
        maximum_energy=evidence.maximum_energy,
        votes=evidence.votes,
        whole=None if evidence.whole is None else evidence.whole[sequence],
    )


def _run(state: State, rules: Sequence[str]) -> tuple[State, str]:
    """Run the rules in order; return the last state and the last rule that changed a region."""
    last = NETWORK
    for name in rules:
        changed = _STEPS[name](state)
        if changed.regions != state.regions:
            last = name
        state = changed
    return state if state.fixed is not None else without_abdomen_chest(state), last


def _doubted(known: int, images: int, minimum_confidence: float) -> Examined:
    why = f"{known} of {images} images reach the confidence {minimum_confidence:g}"
    return Examined(SeriesTerm(None, None, False, (why,)), None)


def _spans(
    regions: tuple[str, ...], confidences: NDArray[np.float64], positions: NDArray[np.float64]
) -> tuple[Span, ...]:
    """Return the runs of equal region, in position order; together they hold every image once."""
    spans = []
    for region, run in groupby(range(len(regions)), key=lambda i: regions[i]):
        images = list(run)
        first, last = images[0], images[-1]
        mean = float(confidences[images].mean())
        spans.append(Span(region, float(positions[first]), float(positions[last]), len(images), mean))
    return tuple(spans)
