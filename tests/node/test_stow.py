"""Tests of STOW-RS without HTTP: any cut of the body into pieces, damaged parts, statuses and answers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, uid

from node.dicomweb.answer import JSON, XML, acceptable, encoded, http_status, response
from node.dicomweb.part import IN_MEMORY_BYTES, Room
from node.dicomweb.stow import Malformed, Result, TooMuch, Upload
from node.intake.intake import Arrival, Offer, take_in
from node.status import SUCCESS
from node.storage.spool import Spool
from tests.builders import Recipe, dataset, write

CRLF = b"\r\n"
BOUNDARY = b"cut-here"


def body(*parts: bytes, media_type: bytes = b"application/dicom", end: bytes = b"--") -> bytes:
    """Write parts as multipart/related does."""
    head = b"--" + BOUNDARY + CRLF + b"Content-Type: " + media_type + CRLF + CRLF
    return b"".join(head + part + CRLF for part in parts) + b"--" + BOUNDARY + end + CRLF


class Intake:
    """Uploads into a spool."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder / "spool", 0)
        self.has_room = True

    def upload(self, study: str | None = None, most: int = 100, largest: int = 1 << 26) -> Upload:
        """Begin a request."""
        room = Room(largest, lambda: (self.spool.folder / "part").open("w+b"), lambda: self.has_room)
        return Upload(BOUNDARY, ("APP", study), room, most, self._store)

    def take(self, data: bytes, piece: int = 65536, **options: Any) -> list[Result]:
        """Take a body in pieces; return what became of its parts."""
        upload = self.upload(**options)
        try:
            for start in range(0, len(data), piece):
                upload.feed(data[start : start + piece])
            upload.finish()
        finally:
            upload.close()
        return upload.results

    def _store(self, offer: Offer, data: memoryview) -> Arrival:
        return take_in(self.spool, offer, data, 1 << 20)

    def stored(self) -> list[Path]:
        """List the files in the spool."""
        return [self.spool.path(path) for _, paths in self.spool.series() for path in paths]


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    """An empty spool."""
    return Intake(tmp_path)


def objects(folder: Path, **options: Any) -> list[bytes]:
    """Return the files of a small series."""
    return [path.read_bytes() for path in write(folder, Recipe(rows=16, columns=16, **options))]


@pytest.mark.parametrize("piece", [1, 7, 1000, 1 << 20])
def test_every_cut_gives_the_same_instances(intake: Intake, tmp_path: Path, piece: int) -> None:
    """However the body is cut into pieces, each data set arrives byte for byte."""
    files = objects(tmp_path / "in", n=3)
    assert [each.status for each in intake.take(body(*files), piece)] == [SUCCESS] * 3
    kept = sorted(path.read_bytes().split(b"DICM", 1)[1][-500:] for path in intake.stored())
    assert kept == sorted(each[-500:] for each in files)


