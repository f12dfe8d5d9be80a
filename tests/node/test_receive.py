"""Tests of the receiver, with dcmtk's storescu and with hostile requestors."""

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, uid
from pynetdicom import AE

from node.delivery.outgoing import Outgoing
from node.delivery.scu import Peer, connect, echo
from node.delivery.transport import Answer, PeerError
from node.intake.intake import Arrival
from node.intake.receive import Receiver
from node.relabelling.part10 import Meta, meta_end
from node.settings.receive import Receive
from node.storage.spool import SeriesKey, Spool
from tests.builders import Recipe, bundled, dataset, real_images, series, write
from tests.harness import storescu, wait_until


@dataclass
class Listening:
    """A receiver on a port of its own, and what it reported."""

    spool: Spool
    receiver: Receiver
    arrivals: list[Arrival]
    released: list[frozenset[SeriesKey]] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.receiver.port

    def peer(self, calling: str = "TEST", called: str = "BODYTAG") -> Peer:
        """Address it as a caller."""
        return Peer(called, "127.0.0.1", self.port, calling, 10)

    def send(self, path: Path) -> Answer:
        """Send one file, never parsed on the way."""
        meta = dcmread(path, stop_before_pixels=True, specific_tags=[]).file_meta
        context = (str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
        with connect(self.peer(), [context]) as sender:
            return sender.store(Outgoing(path))

    def stored(self) -> list[Path]:
        """List the files in the spool."""
        return [self.spool.path(path) for _, paths in self.spool.series() for path in paths]


Listen = Callable[..., Listening]


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    """Start receivers; they stop with the test."""
    started: list[Receiver] = []

    def start(floor_bytes: int = 0, **options: object) -> Listening:
        arrivals: list[Arrival] = []
        released: list[frozenset[SeriesKey]] = []
        config = Receive.model_validate({"host": "127.0.0.1", "port": 0, "promiscuous": True} | options)
        spool = Spool(tmp_path / "spool", floor_bytes)
        receiver = Receiver(config, spool, arrivals.append, released.append)
        receiver.start()
        started.append(receiver)
        return Listening(spool, receiver, arrivals, released)

    yield start
    for receiver in started:
        receiver.stop()


def test_answers_echo(listen: Listen) -> None:
    """C-ECHO succeeds."""
    assert echo(listen().peer()) == 0x0000


@pytest.mark.parametrize("path", real_images(), ids=lambda path: path.name)
def test_stores_every_transfer_syntax_untouched(listen: Listen, path: Path) -> None:
    """The data set in the spool is the data set sent, byte for byte, whatever its encoding."""
    node = listen()
    assert node.send(path).status == 0x0000
    [stored] = node.stored()
    assert stored.read_bytes()[meta_end(stored) :] == path.read_bytes()[meta_end(path) :]
    meta = dcmread(stored, stop_before_pixels=True).file_meta
    assert meta.TransferSyntaxUID == dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    assert meta.SourceApplicationEntityTitle == "TEST"


def test_takes_what_storescu_sends(listen: Listen, tmp_path: Path) -> None:
    """Three associations of dcmtk with one series between them are one series in the spool."""
    node = listen()
    files = series(tmp_path / "in", n=9)
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda part: storescu(node.port, files[part::3]), range(3)))
    assert [result.returncode for result in results] == [0, 0, 0], results
    [(key, paths)] = node.spool.series()
    assert len(paths) == 9
    assert {arrival.stored.key for arrival in node.arrivals} == {key}
    wait_until(lambda: len(node.released) == 3, "three releases were told")
    assert set(node.released) == {frozenset({key})}


def test_takes_a_thousand_instances_in_one_association(listen: Listen, tmp_path: Path) -> None:
    """Nothing is lost or slowed to a stop by a long association."""
    node = listen()
    files = series(tmp_path / "in", n=1000, rows=16, columns=16)
    assert storescu(node.port, [tmp_path / "in"], "+sd").returncode == 0
    assert len(node.stored()) == len(files) == len(node.arrivals)


