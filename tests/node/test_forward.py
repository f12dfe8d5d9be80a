"""Tests of delivery, against dcmtk's storescp and a storage SCP that answers what the test wants."""

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from sqlalchemy import select

from db.records import Outcome, Route
from db.tables import Attempt
from node.delivery import scu
from node.delivery.backoff import pause_s
from node.delivery.forward import Forwarder
from node.delivery.outgoing import Outgoing
from node.delivery.transport import PeerError
from node.relabelling.coercion import KEEP, WRITE
from node.relabelling.part10 import meta_end
from node.settings.destinations import Retry
from rules.decide import decide
from rules.verdict import Evidence
from tests.builders import Recipe, write
from tests.harness import Archive, free_port, wait_until
from tests.node.bench import Bench, opened
from tests.node.delivering import drive, forwarder

UNDECIDED = Outcome(None, (), "test", None, "0.1.0")


@dataclass
class Peer:
    """A storage SCP that gives the answers it is told to, and remembers what it was sent."""

    port: int
    answers: list[int] = field(default_factory=list)
    received: list[str] = field(default_factory=list)

    def answer(self, event: evt.Event) -> Dataset:
        """Give the next answer; when all are given, Success."""
        self.received.append(str(event.request.AffectedSOPInstanceUID))
        response = Dataset()
        response.Status = self.answers.pop(0) if self.answers else 0x0000
        if response.Status:
            response.ErrorComment = "because the test says so"
        return response


@contextmanager
def listening(port: int = 0, *answers: int, syntax: str = uid.ExplicitVRLittleEndian) -> Iterator[Peer]:
    """Run a storage SCP for CT in one transfer syntax."""
    peer = Peer(port, list(answers))
    ae = AE("ARCHIVE")
    contexts = [build_context(uid.CTImageStorage, syntax)]
    server = ae.start_server(
        ("127.0.0.1", port), block=False, contexts=contexts, evt_handlers=[(evt.EVT_C_STORE, peer.answer)]
    )
    peer.port = int(server.socket.getsockname()[1])
    try:
        yield peer
    finally:
        server.shutdown()


Make = Callable[..., Forwarder]


@pytest.fixture
def bench(tmp_path: Path, database_url: str) -> Iterator[Bench]:
    """A spool and a database, of both kinds, to deliver from."""
    with opened(tmp_path, database_url) as bench:
        yield bench


def test_what_is_kept_arrives_byte_for_byte(bench: Bench, tmp_path: Path) -> None:
    """storescp receives the data sets of the spool unchanged, and the series is delivered."""
    archive = Archive(tmp_path / "archive", free_port()).start("+B")
    recipe = Recipe(n=3, private=((1, "LO", "kept"),))
    bench.decided(recipe, UNDECIDED)
    drive(bench, forwarder(bench, port=archive.port), lambda found: found.sent == 3)
    archive.stop()
    assert bench.rows()[0].state == "delivered"
    received = {dcmread(path, stop_before_pixels=True).SOPInstanceUID: path for path in archive.files()}
    for path in (tmp_path / recipe.seed / recipe.patient_id).iterdir():
        copy = received[path.stem]
        assert copy.read_bytes()[meta_end(copy) :] == path.read_bytes()[meta_end(path) :]


def test_what_is_written_arrives_relabelled(bench: Bench, tmp_path: Path) -> None:
    """A verdict with a term changes the tag of every copy, and no byte of the pixels."""
    archive = Archive(tmp_path / "archive", free_port()).start()
    probabilities = np.tile(np.array([0.05, 0.95], np.float32), (3, 1))
    verdict = decide(Evidence(("head", "knee"), probabilities, np.array([0.0, 5.0, 10.0])), (), 0.5)
    recipe = Recipe(n=3, body_part="HEAD")
    bench.decided(recipe, Outcome(verdict, (), None, "d" * 64, "0.1.0"), (Route("archive", WRITE),))
    drive(bench, forwarder(bench, port=archive.port), lambda found: found.sent == 3)
    archive.stop()
    copies = [dcmread(path) for path in archive.files()]
    assert [copy.BodyPartExamined for copy in copies] == ["KNEE"] * 3
    originals = {path.stem: dcmread(path) for path in (tmp_path / recipe.seed / recipe.patient_id).iterdir()}
    for copy in copies:
        assert copy.PixelData == originals[copy.SOPInstanceUID].PixelData
        assert copy.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].BodyPartExamined == "HEAD"
    assert not list(bench.spool.outgoing("archive").iterdir())


