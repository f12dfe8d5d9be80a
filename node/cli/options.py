"""Options and error handling that the commands share."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from db.session import DatabaseError
from model.read import NotDicomError
from model.weights_file import WeightsError
from node.delivery.transport import PeerError
from node.settings.config import ConfigError
from node.storage.spool import SpoolError

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="BODYTAG_CONFIG", help="the configuration file"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]


@contextmanager
def sentences() -> Iterator[None]:
    """Print what is wrong as a sentence and exit with status 2, or 1 where a peer is the cause."""
    try:
        yield
    except (ConfigError, DatabaseError, SpoolError, WeightsError, NotDicomError, OSError) as error:
        _fail(str(error), 2)
    except PeerError as error:
        _fail(str(error), 1)


def terminal() -> Console:
    """Return the console for tables: as wide as the terminal, or wide enough for a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else 160)


def fail(message: str) -> NoReturn:
    """Print one sentence and exit with status 2."""
    _fail(message, 2)


def _fail(message: str, status: int) -> NoReturn:
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    raise typer.Exit(status)