@pytest.mark.parametrize("sop_class", ["1.2.840.113619.4.26", "1.2.3.4.5.6.7", uid.EncapsulatedPDFStorage])
def test_takes_every_storage_sop_class(listen: Listen, tmp_path: Path, sop_class: str) -> None:
    """Private, unknown and non-image SOP classes are stored like any other."""
    node = listen()
    [path] = write(tmp_path / "in", Recipe(n=1, overrides={"SOPClassUID": sop_class}))
    assert node.send(path).status == 0x0000
    assert node.arrivals[0].sop_class_uid == sop_class


def hostile(folder: Path, find: bytes, put: bytes) -> Path:
    """Write a file whose meta information is good and whose data set has bytes exchanged."""
    folder.mkdir()
    recipe = Recipe()
    plain = folder / "plain.dcm"
    dataset(recipe).save_as(plain, enforce_file_format=True)
    data = plain.read_bytes()[meta_end(plain) :]
    assert find in data
    meta = Meta(uid.CTImageStorage, recipe.instance_uid(0), uid.ExplicitVRLittleEndian, "TEST")
    path = folder / "hostile.dcm"
    path.write_bytes(meta.encode() + data.replace(find, put))
    return path


def test_bad_objects_get_their_status_and_the_association_goes_on(listen: Listen, tmp_path: Path) -> None:
    """Among good instances the bad ones are refused, each with its status, and none disturbs the next."""
    node = listen()
    recipe = Recipe()
    instance = recipe.instance_uid(0).encode()
    climbing = b"../../../../tmp/x"
    study = str(dataset(recipe).StudyInstanceUID).encode()
    cases = {
        "no SOP Instance UID": (b"\x08\x00\x18\x00UI", b"\x08\x00\x19\x00UI", 0xA900),
        "another SOP Instance UID": (instance, instance[:-1] + b"x", 0xC000),
        "a path as UID": (study, climbing + b"1" * (len(study) - len(climbing)), 0xC000),
        "no data set": (b"\x08\x00", b"\xff\xff", 0xC000),
    }
    good = series(tmp_path / "good", "CT", 1)[0]
    context = (str(uid.CTImageStorage), str(uid.ExplicitVRLittleEndian))
    with connect(node.peer(), [context]) as sender:
        for name, (find, put, status) in cases.items():
            answer = sender.store(Outgoing(hostile(tmp_path / name, find, put)))
            assert answer.status == status, name
            assert answer.comment, name
            assert len(answer.comment) <= 64
        assert sender.store(Outgoing(good)).status == 0x0000
    assert [path.name for path in node.stored()] == [good.name]
    assert not (tmp_path / "x").exists()


def test_a_path_as_uid_in_the_command_is_refused(listen: Listen, tmp_path: Path) -> None:
    """`../` in command and data set alike gets its status from the node; storescu goes on with the next."""
    node = listen()
    recipe = Recipe(seed="climber")
    uid_sent = recipe.instance_uid(0).encode()
    [path] = write(tmp_path / "bad", replace(recipe, n=1))
    climbing = b"../../../../tmp/" + b"1" * (len(uid_sent) - 16)
    path.write_bytes(path.read_bytes().replace(uid_sent, climbing))
    [good] = write(tmp_path / "good", Recipe(n=1))
    result = storescu(node.port, [path, good], "-nh", "-v")
    assert "Received Store Response (Error: CannotUnderstand)" in result.stderr
    assert "Received Store Response (Success)" in result.stderr
    assert [stored.name for stored in node.stored()] == [good.name]


def test_a_truncated_object_is_refused(listen: Listen) -> None:
    """An object that declares more pixel data than it has is not acknowledged."""
    node = listen()
    answer = node.send(bundled("MR_truncated.dcm"))
    assert answer.status == 0xC000
    assert "(7FE0,0010) declares 8192 bytes" in answer.comment
    assert not node.stored()


def test_a_deflate_bomb_is_refused(listen: Listen, tmp_path: Path) -> None:
    """A small object that inflates beyond the cap is answered with 0xC000."""
    node = listen(maximum_inflated_bytes=100_000)
    recipe = Recipe(
        n=1,
        transfer_syntax=uid.DeflatedExplicitVRLittleEndian,
        rows=512,
        columns=512,
        pixels=lambda _, rows, columns: np.zeros((rows, columns), np.uint16),
    )
    [path] = write(tmp_path / "in", recipe)
    assert path.stat().st_size < 10_000
    assert node.send(path).status == 0xC000


