"""The whole line: dcmtk's storescu sends, a node labels and relabels, dcmtk's storescp receives."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from db.queries import SeriesRow
from model.regions import BY_KEY, UNKNOWN
from tests.builders import Recipe, bundled, real_series, write
from tests.harness import Archive, RunningNode, free_port, make_node, running, storescu, wait_until

Line = tuple[RunningNode, Archive]
KNEE = "ct/sts042_knee"
REAL_MR = "mr/pelvis_ax_adc"
MIXED = Recipe(seed="mixed", n=4, series_description="Abdomen", study_seed="other")


@pytest.fixture(scope="module")
def shared() -> Mapping[str, list[Path]]:
    """The real sample series, where they lie beside the repository."""
    found = real_series()
    if KNEE not in found:
        pytest.skip("the sample series of ../shared/data/dicom are not here")
    return found


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A node with one destination, both running."""
    folder = tmp_path_factory.mktemp("line")
    archive = Archive(folder / "archive", free_port()).start()
    with running(make_node(folder / "node", archive.destination())) as node:
        yield node, archive
    archive.stop()


def send_and_wait(line: Line, files: list[Path]) -> tuple[SeriesRow, dict[str, Dataset]]:
    """Send a series' files, wait for their delivery, and return the row and what was received."""
    node, archive = line
    result = storescu(node.port, files)
    assert result.returncode == 0, result.stderr
    series_uid = str(dcmread(files[0], stop_before_pixels=True).SeriesInstanceUID)

    def delivered() -> SeriesRow | None:
        rows = node.rows(series=series_uid)
        return rows[0] if rows and rows[0].state == "delivered" else None

    row = wait_until(delivered, f"{files[0].parent.name} is delivered; {node.log.read_text()[-2000:]}")
    assert isinstance(row, SeriesRow)
    copies = [dcmread(path) for path in archive.files()]
    return row, {str(copy.SOPInstanceUID): copy for copy in copies if copy.SeriesInstanceUID == series_uid}


def assert_same_pixels(files: list[Path], received: Mapping[str, Dataset]) -> None:
    """Every instance sent was received, with the same bytes of pixel data."""
    sent = {str(data_set.SOPInstanceUID): data_set for data_set in map(dcmread, files)}
    assert set(received) == set(sent)
    for uid, copy in received.items():
        assert copy.PixelData == sent[uid].PixelData


@pytest.mark.parametrize("name", [KNEE, REAL_MR])
def test_real_series_arrive_labelled(line: Line, shared: Mapping[str, list[Path]], name: str) -> None:
    """All instances arrive with their pixels, one BodyPartExamined in the whole series, rows behind it."""
    row, received = send_and_wait(line, shared[name])
    assert_same_pixels(shared[name], received)
    tags = {copy.get("BodyPartExamined", "") for copy in received.values()}
    assert len(tags) == 1
    assert row.instances == row.classified == len(shared[name])
    assert sum(span.images for span in row.spans) == row.instances
    assert {span.region for span in row.spans} <= {*BY_KEY, UNKNOWN}
    assert row.weights_digest
    [delivery] = row.deliveries
    assert (delivery.sent, delivery.failed, delivery.pending) == (row.instances, 0, 0)
    if delivery.policy == "write":
        assert tags == {row.term}
        assert all(copy.OriginalAttributesSequence for copy in received.values())


def test_knee_is_told_from_the_pixels(line: Line, shared: Mapping[str, list[Path]]) -> None:
    """Most images of the knee series, whose header says EXTREMITY, are knee and thigh to the network."""
    row, _ = send_and_wait(line, shared[KNEE])
    regions = [image.region for image in line[0].images(row.series_id)]
    assert sum(region in ("knee", "thigh") for region in regions) > len(regions) / 2


