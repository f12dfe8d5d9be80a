"""One evaluation from weights to report: which parts to score, what to compare with, what to show."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model.regions import CLASSES
from model.training import pictures, provenance, split
from model.training.bodies import FILES
from model.training.card import comparison as comparison_table
from model.training.card import insert, left_out, plain, tables
from model.training.cases import ANATOMY, EVALUATION, LENGTHWISE, SOURCE, VALIDATION, Part, own, part
from model.training.cases import pictures as drawn
from model.training.evaluate import FitEnergy, Judged, calibrate, compared, judge, score
from model.training.page import Pictures
from model.training.predictions import Network
from model.training.report import Incoming, Report, about
from model.training.sampler import REAL, Choice, choice_of
from model.training.stages import Stage
from model.weights_file import Weights, read_card, write_card

SAMPLES: Final = 8
"""Synthetic slices shown of each region."""

Begin = Callable[[str, int], Callable[[], None]]
"""Told what is worked on and how many images it has; returns what is to be called for each image."""


@dataclass(frozen=True)
class Request:
    """What to evaluate. `names` are parts; none means those that the weights' training calls for.

    `own` are a user's own folder and its labels: then these alone are scored, and `data` is not read.
    """

    weights: Path
    data: Path
    before: Path | None = None
    names: tuple[str, ...] = ()
    cache: Path | None = None
    own: tuple[Path, Path] | None = None


@dataclass(frozen=True, eq=False)
class Evaluated:
    """The parts and what each stage said of them, for the network and for the one before."""

    network: Network
    parts: Mapping[str, Part]
    judged: Mapping[str, tuple[Judged, ...]]
    before: Network | None
    earlier: Mapping[str, tuple[Judged, ...]]


def parts_of(choice: Choice) -> tuple[str, ...]:
    """Return the parts that weights of this training are scored on: both of the split, and what it lacks.

    Weights trained on sagittal and coronal images are used, and scored, on these alone.
    """
    if choice.upright:
        return (EVALUATION + LENGTHWISE, VALIDATION + LENGTHWISE)
    bodies = ("AF",) if choice.images == REAL else tuple(name for name in FILES if name not in choice.bodies)
    left_out = (*(f"{SOURCE}{name}" for name in choice.without), *(f"{ANATOMY}:{name}" for name in bodies))
    return (EVALUATION, VALIDATION, *left_out)


def held_out(weights: Weights) -> str:
    """Return the part that weights are calibrated on."""
    return VALIDATION + LENGTHWISE if weights.lengthwise else VALIDATION


def evaluate(
    request: Request, stages: Sequence[Stage], begin: Begin, fit_energy: FitEnergy | None = None
) -> Evaluated:
    """Calibrate the weights and ask every stage of every part; likewise for the weights before."""
    network = Network(request.weights, request.cache)
    wanted, parts = _parts(request, network)
    before = None if request.before is None else Network(request.before, request.cache)
    judged: list[dict[str, tuple[Judged, ...]]] = [{}, {}]
    for place, one in enumerate((network, before)):
        if one is None:
            continue
        for name, each in parts.items():
            one.logits(each, begin(f"{one.name}: {name}", each.count))
        if held_out(network.weights) in parts:
            calibrate(one, parts[held_out(network.weights)], fit_energy)
        judged[place] = {name: judge(one, each, stages) for name, each in parts.items() if name in wanted}
    return Evaluated(network, parts, judged[0], before, judged[1])


def _parts(request: Request, network: Network) -> tuple[tuple[str, ...], dict[str, Part]]:
    """Return the names of the parts to score, and these parts with the one to calibrate on."""
    training = network.weights.card.get("training")
    if request.own is not None:
        mine = own(*request.own, network.modality, training)
        return (mine.name,), {mine.name: mine}
    choice, divided = choice_of(training), split.read()
    wanted = request.names or parts_of(choice)
    names = dict.fromkeys((held_out(network.weights), *wanted))
    return wanted, {name: part(request.data, network.modality, name, divided, choice) for name in names}


def report(
    found: Evaluated, version: str, minimum_confidence: float, incoming: tuple[Incoming, ...] = ()
) -> Report:
    """Return the figures of everything that was judged."""
    network, before = found.network, found.before
    order = sorted(
        found.judged, key=lambda name: (EVALUATION, VALIDATION, name).index(name)
    )  # the split first
    return Report(
        version,
        about(network.path, network.weights, network.temperature),
        CLASSES[network.modality],
        minimum_confidence,
        tuple(score(found.parts[name], found.judged[name]) for name in order),
        incoming,
        None if before is None else about(before.path, before.weights, before.temperature),
        compared(found.earlier, found.judged),
    )


def shown(found: Evaluated, made: Report, data: Path) -> Pictures:
    """Return the pictures of a report: the worst mistakes of the last stage, and synthetic slices."""
    mistakes = {
        scored.name: [pictures.mistake(found.parts[scored.name].cases[each.case], each.image)
                      for each in scored.stages[-1].mistakes]
        for scored in made.parts
    }  # fmt: skip
    strips = drawn(data, found.network.modality, SAMPLES) if (data / "anatomy").is_dir() else {}
    return Pictures(mistakes, {region: pictures.strip(images) for region, images in strips.items()})


def update_card(found: Evaluated, made: Report, data: Path, card: Path) -> None:
    """Write figures, data and comparison between their markers in the model card, and into the weights' card.

    Anatomies alone have a place of their own, as have sources that were left out of training to be judged on;
    both leave the other figures, and the weights' card, as they are. Raises EvaluationError where the markers
    are missing, and where of such weights nothing was scored that they left out.
    """
    modality = found.network.modality
    name = f"{modality} lengthwise" if found.network.weights.lengthwise else modality
    if all(part.synthetic for part in made.parts):
        insert(card, f"{name} anatomy left out", tables(made))
        return
    choice = choice_of(found.network.weights.card.get("training"))
    if choice.without:
        insert(card, f"{name} sources left out", left_out(made))
        return
    origins = provenance.all_origins(data, modality, split.read(), choice)
    insert(card, f"{name} figures", tables(made))
    insert(card, f"{name} data", provenance.table(origins))
    if made.comparison:
        insert(card, f"{name} comparison", comparison_table(made.comparison))
    old = read_card(found.network.path)
    fitted: dict[str, object] = {"temperature": found.network.temperature}
    if found.network.maximum_energy is not None:
        fitted["maximum_energy"] = found.network.maximum_energy
    new = {**fitted, "data": provenance.plain(origins), "figures": plain(made)}
    write_card(found.network.path, {**old, **new})
