"""A correction on its way to the archive: copies by the correction, made from what was received."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from db.corrections import history
from db.records import ImageResult, Outcome, Route
from db.session import migrate
from model.regions import CHEST
from model.training import folder
from node import labels
from node.clock import utc_now
from node.correcting import Request, correct
from node.settings.config import Config
from rules.correction import CorrectionError, Range
from rules.verdict import Span, Verdict
from tests.builders import Recipe, write
from tests.harness import Archive, free_port
from tests.node.bench import Bench, opened
from tests.node.delivering import forwarder

PLACE = {"FrameOfReferenceUID": "1.2.826.0.1.3680043.8.1"}
FIRST = Recipe(n=4, seed="first", body_part="CHEST", overrides=PLACE)
SECOND = Recipe(n=3, seed="second", first_position=(-25.0, -25.0, -99.0), overrides=PLACE)
"""Heights in mm: -100 to -85, and -99 to -89."""
RANGES = (Range("thigh", -101, -91), Range("knee", -90, -85))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A spool and an SQLite database."""
    url = f"sqlite:///{tmp_path / 'bodytag.sqlite'}"
    migrate(url)
    with opened(tmp_path, url) as made:
        yield made


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """dcmtk's storescp, which keeps the last copy of an instance."""
    started = Archive(tmp_path / "archive", free_port()).start()
    yield started
    started.stop()


def _config(archive: Archive) -> Config:
    plain = {"receive": {"promiscuous": True}, "destinations": [archive.destination()]}
    return Config.model_validate(plain)


def _chest(recipe: Recipe) -> Outcome:
    """Say that every image shows the chest, as the tags do."""
    first = recipe.first_position[2]
    heights = [first + recipe.step_mm * index for index in range(recipe.n)]
    images = tuple(
        ImageResult(recipe.instance_uid(index), "chest", 0.9, height, None, z_mm=height)
        for index, height in enumerate(heights)
    )
    span = Span("chest", heights[0], heights[-1], recipe.n, 0.9)
    shown = ("chest",) * recipe.n
    verdict = Verdict(shown, (0.9,) * recipe.n, (span,), "CHEST", CHEST.code, False, 0.9, "order")
    return Outcome(verdict, images, None, "digest", "0.1.0")


def _deliver(bench: Bench, archive: Archive) -> None:
    """Let the forwarder work until nothing is due."""
    forward, stop = forwarder(bench, port=archive.port), threading.Event()
    for _ in range(100):
        forward.deliver_due(stop)
        if all(row.state == "delivered" for row in bench.rows()):
            return
    raise AssertionError([row.failure for row in bench.rows()])


def _received(archive: Archive, recipe: Recipe) -> list[Dataset]:
    """Return the copies of a series that the archive has now, from the feet up."""
    found = [dcmread(path) for path in archive.files()]
    mine = [each for each in found if each.SeriesInstanceUID == recipe.series_uid]
    return sorted(mine, key=lambda each: float(each.ImagePositionPatient[2]))


def _regions(copies: list[Dataset]) -> list[str]:
    return [each.AnatomicRegionSequence[0].CodeMeaning for each in copies]


def test_the_archive_gets_what_the_person_said(bench: Bench, archive: Archive, tmp_path: Path) -> None:
    """Delivered by the verdict, corrected, delivered again: term and regions, for the whole place; labels."""
    first = bench.decided(FIRST, _chest(FIRST)).series_id
    second = bench.decided(SECOND, _chest(SECOND)).series_id
    _deliver(bench, archive)
    assert {each.BodyPartExamined for each in _received(archive, FIRST)} == {"CHEST"}
    request = Request(RANGES, "seen", deliver=True)
    done = correct(_config(archive), bench.database, first, request, "ann", utc_now())
    assert (done.correction.term, done.carried_to, done.deliveries) == ("LOWERLIMB", (second,), 7)
    _deliver(bench, archive)
    copies = _received(archive, FIRST)
    assert {each.BodyPartExamined for each in copies} == {"LOWERLIMB"}
    assert _regions(copies) == ["Thigh", "Thigh", "Knee", "Knee"]
    assert _regions(_received(archive, SECOND)) == ["Thigh", "Thigh", "Knee"]
    for index, copy in enumerate(copies):
        assert copy.SOPInstanceUID == FIRST.instance_uid(index)
        [original] = copy.OriginalAttributesSequence
        assert original.ModifiedAttributesSequence[0].BodyPartExamined == "CHEST"
        [equipment] = copy.ContributingEquipmentSequence
        assert equipment.ContributionDescription == "Body part corrected by a person"
    [row] = [row for row in bench.rows() if row.series_id == first]
    assert (row.term, row.corrected_term, row.spans[0].region) == ("CHEST", "LOWERLIMB", "chest")
    _check_labels(bench, tmp_path)


