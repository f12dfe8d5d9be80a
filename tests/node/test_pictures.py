"""Pictures of a series: drawn upright, bounded, beside the worker's work, and gone with the files."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from db.deliveries import due, succeeded
from db.records import ImageResult
from db.session import Database
from model.read import Image, ImageHeader, read_header, read_pixels
from node import pictures, sheet
from node.clock import utc_now
from node.glance import UNCLASSIFIED, Artist
from node.pictures import KEPT, TILE, TILES, Sketch
from node.settings.config import Config, SpoolSection
from node.sheet import Layout, Sheet
from node.storage.retention import Keeper
from node.storage.spool import SeriesKey, Spool, picture_path
from tests.builders import CORONAL, Recipe, write
from tests.harness import free_port
from tests.node.deciding import decided

SETTINGS = Config.standalone().model_copy(
    update={"destinations": Config.model_validate({"receive": {"promiscuous": True}, "destinations": [
        {"name": "archive", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": free_port()}
    ]}).destinations}
)  # fmt: skip


def body(index: int, rows: int, columns: int) -> NDArray[np.uint16]:
    """Draw a block whose patient's left half is bright, brighter from image to image."""
    values = np.full((rows, columns), 20, np.uint16)
    values[rows // 4 : -rows // 4, columns // 4 : -columns // 4] = 400 + 40 * index
    values[rows // 4 : -rows // 4, columns // 2 : -columns // 4] += 1000
    return values


def headers(folder: Path, **changes: Any) -> list[ImageHeader]:
    """Write a series that is brighter towards the head, and read its headers."""
    recipe = replace(Recipe(modality="MR", n=12, pixels=body), **changes)
    return [read_header(path) for path in write(folder, recipe)]


def results(found: list[ImageHeader]) -> list[ImageResult]:
    """Say where axial images lie."""
    return [
        ImageResult(each.sop_instance_uid, "chest", 1.0, each.position[2] if each.position else None, None)
        for each in found
    ]


def sketched(found: list[ImageHeader]) -> Sheet:
    """Draw images."""
    sketch = Sketch()
    for header in found:
        sketch.add(header, read_pixels(header))
    drawn = sketch.sheet(results(found))
    assert drawn is not None
    return drawn


def strip(drawn: Sheet, view: str) -> NDArray[np.uint8]:
    """Cut one strip out of a sheet."""
    part = next(each for each in drawn.layout.strips if each.kind == view)
    return drawn.pixels[part.y : part.y + part.height, part.x : part.x + part.width]


def test_head_is_up_and_the_patients_left_is_right(tmp_path: Path) -> None:
    """A strip shows the head at the top and the patient's left on the right, as radiographs do."""
    drawn = sketched(headers(tmp_path))
    coronal = strip(drawn, "coronal").astype(int)
    rows, columns = coronal.shape
    assert coronal[: rows // 3].mean() > coronal[-rows // 3 :].mean() + 20
    assert coronal[:, columns // 2 :].mean() > coronal[:, : columns // 2].mean() + 20
    tops = {each.top_mm for each in drawn.layout.strips}
    assert tops == {-100.0 + 11 * 5.0 + 2.5}


def test_turned_images_are_turned_back(tmp_path: Path) -> None:
    """Images of a patient who lies the other way round give a strip with the patient's left on the right."""
    turned = headers(
        tmp_path,
        orientation=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
        first_position=(25.4, 25.4, -100.0),
        pixels=lambda index, rows, columns: body(index, rows, columns)[::-1, ::-1],
    )
    coronal = strip(sketched(turned), "coronal").astype(int)
    columns = coronal.shape[1]
    assert coronal[:, columns // 2 :].mean() > coronal[:, : columns // 2].mean() + 20


def test_a_few_images_far_apart_are_not_smeared(tmp_path: Path) -> None:
    """A stack with wide steps, one of few images, and a coronal one have tiles and no strip."""
    few: tuple[dict[str, Any], ...] = ({"step_mm": 40.0}, {"n": 4}, {"orientation": CORONAL})
    for number, changes in enumerate(few):
        drawn = sketched(headers(tmp_path / str(number), **changes))
        assert drawn.layout.strips == ()
        assert len(drawn.layout.tiles) in (4, 12)


def test_thousands_of_images_stay_bounded(tmp_path: Path) -> None:
    """Of a very long series so many lines and tiles are kept as fit; ends and order stay."""
    [header] = headers(tmp_path, n=1)
    image = read_pixels(header)
    sketch = Sketch()
    many = [
        replace(header, sop_instance_uid=f"1.2.{number}", position=(0.0, 0.0, float(number)))
        for number in range(2 * KEPT + 300)
    ]
    for each in many:
        sketch.add(each, image)
    drawn = sketch.sheet(results(many))
    assert drawn is not None
    numbers = [int(each.sop_instance_uid.removeprefix("1.2.")) for each in drawn.layout.tiles]
    assert len(numbers) == TILES
    assert numbers == sorted(numbers)
    assert numbers[0] < 64
    assert numbers[-1] > 2 * KEPT
    assert max(drawn.pixels.shape) <= sheet.MAXIMUM_SIDE
    assert len(drawn.layout.strips) == 2


def test_a_sheet_says_what_it_holds(tmp_path: Path) -> None:
    """The layout comes back from the JPEG as it was; of any other file there is none."""
    drawn = sketched(headers(tmp_path / "series"))
    path = tmp_path / "pictures" / "one.jpg"
    assert sheet.write(path, drawn) == path.stat().st_size < 200_000
    assert sheet.read_layout(path) == drawn.layout
    assert {(each.width, each.height) for each in drawn.layout.tiles} == {(TILE, TILE)}
    (tmp_path / "text.jpg").write_text("no picture")
    torn = tmp_path / "torn.jpg"
    torn.write_bytes(path.read_bytes()[:100])
    sheet.write(tmp_path / "lies.jpg", Sheet(drawn.pixels, Layout(5, 5, ())))
    for name in ("text.jpg", "torn.jpg", "lies.jpg", "none.jpg"):
        assert sheet.read_layout(tmp_path / name) is None


def picture_of(spool: Spool, recipe: Recipe) -> Path:
    """Name the picture of a series that tests decide; deciding.py stores every series in one study."""
    return picture_path(spool.folder, SeriesKey("1.2.3", recipe.series_uid))


def test_the_worker_draws_what_it_classifies(spool: Spool, database: Database) -> None:
    """A classified series has a picture whose tiles name its instances."""
    row = decided(spool, database, SETTINGS, n=8)
    layout = sheet.read_layout(picture_of(spool, replace(Recipe(), n=8)))
    assert layout is not None
    assert len(layout.tiles) == 8
    assert len(layout.strips) == 2
    assert row.term == "HEAD"


def test_what_is_passed_on_is_drawn_too(spool: Spool, database: Database) -> None:
    """A coronal series, which no network looks at, shows a few of its images."""
    changes: dict[str, Any] = {"n": 20, "orientation": CORONAL}
    blind = SETTINGS.model_copy(
        update={"classify": SETTINGS.classify.model_copy(update={"ct_series": "off"})}
    )
    assert decided(spool, database, blind, **changes).term is None
    layout = sheet.read_layout(picture_of(spool, replace(Recipe(), **changes)))
    assert layout is not None
    assert len(layout.tiles) == UNCLASSIFIED


@pytest.mark.parametrize("broken", ["add", "sheet"])
def test_a_failing_picture_fails_no_series(
    spool: Spool, database: Database, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Whatever goes wrong with drawing, the series gets its verdict."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pictures.Sketch, broken, fail)
    assert decided(spool, database, SETTINGS).term == "HEAD"
    assert not picture_of(spool, Recipe(n=3)).exists()


def test_nothing_is_drawn_on_a_full_disk(tmp_path: Path) -> None:
    """Where room is short the instances need it more."""
    found = headers(tmp_path / "series", n=3)
    artist = Artist(lambda: None)
    for header in found:
        artist.look(header, read_pixels(header))
    spool = Spool(tmp_path / "spool", 0)
    full = Spool(tmp_path / "full", 1 << 60)
    assert not artist.finish(found, results(found), full, ["1.2/1.3/1.dcm"])
    assert artist.finish(found, results(found), spool, ["1.2/1.3/1.dcm"])


def test_an_image_of_one_value_is_drawn(tmp_path: Path) -> None:
    """Nothing but padding, or numbers that are none, still gives a tile."""
    [header] = headers(tmp_path, n=1)
    for values in (np.zeros((40, 40), np.float32), np.full((40, 40), np.nan, np.float32)):
        sketch = Sketch()
        sketch.add(header, Image(values, np.zeros((40, 40), np.bool_), None))
        drawn = sketch.sheet([])
        assert drawn is not None
        assert len(drawn.layout.tiles) == 1


@pytest.fixture
def keeper(spool: Spool, database: Database) -> Keeper:
    """Retention that removes at once what was delivered."""
    return Keeper(SpoolSection(folder=spool.folder, keep_days=0), spool, database)


def test_pictures_go_with_the_files(spool: Spool, database: Database, keeper: Keeper) -> None:
    """Retention removes the picture of a series with its files."""
    decided(spool, database, SETTINGS)
    path = picture_of(spool, Recipe(n=3))
    assert path.exists()
    with database.reading() as session:
        works = due(session, "archive", utc_now(), 10)
    assert len(works) == 3
    for work in works:
        with database.session() as session:
            succeeded(session, work.delivery_id, 0, utc_now())
    assert keeper.expire(threading.Event()) == 1
    assert not path.exists()
    assert not path.parent.exists()
