"""The part of `bodytag evaluate` that judges networks for whole CT series, alone and beside the slices."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from model.classify import SHIPPED, Classifier
from model.read import Image
from model.regions import ABDOMEN_CHEST
from model.series_reader import SeriesReader
from node.settings.config import Config
from node.wholes import at
from rules.decide import decide
from rules.verdict import Evidence

if TYPE_CHECKING:
    from model.enhancement import Enhancement
    from model.training.session import Begin
    from model.training.volume_evaluation import Estimate, Said, SeriesScore
    from model.training.volume_real import Scan
    from model.volumes import Volume

Progress = Callable[[], "AbstractContextManager[Begin]"]
EVERY: Final = 2
"""Of the slices of a volume every so manieth is shown to the slice network."""
SLICES: Final = 300
"""Slices of the series that costs are measured on."""
AGAIN: Final = 5
STAGES: Final = {"slices alone": ("order",), "with the projection": ("whole", "order")}
VALIDATION: Final = "validation subjects"
ZONE: Final = frozenset({"chest", "abdomen"})


@dataclass(frozen=True)
class SeriesRequest:
    """What to judge: weights, and others (the paper's network, say) whose cost is measured beside them."""

    weights: Path
    data: Path
    beside: Path | None
    out: Path | None
    card: Path | None
    as_json: bool


def report(request: SeriesRequest, progress: Progress) -> str:
    """Score weights on people, sources and a body never trained on; write the cards where asked."""
    from model.training import card, volume_tables
    from model.weights_file import read_card, write_card

    with progress() as begin:
        scores, fitted, curve = _scores(request, begin)
        fusion = _fusion(SeriesReader.load(request.weights), request.data, begin)
        costs = _costs(request, begin)
    text = "\n\n".join([volume_tables.tables(scores), _fusion_table(fusion), _costs_table(costs)])
    more = {
        "fusion": {name: volume_tables.rounded(found) for name, found in fusion.items()},
        "cpu_ms": costs,
    }
    plain = volume_tables.plain(scores, more)
    if request.out is not None:
        _write(request.out / "report.json", json.dumps(plain, indent=1))
    if request.card is not None:
        card.insert(request.card, "CT series figures", text)
        old = read_card(request.weights)
        curves = {"temperatures": fitted, "enhancement": curve.as_json()}
        write_card(request.weights, {**old, **curves, "figures": plain})
    return json.dumps(plain, indent=1) if request.as_json else text


def _scores(
    request: SeriesRequest, begin: "Begin"
) -> "tuple[list[SeriesScore], dict[str, float], Enhancement]":
    """Return the scores of every part, the temperatures that fit the validation subjects, and the curve of
    contrast medium that fits the training subjects."""
    from model.series_weights import load
    from model.training import volume_cases, volume_contrast, volume_evaluation
    from model.training.volume_run import SeriesRun

    weights = load(request.weights)
    curve = volume_contrast.fitted(request.data)
    untempered = dict.fromkeys(weights.temperatures, 1.0)
    raw = SeriesReader(request.weights, replace(weights, temperatures=untempered, enhancement=curve))
    config = weights.card.get("training", {}).get("config", {})
    bodies = tuple(config.get("bodies", SeriesRun.model_fields["bodies"].default))
    parts: dict[str, Any] = {
        "sources never trained on": volume_cases.real(volume_cases.held_out(request.data, "evaluation")),
        VALIDATION: volume_cases.real(volume_cases.held_out(request.data, "validation")),
        "anatomy left out": volume_cases.synthetic(request.data, bodies),
    }
    said = {}
    for name, cases in parts.items():
        listed = tuple(cases)
        if listed:
            said[name] = volume_evaluation.ask(raw, listed, begin(name, len(listed)))
    fitted = {**dict.fromkeys(weights.temperatures, 1.0), **volume_evaluation.temperatures(said[VALIDATION])}
    found = []
    for name, one in said.items():
        tempered = volume_evaluation.tempered(one, fitted)
        found.append(volume_evaluation.score(name, tempered))
        if any(case.whole for case in one.cases) and not all(case.whole for case in one.cases):
            found.append(volume_evaluation.score(f"{name}, as scanned", as_scanned(tempered)))
    return found, fitted, curve


def as_scanned(said: "Said") -> "Said":
    """Return what was said of the volumes that were not cut as another protocol."""
    mine = np.array([case.whole for case in said.cases])
    names = ("parts", "contrasts", "axes", "rows", "row_losses", "cpu_ms", "measured")
    tables = {name: getattr(said, name)[mine] for name in names}
    return replace(said, cases=tuple(case for case in said.cases if case.whole), **tables)


def _fusion(reader: SeriesReader, data: Path, begin: "Begin") -> "dict[str, Estimate]":
    """Return the share of labelled slices that are right, with the projection's word and without it."""
    from model.training import volume_cases
    from model.training.volume_evaluation import ratio

    scans = [*volume_cases.held_out(data, "evaluation"), *volume_cases.held_out(data, "validation")]
    classifier, tick = Classifier.load({"CT": SHIPPED["CT"]}), begin("with the slices", len(scans))
    hits: dict[str, list[int]] = {name: [] for name in STAGES}
    counts, studies = [], []
    for scan in scans:
        right, count = _fused(scan, reader, classifier)
        for name in STAGES:
            hits[name].append(right[name])
        counts.append(count)
        studies.append(f"{scan.source}/{scan.subject}")
        tick()
    where = np.array(studies)
    return {name: ratio(np.array(each), np.array(counts), where) for name, each in hits.items()}


def _fused(scan: "Scan", reader: SeriesReader, classifier: Classifier) -> tuple[dict[str, int], int]:
    """Return how many slices of a volume are right at each stage, and how many have a label."""
    from model.series_stack import Plan
    from model.training.volume_draw import NOBODY, REGIONS
    from model.volumes import STORED

    step, down, right = scan.spacing_mm
    every = np.arange(len(scan.values), dtype=np.float64) * step
    planned = Plan((), every, step, STORED["axial"], reach_mm=(0.0, scan.length_mm))
    said = reader.predict(_stack(scan), planned)
    places = np.arange(0, len(scan.values), EVERY)
    images = [Image(scan.values[z].astype(np.float32), np.ones(scan.values[z].shape, np.bool_), (down, right))
              for z in places]  # fmt: skip
    seen = classifier.predict("CT", images)
    heights = every[places] + step / 2
    evidence = Evidence(seen.classes, seen.probabilities, heights)
    if said.stretches is not None:
        evidence = replace(evidence, whole=at(said.stretches, heights))
    true = [REGIONS[index] if index != NOBODY else None for index in scan.regions[places]]
    minimum = Config.standalone().classify.minimum_confidence
    found = {name: decide(evidence, rules, minimum).regions for name, rules in STAGES.items()}
    hits = {name: sum(map(_fits, true, regions)) for name, regions in found.items()}
    return hits, sum(label is not None for label in true)


def _stack(scan: "Scan") -> "Volume":
    """Return a volume as the node gathers it: each slice made small."""
    from model.volumes import Volume, small

    step, down, right = scan.spacing_mm
    slices = [small(cut.astype(np.float32)) for cut in scan.values]
    times = slices[0][1]
    return Volume(np.stack([cut for cut, _ in slices]), (step, down * times, right * times))


def _fits(true: str | None, said: str) -> bool:
    """Say whether a slice is right; lung base with upper abdomen may be called either."""
    return true is not None and (said == true or (true == ABDOMEN_CHEST and said in ZONE))


def _costs(request: SeriesRequest, begin: "Begin") -> dict[str, float]:
    """Return the CPU milliseconds of a series of SLICES slices, after decoding, for each network."""
    from model.training import volume_evaluation

    found = {}
    for path in (request.weights, *((request.beside,) if request.beside else ())):
        again = AGAIN if path == request.weights else 1
        reader, tick = SeriesReader.load(path), begin(f"cost of {path.stem}", again + 1)
        spent = []
        for _ in range(again + 1):  # the first one builds the network
            spent.append(volume_evaluation.costs(reader, SLICES))
            tick()
        found[path.stem] = round(float(np.median(spent[1:])), 1)
    return found


def _fusion_table(fusion: "dict[str, Estimate]") -> str:
    from model.training.volume_tables import percent

    lines = ["#### CT series. The projection's word in the ordered decoder", ""]
    lines += ["| slices right % (every second slice of held-out volumes) | |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {name} | {percent(found)} |" for name, found in fusion.items())])


def _costs_table(costs: dict[str, float]) -> str:
    lines = [
        f"| CPU ms a series of {SLICES} decoded slices of 512 x 512, median | |",
        "| --- | --- |",
    ]
    return "\n".join([*lines, *(f"| {name} | {spent:.0f} |" for name, spent in costs.items())])


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
