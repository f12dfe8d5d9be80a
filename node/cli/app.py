"""The command line: `bodytag`, one function a command."""

import json
import sys
import time
import uuid
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from db.session import migrate
from model.series_weights import load as load_series_weights
from model.weights_file import WeightsError
from model.weights_file import load as load_weights
from node import log
from node.auditing.admin import commanded
from node.cli import destinations as cli_destinations
from node.cli import doctor as cli_doctor
from node.cli import evaluate as cli_evaluate
from node.cli import labels as cli_labels
from node.cli import notify as cli_notify
from node.cli import peers as cli_peers
from node.cli import results as cli_results
from node.cli import training as cli_training
from node.cli import users as cli_users
from node.cli.attempt import try_file
from node.cli.options import ConfigOption, JsonOption, sentences
from node.delivery import destinations
from node.service import serve as run_node
from node.settings.config import Config, ConfigError, load
from node.storage.spool import Spool
from node.version import VERSION

app = typer.Typer(
    name="bodytag",
    help="A DICOM node that reads the body region from the pixels and forwards copies with a correct "
    "BodyPartExamined. Exit status: 0 done, 1 something was not delivered or found, 2 a wrong "
    "configuration or option.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(cli_peers.send)
app.command()(cli_peers.echo)
app.command()(cli_results.classify)
app.command()(cli_results.query)
app.command()(cli_results.resend)
app.command("export-labels")(cli_labels.export_labels)
app.command()(cli_doctor.doctor)
app.command("destinations")(cli_destinations.list_destinations)
app.command()(cli_destinations.deliveries)
app.command()(cli_destinations.pause)
app.command()(cli_destinations.resume)
app.command()(cli_notify.notify)
app.command()(cli_training.train)
app.command()(cli_training.ensemble)
app.command()(cli_evaluate.evaluate)
app.add_typer(cli_users.user, name="user")

_FLUSH_TIMEOUT_S: Final = 10.0


class Role(StrEnum):
    """What one process of several machines does; on one machine `all`."""

    ALL = "all"
    RECEIVER = "receiver"
    WORKER = "worker"
    FORWARDER = "forwarder"
    WEB = "web"


@app.command()
def serve(
    config: ConfigOption = Path("node.yaml"),
    role: Annotated[Role, typer.Option(help="with dispatch: celery, what this process does")] = Role.ALL,
) -> None:
    """Run the node: receive, classify, record and forward until SIGTERM or Ctrl-C."""
    with sentences():
        settings = load(config)
        _check(settings)
        log.configure(settings.log)
        run_node(settings, role, config)


@app.command("check-config")
def check_config(
    config: ConfigOption = Path("node.yaml"),
    file: Annotated[
        Path | None, typer.Option("--try", help="a DICOM file: say which site rule would apply, and why")
    ] = None,
    source: Annotated[str | None, typer.Option(help="the AE title that sent the file of --try")] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the configuration file and the weights it names, and say what is wrong in a sentence."""
    with sentences():
        settings = load(config)
        digests = _check(settings)
        trial = None if file is None else try_file(settings, file, source)
    if as_json:
        plain = {"config": str(config), "destinations": _names(settings), "weights": digests}
        print(json.dumps(plain if trial is None else {**plain, "try": trial.as_json}))
        return
    print(f"{config} is a valid configuration.")
    if trial is not None:
        print("\n".join([f"{file}:", *trial.lines]))
        return
    print(f"listens as {settings.receive.ae_title} on {settings.receive.host}:{settings.receive.port}")
    print(f"forwards to {', '.join(each.name for each in settings.forwarded) or 'nobody'}")
    print("".join(f"note: {remark}\n" for remark in destinations.remarks(settings)), end="")


@app.command()
def flush(
    config: ConfigOption = Path("node.yaml"),
    series: Annotated[list[str] | None, typer.Argument(help="Series Instance UIDs; none: all series")] = None,
) -> None:
    """Tell the running node not to wait for more instances of these series."""
    with sentences():
        settings = load(config)
        commanded(settings, "flush", series=list(series or ()))
        request = Spool(settings.spool.folder, 0).requests / f"flush-{uuid.uuid4().hex}"
    unfinished = request.with_name(f"new-{request.name}")
    unfinished.write_text("\n".join(series or ()), encoding="ascii", errors="replace")
    unfinished.rename(request)
    deadline = time.monotonic() + _FLUSH_TIMEOUT_S
    while request.exists():
        if time.monotonic() > deadline:
            request.unlink(missing_ok=True)
            print(f"error: no node is running on the spool {settings.spool.folder}", file=sys.stderr)
            raise typer.Exit(1)
        time.sleep(0.05)


@app.command("migrate")
def migrate_command(config: ConfigOption = Path("node.yaml"), as_json: JsonOption = False) -> None:
    """Bring the database's tables up to date; serve does so itself unless told otherwise."""
    with sentences():
        settings = load(config)
        revision = migrate(settings.database.url)
    print(json.dumps({"revision": revision}) if as_json else f"the database is at revision {revision}")


@app.command()
def version(as_json: JsonOption = False) -> None:
    """Print the version."""
    print(json.dumps({"bodytag": VERSION}) if as_json else f"bodytag {VERSION}")


def _check(settings: Config) -> dict[str, str]:
    """Look at the certificates, tokens and weights that are named; return the digests of the weights."""
    destinations.check(settings)
    return _check_weights(settings)


def _check_weights(settings: Config) -> dict[str, str]:
    digests = {}
    for modality, path in settings.weights().items():
        try:
            digests[modality] = load_weights(path).digest
        except WeightsError as error:
            raise ConfigError(f"classify.weights.{modality}: {error}") from error
    series = settings.series_weights()
    if series is not None:
        try:
            digests["CT_SERIES"] = load_series_weights(series).digest
        except WeightsError as error:
            raise ConfigError(f"classify.ct_series: {error}") from error
    return digests


def _names(settings: Config) -> list[str]:
    return [destination.name for destination in settings.destinations]
