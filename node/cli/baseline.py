"""What received tags and texts say of a series, and what the node says of it: the baseline to beat.

Source: Raffy et al. 2023 and SPEC 6: accuracy of the incoming BodyPartExamined and of the procedure
text on the same series as the verdict.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pydicom
from numpy.typing import NDArray

from db.records import Outcome
from model.classify import Classifier
from model.read import read_header
from model.regions import CLASSES
from model.training.demonstration import Series
from model.training.report import Incoming
from node import worker
from node.settings.config import Config
from rules.decide import decide
from rules.description import Agreement, agreement, named_terms
from rules.paper import PAPER
from rules.terms import agrees, series_term
from rules.verdict import Evidence

TEXTS: Final = ("StudyDescription", "SeriesDescription", "ProtocolName", "RequestedProcedureDescription",
                "PerformedProcedureStepDescription")  # fmt: skip
"""Attributes in which the words of the procedure stand, the most general first."""


def incoming(sample: Series, modality: str, config: Config, classifier: Classifier) -> Incoming:
    """Read a sample series as the node reads it, and judge its tag, its texts and the node's verdict."""
    paths = sorted(path for path in sample.folder.rglob("*") if path.is_file())
    headers = [read_header(path) for path in paths]
    outcome = worker.classify(headers, config, classifier, lambda: None)
    found = _images(outcome)
    wanted = [sample.expected(index) for index in range(len(found))]
    expected = _expected(sample, modality, wanted, np.array([at for at, _ in found]))
    tag, text = headers[0].body_part, _texts(paths[0])
    told = telling(text)
    said = outcome.verdict.term if outcome.verdict else None
    scored = [(region, right) for (_, region), right in zip(found, wanted, strict=True) if right]
    return Incoming(
        series=sample.folder.name,
        expected=expected,
        tag=tag,
        tag_right=any(agrees(tag, one) for one in expected) if tag else None,
        text="; ".join(text),
        text_term=" + ".join(named_terms(told)) or None,
        text_right=any(agreement(told, one) is Agreement.AGREES for one in expected) if told else None,
        node=said or "",
        node_right=any(agrees(said, one) for one in expected) if said else None,
        images=len(found),
        scored=len(scored),
        right=sum(region in right for region, right in scored),
        passed_on=dict(Counter(image.reason for image in outcome.images if image.reason)),
    )


def _images(outcome: Outcome) -> list[tuple[float, str]]:
    """Return height and region of each classified image, from the feet up."""
    return sorted(
        (image.position_mm or 0.0, image.region) for image in outcome.images if image.region is not None
    )


def _expected(
    sample: Series, modality: str, wanted: Sequence[frozenset[str]], heights: NDArray[np.float64]
) -> tuple[str, ...]:
    """Return the terms that are right: what the rules make of the true regions, and nothing else.

    Where several regions are right for an image, each may be meant, and all of them together.
    """
    every = sorted({region for regions in (*wanted, sample.anywhere) for region in regions})
    kept = [index for index, regions in enumerate(wanted) if regions]
    undecided = {region for regions in wanted if len(regions) > 1 for region in regions}
    terms = {series_term(dict.fromkeys(undecided, 1.0)).term}
    for meant in every:
        if not kept:
            terms.add(series_term({meant: 1.0}).term)
            continue
        regions = [meant if meant in wanted[i] else min(wanted[i]) for i in kept]
        classes = CLASSES[modality]
        truth = np.array([[region == key for key in classes] for region in regions], np.float32)
        terms.add(decide(Evidence(classes, truth, heights[kept]), PAPER, 0.0).term)
    return tuple(sorted(term for term in terms if term is not None))


def _texts(path: Path) -> tuple[str, ...]:
    ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TEXTS))
    return tuple(text for key in TEXTS if (text := str(ds.get(key, "") or "").strip()))


def telling(texts: Sequence[str]) -> str:
    """Return the first text that names a body part, empty where none does."""
    return next((text for text in texts if named_terms(text)), "")
