"""Upkeep of the database while the node runs: what its planner should know of the tables."""

import threading
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from db.session import Database
from db.statistics import refresh

log = structlog.get_logger()

EVERY_S: Final = 6 * 3600.0


class Upkeep:
    """Looks at the tables at start and every few hours; a table that grew tenfold is asked otherwise."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, stop: threading.Event) -> None:
        """Look at the tables until `stop` is set."""
        while not stop.is_set():
            try:
                refresh(self._database)
            except SQLAlchemyError as error:  # another time: nothing but speed depends on it
                log.warning("the tables could not be looked at", error=type(error).__name__)
            stop.wait(EVERY_S)