def test_bundled_images_arrive(line: Line) -> None:
    """A real CT and a real MR image of the pydicom package go through, each a series of one slice."""
    for name in ("CT_small.dcm", "MR_small.dcm"):
        row, received = send_and_wait(line, [bundled(name)])
        assert_same_pixels([bundled(name)], received)
        assert row.classified == 1


def test_a_localizer_inside_a_series_is_passed_on(line: Line, tmp_path: Path) -> None:
    """In a mixed series the slices are classified and the localizer is not, with its reason."""
    files = write(tmp_path / "slices", MIXED)
    scout = Recipe(
        seed="scout",
        n=1,
        study_seed="other",
        image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"),
        overrides={"SeriesInstanceUID": MIXED.series_uid},
    )
    files += write(tmp_path / "scout", scout)
    row, received = send_and_wait(line, files)
    assert_same_pixels(files, received)
    assert (row.classified, dict(row.passed_on)) == (4, {"localizer": 1})


def test_images_without_usable_pixels_are_passed_on(line: Line, tmp_path: Path) -> None:
    """Empty pixel data and too little of it are recorded with a reason, and delivered as they came."""
    empty = write(tmp_path / "empty", Recipe(seed="empty", n=1, overrides={"PixelData": b""}))
    tiny = write(tmp_path / "tiny", Recipe(seed="tiny", n=1, rows=8, columns=8))
    for files in (empty, tiny):
        row, received = send_and_wait(line, files)
        assert len(received) == 1
        assert row.term is None
        assert row.reason
        assert row.deliveries[0].policy == "keep"


def test_late_instances_get_the_stored_decision(line: Line, tmp_path: Path) -> None:
    """What comes after the decision is delivered with the same tag as the rest, and not decided anew."""
    recipe = Recipe(seed="late", n=6, body_part=None)
    files = write(tmp_path / "late", recipe)
    before, _ = send_and_wait(line, files[:4])
    node, archive = line
    assert storescu(node.port, files[4:]).returncode == 0
    wait_until(
        lambda: node.rows(series=recipe.series_uid)[0].deliveries[0].sent == 6, "the late ones are sent"
    )
    after = node.rows(series=recipe.series_uid)[0]
    assert (after.term, after.decided_at, after.unjudged) == (before.term, before.decided_at, 2)
    copies = [copy for copy in map(dcmread, archive.files()) if copy.SeriesInstanceUID == recipe.series_uid]
    assert len(copies) == 6
    assert len({copy.get("BodyPartExamined", "") for copy in copies}) == 1


def test_duplicates_are_delivered_once(line: Line, tmp_path: Path) -> None:
    """Sent again the same instances change nothing; a different object with the UID is kept and reported."""
    node, _ = line
    recipe = Recipe(seed="twice", n=2)
    files = write(tmp_path / "twice", recipe)
    send_and_wait(line, files)
    changed = write(tmp_path / "changed", Recipe(seed="twice", n=1, patient_id="OTHER"))
    assert storescu(node.port, list(chain(files, changed))).returncode == 0
    wait_until(lambda: node.rows(series=recipe.series_uid)[0].conflicts == 1, "the conflict is registered")
    [row] = node.rows(series=recipe.series_uid)
    assert (row.instances, row.deliveries[0].sent, row.state) == (2, 2, "delivered")
    [kept] = [image for image in node.images(row.series_id) if image.conflict]
    assert (node.folder / "spool" / "instances" / kept.path).is_file()


def test_postgresql_serves_as_well(postgres_url: str, tmp_path: Path) -> None:
    """With PostgreSQL by URL, its password from the environment, a series goes through as with SQLite."""
    archive = Archive(tmp_path / "archive", free_port()).start()
    node = make_node(tmp_path / "node", archive.destination(), database={"url": postgres_url})
    files = write(tmp_path / "in", Recipe(seed="postgresql", n=3))
    with running(node):
        row, received = send_and_wait((node, archive), files)
    archive.stop()
    assert_same_pixels(files, received)
    assert row.classified == 3