def test_refused_instances_are_tried_again(bench: Bench) -> None:
    """An instance answered with a failure goes again until it is taken; each attempt is on record."""
    bench.decided(Recipe(n=2), UNDECIDED)
    with listening(0, 0xA700, 0xA700, 0x0110) as peer:
        drive(bench, forwarder(bench, port=peer.port), lambda found: found.sent == 2)
        assert len(peer.received) == 5
    with bench.database.reading() as session:
        statuses = session.scalars(select(Attempt.status).order_by(Attempt.id)).all()
        comments = session.scalars(select(Attempt.comment).where(Attempt.status == 0xA700)).all()
    assert statuses == [0xA700, 0xA700, 0x0110, 0, 0]
    assert comments == ["refused: out of resources because the test says so"] * 2


@pytest.mark.parametrize(("accepted", "state"), [([0xB000], "delivered"), ([], "failed")])
def test_warnings_count_as_configured(bench: Bench, accepted: list[int], state: str) -> None:
    """A warning is a delivery where the configuration accepts it, and a failure at once where not."""
    bench.decided(Recipe(n=1), UNDECIDED)
    with listening(0, 0xB000) as peer:
        forward = forwarder(bench, port=peer.port, accepted_warnings=accepted)
        drive(bench, forward, lambda found: not found.pending)
        assert len(peer.received) == 1
    assert bench.rows()[0].state == state


def test_a_dead_destination_is_noted_and_found_again(bench: Bench) -> None:
    """While nobody listens the reason is on record; when the destination is there everything arrives."""
    bench.decided(Recipe(n=3), UNDECIDED)
    port = free_port()
    forward = forwarder(bench, port=port)
    assert forward.deliver_due(threading.Event()) > 0
    [summary] = bench.rows()[0].deliveries
    assert summary.pending == 3
    assert summary.last_comment == f"ARCHIVE at 127.0.0.1:{port} does not answer"
    with listening(port) as peer:
        drive(bench, forward, lambda found: found.sent == 3)
        assert len(peer.received) == 3


def test_too_old_deliveries_fail_with_the_reason(bench: Bench) -> None:
    """After the maximum age the deliveries are failed and the series with them."""
    bench.decided(Recipe(n=2), UNDECIDED)
    forward = forwarder(bench, port=free_port(), retry={"maximum_age_s": 1e-3})
    summary = drive(bench, forward, lambda found: found.failed == 2)
    assert summary.last_comment == "not delivered within 0.001 s; bodytag resend tries again"
    assert bench.rows()[0].state == "failed"


def test_a_syntax_that_the_peer_refuses_does_not_hold_up_others(bench: Bench, tmp_path: Path) -> None:
    """Instances without an accepted context wait with their reason while the others are delivered."""
    bench.decided(Recipe(n=2, seed="big", transfer_syntax=uid.ExplicitVRBigEndian), UNDECIDED)
    bench.decided(Recipe(n=2, seed="plain", transfer_syntax=uid.ImplicitVRLittleEndian), UNDECIDED)
    archive = Archive(tmp_path / "archive", free_port()).start("+xi")
    forwarder(bench, port=archive.port, transcode=False).deliver_due(threading.Event())
    archive.stop()
    states = {row.series_instance_uid: row for row in bench.rows()}
    assert states[Recipe(seed="plain").series_uid].state == "delivered"
    [waiting] = states[Recipe(seed="big").series_uid].deliveries
    assert waiting.pending == 2
    assert waiting.last_comment == "the destination takes no such SOP class and transfer syntax"