def test_zero_byte_pixel_data_is_taken(listen: Listen, tmp_path: Path) -> None:
    """An image with empty pixel data is no reason to refuse it: it is passed on later."""
    node = listen()
    [path] = write(tmp_path / "in", Recipe(n=1, overrides={"PixelData": b""}))
    assert node.send(path).status == 0x0000


def test_duplicates_are_acknowledged_and_different_objects_kept(listen: Listen, tmp_path: Path) -> None:
    """The same object again is a success without news; another under its UID is stored beside it."""
    node = listen()
    [first] = write(tmp_path / "a", Recipe(n=1))
    [second] = write(tmp_path / "b", Recipe(n=1, patient_id="OTHER"))
    assert [node.send(path).status for path in (first, first, second)] == [0, 0, 0]
    assert len(node.arrivals) == 2
    assert len(node.stored()) == 2


def test_under_the_floor_instances_are_refused_until_there_is_room(listen: Listen, tmp_path: Path) -> None:
    """With the disk under its floor 0xA700 is answered; when a file goes, the next one is taken."""
    [path] = write(tmp_path / "in", Recipe(n=1))
    gibibyte = 1 << 30
    free = Spool(tmp_path / "spool", 0).room.free_bytes()
    assert free > 8 * gibibyte, "the test needs 8 GiB of free disk"
    node = listen(floor_bytes=free - 3 * gibibyte)
    filler = tmp_path / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 6 * gibibyte)
    refused = node.send(path)
    assert (refused.status, refused.comment) == (0xA700, "the spool's disk is under its floor")
    assert not node.stored()
    filler.unlink()
    assert wait_until(lambda: node.send(path).status == 0x0000, "there is room again")


def test_unknown_callers_are_rejected(listen: Listen) -> None:
    """Without promiscuous mode only the listed AE titles from the listed addresses are let in."""
    callers = [
        {"ae_title": "CT1", "hosts": ["127.0.0.0/8"]},
        {"ae_title": "CT2", "hosts": ["10.0.0.0/8"]},
        {"ae_title": "CT3"},
    ]
    node = listen(promiscuous=False, callers=callers)
    assert echo(node.peer("CT1")) == 0x0000
    assert echo(node.peer("CT3")) == 0x0000
    for stranger in ("CT2", "CT4", "ct1"):
        with pytest.raises(PeerError, match="Calling AE title not recognised"):
            echo(node.peer(stranger))


def test_wrong_called_title_is_rejected(listen: Listen) -> None:
    """Who calls another AE title is told so."""
    with pytest.raises(PeerError, match="Called AE title not recognised"):
        echo(listen().peer(called="OTHER"))


def test_one_more_than_the_maximum_of_associations_is_rejected(listen: Listen) -> None:
    """Beyond the limit a requestor is rejected, and let in when another one has left."""
    node = listen(maximum_associations=2)
    ae = AE("TEST")
    ae.add_requested_context(uid.UID("1.2.840.10008.1.1"))
    held = [ae.associate("127.0.0.1", node.port, ae_title="BODYTAG") for _ in range(2)]
    assert all(association.is_established for association in held)
    with pytest.raises(PeerError, match="Local limit exceeded"):
        echo(node.peer())
    held[0].release()
    assert wait_until(lambda: _lets_in(node), "a place is free")
    held[1].release()


def _lets_in(node: Listening) -> bool:
    try:
        return echo(node.peer()) == 0x0000
    except PeerError:
        return False


def test_a_broken_association_leaves_what_was_acknowledged(listen: Listen, tmp_path: Path) -> None:
    """When the requestor is killed in the middle, every instance with a Success is in the spool, whole."""
    node = listen()
    series(tmp_path / "in", n=400)
    arguments = ["storescu", "-aec", "BODYTAG", "127.0.0.1", str(node.port), "+sd", str(tmp_path / "in")]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: len(node.arrivals) > 20, "twenty instances arrived")
        process.kill()
    wait_until(lambda: not node.receiver.associations, "the association is gone")
    for path in node.stored():
        assert (
            path.read_bytes()[meta_end(path) :]
            == (tmp_path / "in" / path.name).read_bytes()[meta_end(tmp_path / "in" / path.name) :]
        )
    assert not node.released
