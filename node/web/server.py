"""The page's process: the application over the node's database, away from the DICOM port."""

import socket
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Final

from starlette.types import ASGIApp

from db.session import open_migrated
from node.serving import Line, prepare, serve
from node.settings.config import Config
from node.web.app import make_app
from node.web.context import Context, make_context
from node.web.outer import is_proxy, outer

METRICS: Final = "metrics"
"""What the page asks the node for its counters with."""


def main(connection: Connection, listening: socket.socket, config: Config) -> None:
    """Serve the page on a listening socket until the node says stop or is gone."""
    prepare(config)
    database = open_migrated(config.database.url, config.dispatch == "celery")
    line = Line(connection)
    context = replace(make_context(config, database), ask_metrics=lambda: _metrics(line))
    serve(
        application(context),
        config.web,
        listening,
        line,
        unlimited=lambda address: is_proxy(config.web, address),
    )
    database.close()


def _metrics(line: Line) -> bytes:
    answer = line.ask(METRICS)
    return answer if isinstance(answer, bytes) else b""


def application(context: Context) -> ASGIApp:
    """Return the application with all that stands around it."""
    return outer(make_app(context), context.config.web)