def test_a_large_instance_waits_in_a_file(intake: Intake, tmp_path: Path) -> None:
    """What is larger than memory is meant for is stored like the rest, whole."""
    pixels = b"\1\2" * (IN_MEMORY_BYTES // 2 + 1000)
    [large] = objects(tmp_path / "in", n=1, overrides={"PixelData": pixels})
    [result] = intake.take(body(large))
    assert result.stored
    [stored] = intake.stored()
    assert stored.read_bytes().endswith(pixels)


def test_a_duplicate_is_a_success_and_a_different_object_is_kept(intake: Intake, tmp_path: Path) -> None:
    """As with C-STORE: the same object again is nothing new, another one with its UID lies beside it."""
    [first] = objects(tmp_path / "a", n=1)
    [second] = objects(tmp_path / "b", n=1, patient_id="OTHER")
    assert all(each.stored for each in intake.take(body(first, first, second)))
    assert len(intake.stored()) == 2


def test_bad_parts_are_refused_alone(intake: Intake, tmp_path: Path) -> None:
    """Each bad part has its status, with UIDs where it has any; the good ones around it are stored."""
    good, other = objects(tmp_path / "in", n=2)
    instance = Recipe().instance_uid(0).encode()
    cases = {
        good[:1000]: 0xC000,  # cut off
        b"": 0xC000,
        b"\0" * 128 + b"DICM" + b"\2\0\0\0UL\4\0\xff\xff\xff\xff": 0xC000,
        good.replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.5.1.4.1.1.4\0", 1): 0xA900,
        good.replace(instance, b"../../../tmp/" + instance[13:]): 0xC000,
    }
    results = intake.take(body(good, *cases, other))
    assert [each.status for each in results] == [SUCCESS, *cases.values(), SUCCESS]
    assert results[4].sop_instance_uid == instance.decode()
    assert results[2].sop_instance_uid == results[5].sop_instance_uid == ""
    assert all(each.comment for each in results if not each.stored)
    assert http_status(results) == 202


def test_instances_of_another_study_are_refused(intake: Intake, tmp_path: Path) -> None:
    """Who posts to a study may store into that one alone: 0xA900, and 409 where nothing else was sent."""
    [data] = objects(tmp_path / "in", n=1)
    study = str(dataset(Recipe()).StudyInstanceUID)
    assert [each.status for each in intake.take(body(data), study="1.2.3")] == [0xA900]
    assert intake.take(body(data), study=study)[0].stored


def test_limits_hold(intake: Intake, tmp_path: Path) -> None:
    """Too large an instance, or one that the disk has no room for, is refused; too many end the request."""
    files = objects(tmp_path / "in", n=3)
    [refused] = intake.take(body(files[0]), largest=1000)
    assert (refused.status, refused.sop_instance_uid) == (0xA700, Recipe().instance_uid(0))
    with pytest.raises(TooMuch):
        intake.take(body(*files), most=2)
    assert len(intake.stored()) == 2
    intake.has_room = False
    [large] = objects(tmp_path / "large", n=1, overrides={"PixelData": bytes(IN_MEMORY_BYTES + 2)})
    assert intake.take(body(large))[0].status == 0xA700


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no multipart",
        body(b"x")[:-20],
        body(),
        b"--" + BOUNDARY + CRLF + b"A" * 100_000,
        b"--" + BOUNDARY + CRLF + b"A: b\r\n" * 1000,
    ],
    ids=["empty", "text", "cut off", "no parts", "long header", "many headers"],
)
def test_what_is_no_multipart_is_a_sentence(intake: Intake, data: bytes) -> None:
    """A body that cannot be understood is refused as a whole, in one sentence."""
    with pytest.raises(Malformed) as error:
        intake.take(data)
    assert "\n" not in str(error.value)
    assert not intake.stored()


def test_parts_of_other_types_are_refused(intake: Intake, tmp_path: Path) -> None:
    """A part that says it is JSON is not read as DICOM."""
    [data] = objects(tmp_path / "in", n=1)
    assert intake.take(body(data, media_type=b"application/dicom+json"))[0].status == 0xC000


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([], 400),
        ([0, 0], 200),
        ([0, 0xA700], 202),
        ([0xA700, 0xC000], 503),
        ([0xA900, 0xC000], 409),
        ([0xC000], 400),
    ],
)
def test_http_status_follows_what_became_of_the_parts(statuses: list[int], expected: int) -> None:
    """PS3.18 Table 10.5.3-1."""
    assert http_status([Result(each) for each in statuses]) == expected


def test_the_answer_reads_back_in_json_and_xml() -> None:
    """Both forms hold the same: what was stored, what was not, what had no name."""
    results = [Result(0, "", uid.CTImageStorage, "1.2"), Result(0xA900, "", uid.CTImageStorage, "1.3")]
    attributes = response([*results, Result(0xC000)])
    read = Dataset.from_json(json.loads(encoded(attributes, JSON)))
    assert [each.ReferencedSOPInstanceUID for each in read.ReferencedSOPSequence] == ["1.2"]
    [failed] = read.FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == ("1.3", 0xA900)
    assert [each.FailureReason for each in read.OtherFailuresSequence] == [0xC000]
    text = encoded(attributes, XML).decode()
    assert re.findall(r'keyword="ReferencedSOPInstanceUID"><Value number="1">([\d.]+)<', text) == [
        "1.3",
        "1.2",
    ]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [(None, JSON), ("*/*", JSON), (f"{XML}, {JSON};q=0.5", JSON), (XML, XML), ("text/html", None)],
)
def test_the_form_of_the_answer_is_asked_for(accept: str | None, expected: str | None) -> None:
    """JSON unless XML alone is accepted."""
    assert acceptable(accept) == expected
