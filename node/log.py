"""Logging: structlog over the standard library's, one line an event, never a data set or a patient's name."""

import logging
import sys
import warnings

import structlog

from node.settings.log import Log


def configure(settings: Log) -> None:
    """Send every log record of the process to standard error in the configured format."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        # The plain traceback: others print local variables, and with them patients' names.
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    exceptions: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info] if settings.format == "json" else []
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *exceptions, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")  # it logs them, too
    # The libraries' own "info" is a line for every PDU and every migration step.
    for name in ("pynetdicom", "alembic", "pydicom", "dicomweb_client", "urllib3", "celery", "kombu", "amqp"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
