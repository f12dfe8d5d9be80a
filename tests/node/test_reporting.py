"""Tests of a report's way: stored, registered with its series' outcome, delivered to who asks, and once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from db.deliveries import due
from db.queries import Filters, SeriesRow
from db.records import ImageResult, Outcome, Route
from db.results import record_outcome
from model.frames import read_headers
from model.read import ImageHeader
from node.clock import utc_now
from node.delivery.resend import resend
from node.relabelling import report, reporting
from node.relabelling.coercion import WRITE
from node.relabelling.part10 import meta_end
from node.relabelling.report import SOP_CLASS_UID, ReportError
from node.settings.config import Config
from rules.decide import decide
from rules.verdict import Evidence
from tests.builders import Recipe
from tests.node.bench import Bench, opened
from tests.relabelled import MODIFIER, WORK, write_copy

RECIPE = Recipe(n=3, body_part="HEAD")
ROUTES = (Route("archive", WRITE), Route("reader", WRITE))


@pytest.fixture
def bench(tmp_path: Path, database_url: str) -> Iterator[Bench]:
    """A spool and a database, of both kinds."""
    with opened(tmp_path, database_url) as bench:
        yield bench


def configured(**reports: bool) -> Config:
    """Configure destinations, with or without reports."""
    destinations = [
        {"name": name, "ae_title": name.upper(), "host": "127.0.0.1", "port": 104, "report": report}
        for name, report in reports.items()
    ]
    return Config.model_validate({"receive": {"promiscuous": True}, "destinations": destinations})


def knees(headers: list[ImageHeader]) -> Outcome:
    """Say that every image shows a knee."""
    probabilities = np.tile(np.array([0.05, 0.95], np.float32), (len(headers), 1))
    positions = np.array([5.0 * index for index in range(len(headers))])
    verdict = decide(Evidence(("head", "knee"), probabilities, positions), (), 0.5)
    images = tuple(
        ImageResult(header.sop_instance_uid, "knee", 0.95, 5.0 * index, None)
        for index, header in enumerate(headers)
    )
    return Outcome(verdict, images, None, "d" * 64, "0.1.0")


def classified(bench: Bench, config: Config) -> tuple[SeriesRow, SeriesRow | None]:
    """Have a series registered, decided and reported on, as the worker does it."""
    arrivals = bench.arrive(RECIPE)
    bench.tracker.flush()
    bench.tracker.register_due()
    [row] = bench.rows()
    headers = [read_headers(bench.spool.path(arrival.stored.path))[0] for arrival in arrivals]
    routes = [route for route in ROUTES if route.destination in {each.name for each in config.destinations}]
    now = utc_now()
    prepared = reporting.prepare(headers, knees(headers), routes, config, bench.spool, now)
    with bench.database.session() as session:
        assert record_outcome(session, row.series_id, knees(headers), routes, now)
        if prepared is not None:
            reporting.record(session, prepared, now)
    rows = {each.modality: each for each in bench.rows()}
    return rows["CT"], rows.get("SR")


def test_only_who_asks_gets_a_report(bench: Bench) -> None:
    """The report is a series of the same study, with one delivery, to the destination that asks."""
    images, report = classified(bench, configured(archive=False, reader=True))
    assert report is not None
    assert report.study_instance_uid == images.study_instance_uid
    assert report.reason == f"report on series {images.series_instance_uid}"
    assert (report.instances, report.state, report.patient_id) == (1, "classified", images.patient_id)
    [delivery] = report.deliveries
    assert (delivery.destination, delivery.policy, delivery.pending) == ("reader", "keep", 1)
    assert {each.destination: each.pending for each in images.deliveries} == {"archive": 3, "reader": 3}


def test_without_a_destination_that_asks_there_is_none(bench: Bench) -> None:
    """Nothing is made, stored or registered."""
    _, report = classified(bench, configured(archive=False, reader=False))
    assert report is None
    assert not list((bench.spool.folder / "reports").iterdir())


def test_what_is_due_is_a_report(bench: Bench) -> None:
    """The delivery leads to a Part 10 file of the spool, which is sent as it is."""
    classified(bench, configured(reader=True))
    with bench.database.reading() as session:
        found = due(session, "reader", utc_now(), 10)
    [work] = [each for each in found if each.sop_class_uid == SOP_CLASS_UID]
    path = bench.spool.path(work.path)
    document = dcmread(path)
    assert document.SOPInstanceUID == work.sop_instance_uid == path.stem
    assert document.file_meta.TransferSyntaxUID == work.transfer_syntax_uid
    assert meta_end(path) < path.stat().st_size
    assert not write_copy(work, path, path.with_suffix(".copy"), MODIFIER)
    assert not write_copy(replace(work, policy=WRITE, term="KNEE"), path, path.with_suffix(".copy"), MODIFIER)
    assert WORK.policy == WRITE


def test_a_restart_does_not_take_reports_for_received_files(bench: Bench) -> None:
    """After a restart neither the series nor its report is registered again."""
    classified(bench, configured(reader=True))
    again = bench.new_tracker()
    assert again.recover() == 0
    assert bench.spool.clear_unfinished() == 0
    assert len(bench.rows()) == 2


def test_a_report_is_sent_again_to_who_asks_only(bench: Bench) -> None:
    """Resending everything does not bring the report to a destination that does not want it."""
    config = configured(archive=False, reader=True)
    classified(bench, config)
    names = [each.name for each in config.destinations]
    assert resend(config, bench.database, Filters(modality="SR"), names, only_failed=False) == 1
    [report] = [row for row in bench.rows() if row.modality == "SR"]
    assert [each.destination for each in report.deliveries] == ["reader"]


def test_the_same_report_is_stored_once(bench: Bench) -> None:
    """A report that is written again replaces itself, and leaves nothing half done behind."""
    for content in (b"first", b"second"):
        path = bench.spool.keep_report("1.2.3", content)
    assert bench.spool.path(path).read_bytes() == b"second"
    assert [each.name for each in (bench.spool.folder / "reports").iterdir()] == ["1.2.3.dcm"]
    assert not list((bench.spool.folder / "incoming").iterdir())


@pytest.mark.parametrize("fault", [ReportError("no report: for a test"), OSError(28, "no space left")])
def test_the_images_go_on_without_a_report(
    fault: Exception, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a report cannot be made or stored, its series is decided and delivered all the same."""

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(report, "build", fail)
    images, made = classified(bench, configured(reader=True))
    assert made is None
    assert images.state == "classified"
    assert [each.pending for each in images.deliveries] == [3]
