"""Has series decided in-process: a spool, a database, and networks that are sure of everything."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from db.queries import Filters, SeriesRow, series_rows
from db.series import register
from db.session import Database, migrate, open_database
from model.prediction import Prediction
from model.read import Image, ImageHeader
from model.regions import CT_CLASSES
from node import facts
from node.clock import utc_now
from node.early import Resting
from node.settings.config import Config
from node.storage.spool import SeriesKey, Spool
from node.worker import Tools, classify_series
from tests.builders import Recipe, write


class Sure:
    """Stands in for the networks: one probability for `region` in every image; counts what it is shown."""

    def __init__(self, region: str = "head", probability: float = 1.0) -> None:
        self.asked = 0
        rest = (1.0 - probability) / (len(CT_CLASSES) - 1)
        self._row = np.full(len(CT_CLASSES), rest, np.float32)
        self._row[CT_CLASSES.index(region)] = probability

    def network_for(self, header: ImageHeader) -> str | None:
        """Be the one network for every plane."""
        return header.modality

    def predict(self, modality: str, images: Iterable[Image]) -> Prediction:
        """Say the same of every image of a CT."""
        assert modality == "CT"
        n = len(list(images))
        self.asked += n
        return Prediction(CT_CLASSES, np.tile(self._row, (n, 1)), "d" * 64)


def empty_database(folder: Path) -> Database:
    """Open an empty SQLite database."""
    url = f"sqlite:///{folder / 'test.sqlite'}"
    migrate(url)
    return open_database(url)


def stored(spool: Spool, recipe: Recipe) -> Resting:
    """Store a series as the node would; return what lies there."""
    key = SeriesKey("1.2.3", recipe.series_uid)
    folder = spool.instances / key.study_instance_uid / key.series_instance_uid
    folder.mkdir(parents=True)
    paths = [
        path.rename(folder / path.name).relative_to(spool.instances).as_posix()
        for path in write(spool.folder / f"made-{recipe.seed}", recipe)
    ]
    for path in paths:
        data_set = pydicom.dcmread(spool.path(path))
        data_set.file_meta.SourceApplicationEntityTitle = "CT1"
        data_set.save_as(spool.path(path))
    return Resting(key, tuple(sorted(paths)))


def registered(spool: Spool, database: Database, found: Resting) -> int:
    """Register a stored series; return its number."""
    with database.session() as session:
        known = facts.of_series(spool, found.key, found.paths[0])
        instances = [facts.of_file(spool, path) for path in found.paths]
        return register(session, known, instances, (), utc_now()).series_id


def decided(
    spool: Spool, database: Database, settings: Config, networks: Sure | None = None, **changes: Any
) -> SeriesRow:
    """Have a series of a recipe with these changes decided; return its row."""
    series_id = registered(spool, database, stored(spool, replace(Recipe(n=3), **changes)))
    shown = networks or Sure()
    tools = Tools(settings, database, spool, shown, lambda: None)  # type: ignore[arg-type]
    assert classify_series(series_id, tools)
    with database.reading() as session:
        return next(row for row in series_rows(session, Filters()) if row.series_id == series_id)
