"""The configured rules, run in order, and what comes out: regions per image, spans, the series' term."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.geometry import extents_mm
from model.regions import ARM_CHAIN, BODY_CHAIN, SPINE_CHAIN, UNKNOWN
from rules.paper import Rule, State, abdomen_chest, breast, outliers, smooth, without_abdomen_chest
from rules.terms import SeriesTerm, series_term
from rules.verdict import Evidence, Span, Verdict

RULES: Final[dict[str, Rule]] = {
    "abdomen_chest": abdomen_chest,
    "breast": breast,
    "outliers": outliers,
    "smooth": smooth,
}
"""Every rule by its name in the configuration; the order is the paper's."""

NETWORK: Final = "network"
"""`Verdict.rule` where no rule changed any image's region."""
DOUBT: Final = "doubt"
"""`Verdict.rule` where too few images are known to name the series."""
KNOWN_SHARE: Final = 0.5

MINOR_MM: Final = 50.0
MINOR_SHARE: Final = 0.15
"""A region of less than this many mm and this share of the images does not change the series' term.

Every chest CT reaches a little into neck and abdomen, every knee into thigh and calf: that is
overscan, not what was examined. The region stays in the verdict's regions and spans.
"""


def decide(evidence: Evidence, rules: Sequence[str], minimum_confidence: float) -> Verdict:
    """Turn the network's outputs for a series into a verdict.

    `rules` are names of RULES, run in the order given; none leaves the plain best class.
    `minimum_confidence` (0..1) is what an image's class must score after the rules, else the image
    is `unknown`. Where less than half of the images are known there is no term and the rule is
    "doubt". The verdict's confidence is the mean over the known images, 0 without any. Raises
    KeyError for an unknown rule and ValueError for evidence that does not fit together.
    """
    state, rule = _run(_start(evidence), rules)
    confidences = np.clip(state.scores.max(axis=1, initial=0.0), 0.0, 1.0)
    regions = tuple(
        region if confidence >= minimum_confidence and confidence > 0 else UNKNOWN
        for region, confidence in zip(state.regions, confidences, strict=True)
    )
    known = np.array([region != UNKNOWN for region in regions], dtype=np.bool_)
    named = _term(regions, evidence.positions_mm)
    if known.sum() < KNOWN_SHARE * len(known) or not known.any():
        doubt = f"{known.sum()} of {len(known)} images reach the confidence {minimum_confidence:g}"
        named, rule = SeriesTerm(None, None, False, (doubt,)), DOUBT
    return Verdict(
        regions=regions,
        confidences=tuple(map(float, confidences)),
        spans=_spans(regions, confidences, evidence.positions_mm),
        term=named.term,
        code=named.code,
        paired=named.paired,
        confidence=float(confidences[known].mean()) if known.any() else 0.0,
        rule=rule,
        flags=named.flags,
    )


def _start(evidence: Evidence) -> State:
    """Check the evidence and make the first state; a score that is no number counts as 0."""
    shape = (len(evidence.positions_mm), len(evidence.classes))
    if evidence.probabilities.shape != shape:
        raise ValueError(f"probabilities have shape {evidence.probabilities.shape}, expected {shape}")
    if np.any(np.diff(evidence.positions_mm) < 0):
        raise ValueError("positions must not descend")
    scores = np.nan_to_num(evidence.probabilities.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return State(evidence.classes, scores)


def _run(state: State, rules: Sequence[str]) -> tuple[State, str]:
    """Run the rules in order; return the last state and the last rule that changed a region."""
    last = NETWORK
    for name in rules:
        changed = RULES[name](state)
        if changed.regions != state.regions:
            last = name
        state = changed
    return without_abdomen_chest(state), last


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


def _term(regions: tuple[str, ...], positions: NDArray[np.float64]) -> SeriesTerm:
    """Name the series by the regions that count, with the mm that their images stand for."""
    extents: dict[str, float] = {}
    counts: dict[str, int] = {}
    for region, extent in zip(regions, extents_mm(positions), strict=True):
        if region != UNKNOWN:
            extents[region] = extents.get(region, 0.0) + float(extent)
            counts[region] = counts.get(region, 0) + 1
    total = sum(counts.values())
    minor = {key for key in extents if extents[key] < MINOR_MM and counts[key] < MINOR_SHARE * total}
    if minor == set(extents):
        minor = set()
    return series_term(
        {key: mm for key, mm in extents.items() if key not in minor or _links(key, extents, minor)}
    )


def _links(key: str, extents: dict[str, float], minor: set[str]) -> bool:
    """Say whether a minor region lies between two that count: thin, but on the way from one to the other."""
    for chain in (BODY_CHAIN, SPINE_CHAIN, ARM_CHAIN):
        if key in chain:
            place = chain.index(key)
            major = [chain.index(other) for other in extents if other in chain and other not in minor]
            return any(i < place for i in major) and any(i > place for i in major)
    return False
