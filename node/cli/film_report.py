"""The part of `bodytag evaluate` that judges weights for radiographs."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from node.cli.options import fail
from rules.doubt import fit_maximum_energy
from rules.films import joined

if TYPE_CHECKING:
    from model.training.film_evaluation import Scored
    from model.training.session import Begin

Progress = Callable[[], "AbstractContextManager[Begin]"]


@dataclass(frozen=True)
class FilmRequest:
    """What to judge: one file of weights, or every run of a folder for the sources that it left out."""

    weights: Path
    data: Path
    out: Path | None
    card: Path | None
    as_json: bool


def _together(groups: NDArray[np.float32], parts: NDArray[np.float32]) -> tuple[Any, Any]:
    """Join both heads as the node does."""
    both = joined(groups, parts)
    return both.groups, both.parts


def said(request: FilmRequest, experiments: Path | None, progress: Progress) -> str:
    """Return the figures of one file of weights, or of all runs of a folder."""
    return report(request, progress) if experiments is None else _turns(experiments, request, progress)


def report(request: FilmRequest, progress: Progress) -> str:
    """Score weights on validation and on what their training left out; write the cards where asked."""
    from model.radiographs import CHESTS
    from model.training import card, film_evaluation, film_tables, provenance, radiographs, sampler
    from model.weights_file import load, read_card, write_card

    weights = load(request.weights)
    sources = film_evaluation.without(weights)
    rows = film_evaluation.kept(request.data, sources)
    chests = [row for row in rows if row.group in CHESTS]
    with progress() as begin:
        said = film_evaluation.ask(request.weights, rows, request.data, begin("validation", len(rows)))
        swap = film_evaluation.Swapped(request.data, rows)
        turned = film_evaluation.ask(
            request.weights, chests, request.data, begin("swapped looks", len(chests)), swap
        )
        others = film_evaluation.left_out(request.data, sources)
        asked = film_evaluation.ask(request.weights, others, request.data, begin("left out", len(others)))
    temperatures = film_evaluation.calibrated(said)
    scored = [film_evaluation.score(film_evaluation.VALIDATION, said, temperatures, _together)]
    if others:
        scored.append(film_evaluation.score("sources left out", asked, temperatures, _together))
    swapped = film_evaluation.swapped_share(turned)
    text, plain = film_tables.tables(scored, swapped), film_tables.plain(scored, swapped)
    if request.out is not None:
        _write(request.out / "report.json", json.dumps(plain, indent=1))
    if request.card is not None:
        origins = film_tables.origins(radiographs.read(request.data), sources)
        bodies = [provenance.Origin(source, licence, "projections", 1, 0)
                  for _, source, licence in provenance.ANATOMIES]  # fmt: skip
        images = sampler.choice_of(weights.card.get("training")).images
        every = (*origins, *(bodies if images != sampler.REAL else ()))
        card.insert(request.card, "XR figures", text)
        card.insert(request.card, "XR data", provenance.table(every))
        people = [film_evaluation.subject(row) for row in said.rows]
        fitted = {
            "temperature": temperatures.groups,
            "part_temperature": temperatures.parts,
            "maximum_energy": round(fit_maximum_energy(said.energy, people), 4),
        }
        new = {**fitted, "data": provenance.plain(every), "figures": plain}
        write_card(request.weights, {**read_card(request.weights), **new})
    return json.dumps(plain, indent=1) if request.as_json else text


def _turns(folder: Path, request: FilmRequest, progress: Progress) -> str:
    """Score every source on the run of the folder that left it out, and all of them together."""
    from model.training import card, film_evaluation, film_tables
    from model.weights_file import load

    asked: dict[str, film_evaluation.Said] = {}
    lines: list[tuple[str, Scored]] = []
    together: list[film_evaluation.Said] = []
    with progress() as begin:
        for path in sorted(folder.glob("*/xr.npz")):
            sources = film_evaluation.without(load(path))
            rows = film_evaluation.left_out(request.data, [name for name in sources if name not in asked])
            if not rows:
                continue
            kept = film_evaluation.kept(request.data, sources)
            name = path.parent.name
            own = film_evaluation.ask(path, kept, request.data, begin(f"{name}: validation", len(kept)))
            temperatures = film_evaluation.calibrated(own)
            said = film_evaluation.ask(path, rows, request.data, begin(f"{name}: left out", len(rows)))
            together.append(_calibrated(said, temperatures))
            for source in sorted({row.source for row in rows}):
                mine = said.of(np.array([row.source == source for row in rows]))
                asked[source] = mine
                lines.append((source, film_evaluation.score(source, mine, temperatures, _together)))
    if not together:
        fail(f"no run in {folder} left a source out")
    pooled = film_evaluation.pooled(together)
    one = film_evaluation.Temperatures(1.0, 1.0)
    scored = [film_evaluation.score(film_evaluation.LEFT_OUT, pooled, one, _together)]
    text = "\n\n".join([film_tables.by_source(lines), film_tables.tables(scored, {})])
    plain = film_tables.plain([*scored, *(each for _, each in lines)], {})
    if request.out is not None:
        _write(request.out / "experiments.json", json.dumps(plain, indent=1))
    if request.card is not None:
        card.insert(request.card, "XR experiments", text)
    return json.dumps(plain, indent=1) if request.as_json else text


def _calibrated(said: Any, temperatures: Any) -> Any:
    """Return what was said as each network's own temperatures have it, so that several can be pooled."""
    from model.training.film_evaluation import Said

    return Said(said.rows, said.groups / temperatures.groups, said.parts / temperatures.parts, said.energy)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
