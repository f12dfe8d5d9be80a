"""The command that judges weights: `bodytag evaluate`. Training's code is imported only when it runs."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from model import series_weights
from model.classify import SHIPPED, Classifier
from node.cli import film_report, series_report
from node.cli.options import JsonOption, fail, sentences
from node.cli.series_report import SeriesRequest
from node.settings.config import Config
from node.version import VERSION
from rules.doubt import accepted, fit_maximum_energy

if TYPE_CHECKING:
    from model.training.report import Incoming
    from model.training.session import Begin, Request

CACHE: Final = Path("build/predictions")
TRAINING: Final = ("jinja2", "matplotlib")


class Modality(StrEnum):
    """The models: of modalities, radiographs, MR's sagittal and coronal images, CT series as wholes."""

    CT = "CT"
    MR = "MR"
    MR_LENGTHWISE = "MR_LENGTHWISE"
    XR = "XR"
    CT_SERIES = "CT_SERIES"


ModalityOption = Annotated[Modality, typer.Option(help="whose shipped weights, or whose runs of a folder")]
RunOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="a run's file: the weights it made, else the shipped ones"),
]
WeightsOption = Annotated[Path | None, typer.Option(help="weights (.npz) instead of the shipped ones")]
CompareOption = Annotated[Path | None, typer.Option(help="earlier weights to compare with, slice by slice")]
OutOption = Annotated[Path | None, typer.Option(help="the folder of report.html and report.json")]
CardOption = Annotated[
    Path | None, typer.Option(help="the model card to bring up to date, and the weights' own card with it")
]
DataOption = Annotated[Path, typer.Option(help="the data folder")]
PartOption = Annotated[
    list[str] | None,
    typer.Option("--part", help="evaluation, validation, source:NAME or anatomy:NAME; default: what fits"),
]
FolderOption = Annotated[
    Path | None, typer.Option(help="your own folder of DICOM files, scored instead of the data folder")
]
LabelsOption = Annotated[Path | None, typer.Option(help="its labels: a CSV of regions in patient mm")]
ExperimentsOption = Annotated[Path | None, typer.Option(help="a folder of runs, one row of a table for each")]
AgainstOption = Annotated[
    str | None, typer.Option(help="a stage (network, paper, order ...): the others beside it, paired")
]
ReferenceOption = Annotated[str | None, typer.Option(help="the run that the others are compared with")]
CacheOption = Annotated[Path, typer.Option(help="the folder where predictions are kept")]


def evaluate(
    modality: ModalityOption = Modality.CT,
    config: RunOption = None,
    weights: WeightsOption = None,
    compare: CompareOption = None,
    out: OutOption = None,
    card: CardOption = None,
    data: DataOption = Path("../shared/data"),
    part: PartOption = None,
    folder: FolderOption = None,
    labels: LabelsOption = None,
    experiments: ExperimentsOption = None,
    reference: ReferenceOption = None,
    against: AgainstOption = None,
    cache: CacheOption = CACHE,
    as_json: JsonOption = False,
) -> None:
    """Score weights on subjects and sources never trained on; write a report, the model card, experiments."""
    with sentences(), _as_sentences():
        if modality is Modality.XR:
            if any((compare, part, folder, labels, reference, against)):
                fail("radiographs are judged with --weights or --experiments, --out and --card alone")
            path = weights or _weights(config, modality)
            films = film_report.FilmRequest(path, data, out, card, as_json)
            print(film_report.said(films, experiments, _progress))
        elif modality is Modality.CT_SERIES:
            if any((part, folder, labels, experiments, reference, against)):
                fail("series as wholes are judged with --weights, --compare, --out and --card alone")
            path = weights or _weights(config, modality)
            print(series_report.report(SeriesRequest(path, data, compare, out, card, as_json), _progress))
        elif experiments is not None:
            print(_experiments(modality, experiments, reference, data, out, card, cache, as_json))
        else:
            from model.training.session import Request

            path, own = weights or _weights(config, modality), _own(folder, labels, card)
            request = Request(path, data, compare, tuple(part or ()), cache, own)
            print(
                _report(request, out, card, as_json) if against is None else _ladder(request, against, card)
            )


def _own(folder: Path | None, labels: Path | None, card: Path | None) -> tuple[Path, Path] | None:
    """Return the user's own folder and its labels; neither goes without the other."""
    if folder is None and labels is None:
        return None
    if folder is None or labels is None:
        fail("--folder and --labels belong together")
    if card is not None:
        fail("--card: the model card holds figures of the data folder alone; leave it out with --folder")
    return folder, labels


