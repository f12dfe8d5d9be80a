"""A tracker over a real spool and database, a clock that the test turns, and files to feed it with."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom import dcmread

from db.queries import Filters, SeriesRow, series_rows
from db.records import Outcome, Route
from db.results import record_outcome
from db.session import Database, open_database
from node.clock import utc_now
from node.intake.intake import Arrival
from node.relabelling.coercion import KEEP
from node.relabelling.part10 import Meta, meta_end
from node.series import Tracker
from node.settings.config import Series
from node.storage.spool import SeriesKey, Spool
from tests.builders import Recipe, write

ROUTES = (Route("archive", KEEP),)


class Clock:
    """A clock that stands still until the test turns it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


class Bench:
    """A tracker over a real spool and database, and files to feed it with."""

    def __init__(self, folder: Path, url: str, **settings: object) -> None:
        self.folder = folder
        self.clock = Clock()
        self.spool = Spool(folder / "spool", 0)
        self.database: Database = open_database(url)
        self.registered = threading.Event()
        self.settings = Series.model_validate(settings)
        self.tracker = self.new_tracker()

    def new_tracker(self) -> Tracker:
        """Make a tracker that knows nothing yet, as after a restart."""
        return Tracker(
            self.settings, self.spool, self.database, lambda _: ROUTES, self.registered.set, clock=self.clock
        )

    def store(self, recipe: Recipe) -> list[Arrival]:
        """Store a recipe's images in the spool."""
        return [self._stored(path) for path in write(self.folder / recipe.seed / recipe.patient_id, recipe)]

    def _stored(self, path: Path) -> Arrival:
        data_set = dcmread(path, stop_before_pixels=True)
        meta = data_set.file_meta
        instance = str(meta.MediaStorageSOPInstanceUID)
        study, series = data_set.get("StudyInstanceUID"), data_set.get("SeriesInstanceUID")
        key = SeriesKey(str(study or instance), str(series or instance))
        sop_class = str(meta.MediaStorageSOPClassUID)
        encoded = Meta(sop_class, instance, str(meta.TransferSyntaxUID), "CT1").encode()
        data = memoryview(path.read_bytes()[meta_end(path) :])
        stored = self.spool.store(key, instance, encoded, data)
        return Arrival(stored, sop_class, str(meta.TransferSyntaxUID), "CT1")

    def arrive(self, recipe: Recipe) -> list[Arrival]:
        """Store a recipe's images and tell the tracker."""
        arrivals = self.store(recipe)
        for arrival in arrivals:
            self.tracker.arrived(arrival)
        return arrivals

    def decided(self, recipe: Recipe, outcome: Outcome, routes: tuple[Route, ...] = ROUTES) -> SeriesRow:
        """Register a recipe's series and record its outcome."""
        self.arrive(recipe)
        self.tracker.flush()
        self.tracker.register_due()
        [row] = [row for row in self.rows() if row.series_instance_uid == recipe.series_uid]
        self.decide(row.series_id, outcome, routes)
        return row

    def decide(self, series_id: int, outcome: Outcome, routes: tuple[Route, ...] = ROUTES) -> None:
        """Record the outcome of a registered series."""
        with self.database.session() as session:
            record_outcome(session, series_id, outcome, routes, utc_now())

    def store_file(self, path: Path) -> None:
        """Store a file, whatever it is, and tell the tracker."""
        self.tracker.arrived(self._stored(path))

    def rows(self) -> list[SeriesRow]:
        """Ask the database for all series."""
        with self.database.reading() as session:
            return series_rows(session, Filters())


@contextmanager
def opened(folder: Path, url: str, **settings: object) -> Iterator[Bench]:
    """Make a bench, and close its database at the end."""
    bench = Bench(folder, url, **settings)
    yield bench
    bench.database.close()
