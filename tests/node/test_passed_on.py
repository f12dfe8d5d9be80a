"""Tests that what is not to be changed arrives byte for byte, even within a series that is relabelled."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from db.records import Outcome, Route
from node.relabelling.coercion import NEW_SERIES, WRITE
from node.relabelling.part10 import meta_end
from rules.decide import decide
from rules.verdict import Evidence
from tests.builders import Recipe, bundled
from tests.harness import Archive, free_port
from tests.node.bench import Bench, opened
from tests.node.delivering import drive, forwarder
from tests.relabelled import stored

LATERALITY = {"Laterality": "L"}
SIGNED = {"DigitalSignaturesSequence": [Dataset()]}


@pytest.fixture
def bench(tmp_path: Path, database_url: str) -> Iterator[Bench]:
    """A spool and a database, of both kinds, to deliver from."""
    with opened(tmp_path, database_url) as bench:
        yield bench


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """A storescp of dcmtk that keeps data sets bit for bit."""
    archive = Archive(tmp_path / "archive", free_port()).start("+B", "+xa")
    yield archive
    archive.stop()


def chest() -> Outcome:
    """Decide that a series shows a chest."""
    probabilities = np.array([[0.05, 0.95]], np.float32)
    verdict = decide(Evidence(("head", "chest"), probabilities, np.array([0.0])), (), 0.5)
    return Outcome(verdict, (), None, "d" * 64, "0.1.0")


def data_sets(paths: Iterable[Path]) -> list[bytes]:
    """Return the encoded data sets of files, without their meta information."""
    return sorted(path.read_bytes()[meta_end(path) :] for path in paths)


@pytest.mark.parametrize("policy", [WRITE, NEW_SERIES])
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(n=2, seed="signed", overrides=SIGNED),
        Recipe(n=2, seed="sided", overrides=LATERALITY),
        Recipe(n=2, seed="foreign", modality="US"),
        Recipe(n=2, seed="capture", modality="OT", private=((1, "UN", b"\\1\\2"),)),
    ],
    ids=lambda recipe: recipe.seed,
)
def test_what_must_not_change_arrives_byte_for_byte(
    recipe: Recipe, policy: str, bench: Bench, archive: Archive
) -> None:
    """Signed, contradicting and foreign objects, in a series whose copies are to be written."""
    bench.decided(recipe, chest(), (Route("archive", policy),))
    drive(bench, forwarder(bench, port=archive.port), lambda found: found.sent == 2)
    assert data_sets(archive.files()) == data_sets(bench.spool.instances.rglob("*.dcm"))


@pytest.mark.parametrize(
    "name",
    [
        "test-SR.dcm", "reportsi.dcm", "rtplan.dcm", "rtstruct.dcm", "rtdose_1frame.dcm", "liver_1frame.dcm",
        "waveform_ecg.dcm", "examples_palette.dcm",
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_objects_of_other_kinds_arrive_byte_for_byte(
    name: str, bench: Bench, archive: Archive, tmp_path: Path
) -> None:
    """Reports, plans, doses, segmentations, waveforms and ultrasound go through as they came."""
    path = stored(bundled(name), tmp_path / "in.dcm")
    bench.store_file(path)
    bench.tracker.flush()
    bench.tracker.register_due()
    [row] = bench.rows()
    bench.decide(row.series_id, chest(), (Route("archive", WRITE),))
    drive(bench, forwarder(bench, port=archive.port), lambda found: found.sent == 1)
    assert data_sets(archive.files()) == data_sets([path])