def test_a_file_that_is_gone_does_not_hold_up_others(bench: Bench) -> None:
    """When somebody emptied the spool behind the node's back, the rest is delivered and the loss is told."""
    bench.decided(Recipe(n=3), UNDECIDED)
    [(_, paths)] = bench.spool.series()
    bench.spool.path(paths[0]).unlink()
    with listening() as peer:
        summary = drive(bench, forwarder(bench, port=peer.port), lambda found: found.sent == 2)
    assert summary.pending == 1
    with bench.database.reading() as session:
        reasons = session.scalars(select(Attempt.comment).where(Attempt.status.is_(None))).all()
    assert set(reasons) == {"the spool gives no copy: No such file or directory"}


def test_one_dead_destination_does_not_delay_another(bench: Bench) -> None:
    """Loops of their own: while one destination swallows connections, the other gets everything."""
    routes = (Route("archive", KEEP), Route("dead", KEEP))
    bench.decided(Recipe(n=5), UNDECIDED, routes)
    stop = threading.Event()
    with listening() as peer, _swallowing() as dead:
        forwarders = [
            forwarder(bench, port=peer.port),
            forwarder(bench, port=dead, name="dead", timeout_s=30),
        ]
        threads = [threading.Thread(target=each.run, args=(stop,)) for each in reversed(forwarders)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(peer.received) == 5, "the living destination has all", 60)
        stop.set()
        for each in forwarders:
            each.wake()
    for thread in threads:
        thread.join(60)
    summaries = {each.destination: each for each in bench.rows()[0].deliveries}
    assert summaries["dead"].pending == 5


@contextmanager
def _swallowing() -> Iterator[int]:
    """Listen for connections and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_no_answer_is_lost_in_a_long_association(tmp_path: Path) -> None:
    """Two thousand instances in one association, with other work on the cores, are all answered."""
    [path] = write(tmp_path / "in", Recipe(n=1, rows=16, columns=16))
    archive = Archive(tmp_path / "archive", free_port()).start("+B")
    peer = scu.Peer("ARCHIVE", "127.0.0.1", archive.port, "TEST", 5)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        with scu.connect(peer, [(uid.CTImageStorage, uid.ExplicitVRLittleEndian)]) as sender:
            answers = {sender.store(Outgoing(path)).status for _ in range(2000)}
    finally:
        for process in busy:
            process.kill()
            process.wait()
        archive.stop()
    assert answers == {0}


def test_a_peer_that_aborts_between_instances_is_noticed(tmp_path: Path) -> None:
    """After an abort the next instance fails at once with a sentence, not after a timeout."""
    [path] = write(tmp_path / "in", Recipe(n=1))
    archive = Archive(tmp_path / "archive", free_port()).start()
    peer = scu.Peer("ARCHIVE", "127.0.0.1", archive.port, "TEST", 3600)
    with scu.connect(peer, [(uid.CTImageStorage, uid.ExplicitVRLittleEndian)]) as sender:
        assert sender.store(Outgoing(path)).status == 0
        archive.stop()
        for _ in range(2):
            with pytest.raises(PeerError, match="ended the association"):
                sender.store(Outgoing(path))


@contextmanager
def _rejecting() -> Iterator[int]:
    """Listen on a port; reject whoever comes, before the request was read."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def turn_away() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(struct.pack(">BxLxBBB", 0x03, 4, 1, 1, 3))
                        while connection.recv(65536):
                            pass

        thread = threading.Thread(target=turn_away)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_rejection_that_comes_at_once_is_heard() -> None:
    """Other threads at work: the thread that asks may wake after the connection is closed again."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            pass

    workers = [threading.Thread(target=work) for _ in range(3)]
    for each in workers:
        each.start()
    try:
        with _rejecting() as port:
            for _ in range(20):
                with pytest.raises(PeerError, match="rejected the association: Calling AE title not"):
                    scu.echo(scu.Peer("ANY", "127.0.0.1", port, "TEST", 10))
    finally:
        done.set()
        for each in workers:
            each.join()


def test_pauses_double_up_to_the_maximum_with_jitter() -> None:
    """The pause grows with each attempt, is never under half of its step, and never beyond the maximum."""
    retry = Retry(first_s=1, maximum_s=60)
    for attempts in range(1, 80):
        full = min(2.0 ** (attempts - 1), 60)
        pauses = [pause_s(retry, attempts) for _ in range(50)]
        assert all(full / 2 <= pause <= full for pause in pauses)
        assert len(set(pauses)) > 1