def _report(request: "Request", out: Path | None, card: Path | None, as_json: bool) -> str:
    """Return the figures of a request, as tables or JSON; write page and card where asked."""
    from model.training import card as cards
    from model.training import page, report, session
    from node.cli.judging import stages

    data = request.data
    with _progress() as begin:
        found = session.evaluate(request, stages(), begin, fit_maximum_energy)
        minimum = Config.standalone().classify.minimum_confidence
        synthetic = all(found.parts[name].synthetic for name in found.judged)
        alone = synthetic or request.own is not None or found.network.weights.lengthwise
        incoming = () if alone else _incoming(found.network.modality, request.weights, data, begin)
        made = session.report(found, VERSION, minimum, incoming)
        text = report.to_json(made).decode()
        if out is not None:
            _write(out / "report.html", page.render(made, session.shown(found, made, data)))
            _write(out / report.NAME, text)
    if card is not None:
        session.update_card(found, made, data, card)
    if as_json:
        return text
    changes = [cards.comparison(made.comparison)] if made.comparison else []
    return "\n\n".join([cards.tables(made), *changes])


def _ladder(request: "Request", against: str, card: Path | None) -> str:
    """Return every stage of each part beside one of them, paired; it needs no calibration anew.

    Of weights that were trained without some regions the card tells what becomes of these alone.
    """
    from model.training import card as cards
    from model.training import ladder, left_out, session
    from model.training.sampler import choice_of
    from node.cli.judging import stages

    with _progress() as begin:
        found = session.evaluate(request, stages(), begin, fit_maximum_energy)
    omitted = choice_of(found.network.weights.card.get("training")).omitted
    parts, unknown = [], []
    for name, judged in found.judged.items():
        part = found.parts[name]
        parts.append(f"{part.title}:\n\n{ladder.table(ladder.ladder(part, judged, against))}")
        lost = left_out.left_out(part, judged, found.network, omitted, accepted)
        if lost:
            unknown.append(f"{part.title}:\n\n{left_out.table(lost)}")
    if card is not None:
        kind = "left out" if omitted else "ladder"
        cards.insert(card, f"{found.network.modality} {kind}", "\n\n".join(unknown if omitted else parts))
    return "\n\n".join([*parts, *unknown])


def _experiments(
    modality: str, folder: Path, reference: str | None, data: Path,
    out: Path | None, card: Path | None, cache: Path, as_json: bool,
) -> str:  # fmt: skip
    from model.training import card as cards
    from model.training import experiments

    with _progress() as begin:
        found = experiments.run(experiments.find(folder, modality), data, reference, begin, cache)
    text, plain = experiments.markdown(found), json.dumps([asdict(one) for one in found], indent=1)
    if out is not None:
        _write(out / "experiments.json", plain)
    if card is not None:
        cards.insert(card, f"{modality} experiments", text)
    return plain if as_json else text


def _weights(config: Path | None, modality: str) -> Path:
    """Return the weights that a run's file made, the shipped ones where it made none yet."""
    if modality == Modality.CT_SERIES:
        return _series_weights(config)
    if config is None:
        return SHIPPED[modality]
    from model.training.run import load

    run = load(config)
    made = run.out / f"{run.modality.lower()}.npz"
    if made.is_file():
        return made
    print(f"there is no {made}: the shipped weights are scored", file=sys.stderr)
    return SHIPPED[run.modality]


def _series_weights(config: Path | None) -> Path:
    """Return the weights that a run for whole series made, the shipped ones where it made none yet."""
    if config is None:
        return series_weights.SHIPPED
    from model.training import volume_run, volume_train

    made = volume_run.load(config).out / volume_train.WEIGHTS
    return made if made.is_file() else series_weights.SHIPPED


def _incoming(modality: str, path: Path, data: Path, begin: "Begin") -> "tuple[Incoming, ...]":
    """Read the sample DICOM series as the node does; none where they are not there."""
    from model.training.demonstration import series
    from node.cli.baseline import incoming

    if not (data / "dicom" / f"{modality.lower()}.csv").is_file():
        return ()
    samples, settings = series(data, modality), Config.standalone()
    tick = begin("sample DICOM series", len(samples))
    beside = {name: made for name, made in SHIPPED.items() if name.startswith(f"{modality}_")}
    classifier = Classifier.load({modality: path, **beside})
    found = []
    for sample in samples:
        found.append(incoming(sample, modality, settings, classifier))
        tick()
    return tuple(found)


@contextmanager
def _as_sentences() -> Iterator[None]:
    """Turn what training's code raises over settings, or its absence, into one sentence."""
    from model.training.cases import EvaluationError
    from model.training.labels import FolderError
    from model.training.run import RunError

    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in TRAINING:
            raise
        fail(f"{error.name} is not installed; evaluating needs pip install 'bodytag[train]'")
    except (EvaluationError, FolderError, RunError) as error:
        fail(str(error))


@contextmanager
def _progress() -> "Iterator[Begin]":
    """Show a bar for each thing that is worked on, on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def begin(name: str, count: int) -> Callable[[], None]:
            task = bars.add_task(name, total=count)
            return lambda: bars.advance(task)

        yield begin


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path}", file=sys.stderr)