def _check_labels(bench: Bench, tmp_path: Path) -> None:
    """The labels, read as training reads them, give every image the region that the person gave it."""
    out = tmp_path / "labels.csv"
    with out.open("w", newline="", encoding="utf-8") as file, bench.database.reading() as session:
        written = labels.write(session, file)
    assert (written.series, written.ranges, written.left_out) == (2, 4, 0)
    files = tmp_path / "dicom"
    for recipe in (FIRST, SECOND):
        write(files / recipe.seed, recipe)
    found = {series.headers[0].series_instance_uid: series for series in folder.scan(files, out, "CT")}
    assert found[FIRST.series_uid].regions == ("thigh", "thigh", "knee", "knee")
    assert found[SECOND.series_uid].regions == ("thigh", "thigh", "knee")


def test_what_agrees_with_the_tag_goes_as_it_came(bench: Bench, archive: Archive) -> None:
    """Where the tag was right after all, the copies that replace the wrong ones are the received objects."""
    wrong = _chest(FIRST)
    recipe = Recipe(n=4, seed="first", body_part="KNEE", overrides=PLACE)
    first = bench.decided(recipe, wrong, (Route("archive", "write"),)).series_id
    _deliver(bench, archive)
    assert {each.BodyPartExamined for each in _received(archive, recipe)} == {"CHEST"}
    request = Request((Range("knee"),), deliver=True)
    correct(_config(archive), bench.database, first, request, "ann", utc_now())
    _deliver(bench, archive)
    copies = _received(archive, recipe)
    assert {each.BodyPartExamined for each in copies} == {"KNEE"}
    assert not any("OriginalAttributesSequence" in each for each in copies)


def test_nothing_is_sent_unless_asked_for(bench: Bench, archive: Archive) -> None:
    """A correction alone leaves the deliveries as they are, and others alone where it says so."""
    first = bench.decided(FIRST, _chest(FIRST)).series_id
    second = bench.decided(SECOND, _chest(SECOND)).series_id
    _deliver(bench, archive)
    request = Request(RANGES, carry_over=False)
    done = correct(_config(archive), bench.database, first, request, "ann", utc_now())
    assert (done.carried_to, done.deliveries) == ((), 0)
    assert {row.state for row in bench.rows()} == {"delivered"}
    with bench.database.reading() as session:
        assert history(session, second) == ()


def test_what_cannot_be_corrected_is_said(bench: Bench, archive: Archive) -> None:
    """No series, no verdict yet, or ranges without an image."""
    config = _config(archive)
    bench.arrive(FIRST)
    bench.tracker.flush()
    bench.tracker.register_due()
    with pytest.raises(KeyError, match="there is no series 99"):
        correct(config, bench.database, 99, Request(RANGES), "ann", utc_now())
    with pytest.raises(CorrectionError, match="no verdict yet"):
        correct(config, bench.database, 1, Request(RANGES), "ann", utc_now())
    bench.decide(1, _chest(FIRST))
    with pytest.raises(CorrectionError, match="no image lies between 0 and 1 mm"):
        correct(config, bench.database, 1, Request((Range("knee", 0, 1),)), "ann", utc_now())
