"""The command `export-labels`: what people corrected, as labels for training."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from db.session import open_migrated
from node import labels
from node.auditing.admin import commanded
from node.cli.options import ConfigOption, JsonOption, sentences
from node.settings.config import load

Out = Annotated[Path, typer.Option(help="the file to write; - for standard output")]
Carried = Annotated[
    bool, typer.Option("--carried/--by-hand", help="also what follows from the Frame of Reference")
]


def export_labels(
    config: ConfigOption = Path("node.yaml"),
    out: Out = Path("-"),
    carried: Carried = True,
    as_json: JsonOption = False,
) -> None:
    """Write corrections as labels for `bodytag train`: a CSV file in mm of the patient."""
    with sentences():
        settings = load(config)
        database = open_migrated(settings.database.url)
        with database.reading() as session:
            if out == Path("-"):
                written = labels.write(session, sys.stdout, carried)
            else:
                with out.open("w", newline="", encoding="utf-8") as file:
                    written = labels.write(session, file, carried)
        database.close()
        commanded(settings, "export-labels", series=written.series)
    told = {"series": written.series, "ranges": written.ranges, "left_out": written.left_out}
    said = f"{written.ranges} ranges of {written.series} series written, {written.left_out} left out"
    print(json.dumps(told) if as_json else said, file=sys.stderr if out == Path("-") else sys.stdout)
    if not written.series:
        raise typer.Exit(1)
