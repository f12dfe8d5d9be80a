"""Commands about results: query, resend, and classify without a node."""

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from db.queries import Filters, SeriesRow, series_rows
from db.records import Outcome
from db.session import open_migrated
from db.states import State
from model.classify import Classifier
from model.frames import read_headers
from model.radiographs import KNOWN_KEYS
from model.read import ImageHeader, NotDicomError
from model.series_labels import AXES, CONTRASTS, PARTS
from node import worker
from node.auditing.admin import commanded
from node.cli import tables
from node.cli.options import ConfigOption, JsonOption, fail, sentences, terminal
from node.delivery.resend import resend as arm_again
from node.settings.config import Config, load


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


Patient = Annotated[str | None, typer.Option(help="Patient ID or name; * and ? are wild cards")]
Study = Annotated[str | None, typer.Option(help="Study Instance UID")]
Series = Annotated[str | None, typer.Option(help="Series Instance UID")]
StateOption = Annotated[State | None, typer.Option(help="state of the series")]
DateFrom = Annotated[datetime | None, typer.Option(help="study date, first", formats=["%Y-%m-%d"])]
DateTo = Annotated[datetime | None, typer.Option(help="study date, last", formats=["%Y-%m-%d"])]
To = Annotated[list[str] | None, typer.Option(help="destinations; none: all that get every series")]
Everything = Annotated[bool, typer.Option("--all", help="what was sent, too, not only what failed")]
Rules = Annotated[Path | None, typer.Option("--config", "-c", help="for rules, weights and thresholds")]


def query(
    config: ConfigOption = Path("node.yaml"),
    patient: Patient = None,
    study: Study = None,
    series: Series = None,
    region: Annotated[str | None, typer.Option(help=f"one of {', '.join(KNOWN_KEYS)}, unknown")] = None,
    modality: Annotated[str | None, typer.Option(help="CT, MR, ...")] = None,
    state: StateOption = None,
    date_from: DateFrom = None,
    date_to: DateTo = None,
    disagrees: Annotated[
        bool | None, typer.Option("--disagrees/--agrees", help="incoming tag against the verdict")
    ] = None,
    part: Annotated[str | None, typer.Option(help=f"CT as a whole: {', '.join(PARTS)}")] = None,
    axis: Annotated[str | None, typer.Option(help=f"axis of CT: {', '.join(AXES)}")] = None,
    contrast: Annotated[str | None, typer.Option(help="IV contrast in CT: with, without")] = None,
    limit: Annotated[int, typer.Option(min=1, help="at most so many series, newest first")] = 100,
    explain: Annotated[
        bool, typer.Option(help="say of each series in one sentence why it is called so")
    ] = False,
    form: Annotated[Format, typer.Option("--format", help="how to print")] = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Look up series: what arrived, what it shows, where it went."""
    if region is not None and region not in (*KNOWN_KEYS, "unknown"):
        fail(f"there is no region '{region}'; known are {', '.join(KNOWN_KEYS)}, unknown")
    for value, known in ((part, PARTS), (axis, AXES), (contrast, CONTRASTS)):
        if value is not None and value not in known:
            fail(f"there is no '{value}'; known are {', '.join(known)}")
    filters = Filters(
        patient=patient,
        study=study,
        series=series,
        region=region,
        modality=modality,
        state=state,
        date_from=date_from.date() if date_from else None,
        date_to=date_to.date() if date_to else None,
        disagreement=disagrees,
        part=part,
        axis=axis,
        contrast=contrast,
        limit=limit,
    )
    with sentences():
        database = open_migrated(load(config).database.url)
        with database.reading() as session:
            rows = series_rows(session, filters)
        database.close()
    _show(rows, Format.JSON if as_json else form, explain)


def _show(rows: Sequence[SeriesRow], form: Format, explain: bool) -> None:
    if form is Format.JSON:
        print(tables.as_json(rows, explained=explain))
    elif form is Format.CSV:
        tables.write_csv(rows, sys.stdout)
    elif explain:
        print("\n".join(tables.explanations(rows)))
    else:
        terminal().print(tables.series_table(rows))


def resend(
    config: ConfigOption = Path("node.yaml"),
    study: Study = None,
    series: Series = None,
    patient: Patient = None,
    state: StateOption = None,
    to: To = None,
    everything: Everything = False,
    as_json: JsonOption = False,
) -> None:
    """Deliver again what failed, or with --all everything, of the matching series."""
    if not any((study, series, patient, state)):
        fail("name what to send again: --study, --series, --patient or --state")
    with sentences():
        settings = load(config)
        names = [settings.destination(name).name for name in to or ()]
        database = open_migrated(settings.database.url)
        filters = Filters(study=study, series=series, patient=patient, state=state)
        armed = arm_again(settings, database, filters, names, only_failed=not everything)
        commanded(settings, "resend", study=study, series=series, destinations=names, deliveries=armed)
        database.close()
    print(json.dumps({"deliveries": armed}) if as_json else f"{armed} deliveries are due again")
    if not armed:
        raise typer.Exit(1)


def classify(
    folder: Annotated[Path, typer.Argument(help="a folder of DICOM files", exists=True)],
    config: Rules = None,
    as_json: JsonOption = False,
) -> None:
    """Say what the series of a folder show, without a node, a database or a network."""
    with sentences():
        settings = load(config) if config else Config.standalone()
        series, skipped = _read_folder(folder)
        if not series:
            fail(f"there is no DICOM file in {folder}")
        classifier = Classifier.load(settings.weights(), replace(settings.engine(), shelf=None))
    outcomes = {
        uid: worker.classify(headers, settings, classifier, lambda: None) for uid, headers in series.items()
    }
    if as_json:
        print(json.dumps({uid: asdict(outcome) for uid, outcome in outcomes.items()}, indent=1))
        return
    table = Table(title=str(folder), show_lines=True)
    for heading in ("series", "tag said", "node says", "regions"):
        table.add_column(heading, overflow="fold")
    for uid, outcome in outcomes.items():
        table.add_row(*_line(series[uid], outcome))
    terminal().print(table)
    if skipped:
        print(f"{skipped} files are no readable DICOM files")


def _line(headers: list[ImageHeader], outcome: Outcome) -> tuple[str, str, str, str]:
    first, instances = headers[0], len({header.path for header in headers})
    name = f"{first.modality} {first.series_description}\n{instances} instances"
    verdict = outcome.verdict
    if verdict is None:
        told = (outcome.reason or "", tables.whole_text(outcome.whole) if outcome.whole else "")
        return name, first.body_part or "-", "\n".join(text for text in told if text), ""
    said = f"{verdict.term or 'unknown'} {verdict.confidence:.2f}"
    if outcome.whole is not None:
        said += f"\n{tables.whole_text(outcome.whole)}"
    return name, first.body_part or "-", said, tables.spans_text(verdict.spans)


def _read_folder(folder: Path) -> tuple[dict[str, list[ImageHeader]], int]:
    series: defaultdict[str, list[ImageHeader]] = defaultdict(list)
    skipped = 0
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        try:
            headers = read_headers(path)
        except (NotDicomError, OSError):
            skipped += 1
            continue
        series[headers[0].series_instance_uid] += headers
    return dict(series), skipped
