"""Several runs side by side, on the same slices: one row a run, with paired intervals against one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model.training import split
from model.training.card import points, table
from model.training.cases import EVALUATION, VALIDATION, EvaluationError, Part, part
from model.training.compare import Difference, differences
from model.training.evaluate import judge
from model.training.metrics import MEASURES, Outcome, measures
from model.training.predictions import Network
from model.training.sampler import Choice, choice_of
from model.training.session import Begin, parts_of
from model.training.stages import NETWORK, Stage
from model.weights_file import read_card

REFERENCE: Final = "reference"
_NO_DIFFERENCE: Final = frozenset({"out", "data", "seed", "suppliers"})
"""Keys of a run's configuration that do not make it another experiment."""


@dataclass(frozen=True)
class Trial:
    """One run on one part: its measures (shares 0..1), and what they differ from the reference by."""

    part: str
    slices: int
    subjects: int
    values: dict[str, float]
    change: tuple[Difference, ...]


@dataclass(frozen=True)
class Experiment:
    """One run: the name of its configuration, what it does otherwise than the reference, its trials."""

    name: str
    digest: str
    differs: dict[str, str]
    trials: tuple[Trial, ...]


def find(folder: Path, modality: str) -> dict[str, Path]:
    """Return the weights of this modality under a folder by the name of their run, in order of names.

    A run is named by its folder, or by its file where several lie in one. Raises EvaluationError
    where there are none.
    """
    found = {}
    for path in sorted(folder.rglob("*.npz")):
        if path.with_suffix(".json").is_file() and read_card(path).get("modality") == modality:
            alone = path.stem.lower() == modality.lower() and path.parent != folder
            found[path.parent.name if alone else path.stem] = path
    if not found:
        raise EvaluationError(f"there are no weights for {modality} with a card in {folder}")
    return found


def run(
    weights: Mapping[str, Path],
    data: Path,
    reference: str | None,
    begin: Begin,
    cache: Path | None,
    stage: Stage = NETWORK,
) -> tuple[Experiment, ...]:
    """Score every run on the same parts; the reference comes first.

    Parts that one run left out in training are scored for that run and for the reference. Raises
    EvaluationError where there is no run called `reference`; the first one is it if none is named.
    """
    first = reference or (REFERENCE if REFERENCE in weights else next(iter(weights)))
    if first not in weights:
        raise EvaluationError(f"there is no run '{first}'; there are {', '.join(weights)}")
    networks = {name: Network(weights[name], cache) for name in (first, *(n for n in weights if n != first))}
    choices = {name: choice_of(one.weights.card.get("training")) for name, one in networks.items()}
    modality = networks[first].modality
    common = {name: part(data, modality, name, split.read(), Choice()) for name in (VALIDATION, EVALUATION)}
    found = []
    known: dict[str, Outcome] = {}
    for name, network in networks.items():
        parts = {**common, **_left_out(data, modality, choices[name], choices[first])}
        trials = []
        for one in parts.values():
            if one.name not in known and name != first:
                known[one.name] = _outcome(networks[first], one, stage, begin)
            new = _outcome(network, one, stage, begin)
            trials.append(_trial(known.setdefault(one.name, new), new, name != first, one.name))
        record = networks[first].weights.card.get("training")
        differs = what_differs(network.weights.card.get("training"), record) if name != first else {}
        found.append(Experiment(name, network.weights.digest, differs, tuple(trials)))
    return tuple(found)


def _left_out(data: Path, modality: str, choice: Choice, reference: Choice) -> dict[str, Part]:
    """Return the parts that a run left out and the reference did not."""
    names = [name for name in parts_of(choice) if name not in parts_of(reference)]
    return {name: part(data, modality, name, split.read(), choice) for name in names}


def _outcome(network: Network, one: Part, stage: Stage, begin: Begin) -> Outcome:
    network.logits(one, begin(f"{network.name}: {one.name}", one.count))
    return judge(network, one, (stage,))[0].outcome


def _trial(reference: Outcome, new: Outcome, other: bool, name: str) -> Trial:
    values = {key: float(value) for key, value in measures(new.confusion(), new.classes).items()}
    people = len(set(new.places.subjects))
    return Trial(name, len(new.truth), people, values, differences(reference, new) if other else ())


def what_differs(training: object, reference: object) -> dict[str, str]:
    """Return what one run's configuration says otherwise than the reference's, bookkeeping aside."""
    mine, others = (_config(record) for record in (training, reference))
    return {
        key: mine.get(key, "-")
        for key in dict.fromkeys((*others, *mine))
        if mine.get(key) != others.get(key) and key not in _NO_DIFFERENCE
    }


def _config(training: object) -> dict[str, str]:
    """Return the configuration in a record as texts; the record itself where it holds none."""
    record = training if isinstance(training, Mapping) else {}
    plain = record.get("config", record)
    return {
        key: ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        for key, value in plain.items()
        if not isinstance(value, Mapping)
    }


def markdown(found: Sequence[Experiment]) -> str:
    """Return the table: a row a run, then the parts that single runs left out."""
    shared = [trial.part for trial in found[0].trials]
    n = "; ".join(f"{t.part} {t.slices} slices of {t.subjects} subjects" for t in found[0].trials)
    shown = [name for name in MEASURES if name != "macro F1"]
    heads = ["run", "what differs", *(f"{part_name}: {name} %" for part_name in shared for name in shown)]
    rows = [
        [
            one.name,
            _differs(one),
            *(_cell(trial, name) for trial in one.trials[: len(shared)] for name in shown),
        ]
        for one in found
    ]
    apart = [
        [one.name, trial.part, f"{trial.slices} / {trial.subjects}", *(_cell(trial, name) for name in shown)]
        for one in found
        for trial in one.trials[len(shared) :]
    ]
    said = (
        f"Network alone, {n}; in brackets the paired change against {found[0].name} with its 95 % interval."
    )
    text = f"{said}\n\n{table(heads, rows)}"
    if not apart:
        return text
    heads = ["run", "left out in training", "slices / subjects", *(f"{name} %" for name in shown)]
    return (
        f"{text}\n\nOn what single runs left out, against {found[0].name}, which trained on it:\n\n"
        + table(heads, apart)
    )


def _differs(one: Experiment) -> str:
    said = (f"{key}: {value or 'none'}" for key, value in one.differs.items())
    return ", ".join(said) or "the reference"


def _cell(trial: Trial, name: str) -> str:
    text = f"{100 * trial.values[name]:.1f}"
    change = next((row.change for row in trial.change if row.measure == name), None)
    return f"{text} [{points(change)}]" if change is not None else text
