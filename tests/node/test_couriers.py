"""Tests of how destinations are treated: limits, pauses, age, answers of the web, and transcoding."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pynetdicom import AE, _config, evt
from pynetdicom.presentation import build_context
from sqlalchemy import update

from db.destinations import pause, queues, resume
from db.session import migrate
from db.tables import Delivery
from node.clock import utc_now
from node.delivery.rate import Rate
from node.delivery.transcode import TranscodeError, transcode
from tests.builders import Recipe, bundled, write
from tests.harness import Archive, free_port, wait_until
from tests.node.bench import Bench, opened
from tests.node.delivering import UNDECIDED, comments, drive, forwarder, refused, web_peer

NOBODY = 1
"""A port where nobody listens."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A spool and a database to deliver from."""
    url = f"sqlite:///{tmp_path}/bodytag.sqlite"
    migrate(url)
    with opened(tmp_path, url) as bench:
        yield bench


def test_turns_are_evenly_spaced() -> None:
    """The slower of both limits counts, and time in which nothing was sent is not made up for."""
    now = 0.0
    rate = Rate(2.0, 1000.0, clock=lambda: now)
    assert [rate.take(100), rate.take(2000), rate.take(0)] == [0.0, 0.5, 2.5]
    now = 100.0
    assert [rate.take(0), rate.take(0)] == [0.0, 0.5]
    assert [Rate(None, None).take(10**9) for _ in range(3)] == [0.0] * 3


def test_as_many_connections_as_allowed(bench: Bench) -> None:
    """Four instances are under way at once, and no more, when four connections are allowed."""
    together = threading.Barrier(4, timeout=60)
    associations: list[int] = []

    def store(_: evt.Event) -> int:
        together.wait()
        return 0x0000

    ae = AE("ARCHIVE")
    contexts = [build_context(uid.CTImageStorage, uid.ExplicitVRLittleEndian)]
    handlers = [(evt.EVT_C_STORE, store), (evt.EVT_ACCEPTED, lambda _: associations.append(1))]
    server = ae.start_server(("127.0.0.1", 0), block=False, contexts=contexts, evt_handlers=handlers)
    bench.decided(Recipe(n=8), UNDECIDED)
    forward = forwarder(bench, port=server.socket.getsockname()[1], concurrency=4)
    forward.deliver_due(threading.Event())
    server.shutdown()
    assert len(associations) == 4
    assert bench.rows()[0].state == "delivered"


def test_a_paused_destination_waits_and_nothing_becomes_too_old(bench: Bench, tmp_path: Path) -> None:
    """Held back, a destination is not called, whatever the age; going on, it gets everything at once."""
    archive = Archive(tmp_path / "archive", free_port()).start("+B")
    bench.decided(Recipe(n=2), UNDECIDED)
    forward = forwarder(bench, port=archive.port, retry={"maximum_age_s": 60})
    with bench.database.session() as session:
        assert pause(session, "archive", "a new archive", utc_now())
        assert not pause(session, "archive", "a new archive", utc_now())
        session.execute(update(Delivery).values(armed_at=utc_now() - timedelta(days=9)))
    forward.deliver_due(threading.Event())
    assert archive.files() == []
    assert comments(bench) == []
    with bench.database.session() as session:
        assert queues(session)["archive"].pending == 2
        assert resume(session, "archive", utc_now())
        assert not resume(session, "archive", utc_now())
    drive(bench, forward, lambda found: found.sent == 2)
    archive.stop()


def test_going_on_ends_a_long_pause(bench: Bench) -> None:
    """A loop that leaves a dead destination alone for an hour calls it when an admin says so."""
    bench.decided(Recipe(n=1), UNDECIDED)
    hour = {"first_s": 3600, "maximum_s": 3600}
    forward = forwarder(bench, port=NOBODY, retry=hour)
    stop = threading.Event()
    thread = threading.Thread(target=forward.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: len(comments(bench)) == 1, "it was tried once")
        with bench.database.session() as session:
            pause(session, "archive", "", utc_now())
            resume(session, "archive", utc_now())
        wait_until(lambda: len(comments(bench)) == 2, "it was tried again")
    finally:
        stop.set()
        thread.join(60)


def test_what_is_old_is_tried_before_it_is_given_up(bench: Bench, tmp_path: Path) -> None:
    """After a clock that jumped, or a week without the node, a destination that is there gets everything."""
    archive = Archive(tmp_path / "archive", free_port()).start("+B")
    bench.decided(Recipe(n=2), UNDECIDED)
    with bench.database.session() as session:
        session.execute(update(Delivery).values(armed_at=utc_now() - timedelta(days=9)))
    forwarder(bench, port=archive.port).deliver_due(threading.Event())
    archive.stop()
    assert bench.rows()[0].state == "delivered"


def test_a_clock_that_is_set_back_holds_nothing_up(bench: Bench, tmp_path: Path) -> None:
    """A try that was put off into a future that no pause reaches is due now."""
    archive = Archive(tmp_path / "archive", free_port()).start("+B")
    bench.decided(Recipe(n=1), UNDECIDED)
    with bench.database.session() as session:
        session.execute(update(Delivery).values(next_attempt_at=utc_now() + timedelta(days=1)))
    forwarder(bench, port=archive.port).deliver_due(threading.Event())
    archive.stop()
    assert bench.rows()[0].state == "delivered"


def test_a_token_from_a_file_is_read_anew(bench: Bench, tmp_path: Path) -> None:
    """Each connection shows the token that the file holds by then; the body is the spool's file."""
    token = tmp_path / "token"
    token.write_text("first\n")
    bench.decided(Recipe(n=1), UNDECIDED)
    with web_peer((503, {}, {})) as peer:
        forward = forwarder(bench, type="dicomweb", url=peer.url, token_file=str(token))
        forward.deliver_due(threading.Event())
        token.write_text("second")
        drive(bench, forward, lambda found: found.sent == 1)
    assert [each["Authorization"] for each in peer.headers] == ["Bearer first", "Bearer second"]
    [(_, [name])] = bench.spool.series()
    content = bench.spool.path(name).read_bytes()
    assert all(content in body for body in peer.bodies)
    assert comments(bench)[0] == "the server answered HTTP 503 Service Unavailable"
    assert not any("first" in each or "second" in each for each in comments(bench))


@pytest.mark.parametrize(
    ("answer", "state", "code", "sentence"),
    [
        ((409, {}, refused(0xA700)), "pending", 0xA700, "refused: out of resources HTTP 409"),
        ((202, {}, refused(0xC000)), "pending", 0xC000, "error: cannot understand HTTP 202"),
        ((413, {}, {}), "pending", None, "the server answered HTTP 413 Request Entity Too Large"),
        (
            (302, {"Location": "http://127.0.0.1/"}, {}),
            "pending",
            None,
            "the server answered HTTP 302 Found",
        ),
        ((200, {}, ["no", "data", "set"]), "sent", 0, "HTTP 200, without a word on the instance"),
        ((200, {"Content-Type": "text/html"}, {}), "sent", 0, "HTTP 200, without a word on the instance"),
    ],
)
def test_answers_of_the_web(
    bench: Bench, answer: tuple[int, dict[str, str], Any], state: str, code: int | None, sentence: str
) -> None:
    """Each answer is kept with its instance; a redirection is not followed, with the login or without."""
    bench.decided(Recipe(n=1), UNDECIDED)
    with web_peer(answer) as peer:
        forwarder(bench, type="dicomweb", url=peer.url, token="t").deliver_due(threading.Event())
    [summary] = bench.rows()[0].deliveries
    assert getattr(summary, state) == 1
    assert (summary.last_status, summary.last_comment) == (code, sentence)


def test_a_server_that_wants_peace_gets_it(bench: Bench) -> None:
    """The pause that a server asks for is kept."""
    bench.decided(Recipe(n=1), UNDECIDED)
    with web_peer((429, {"Retry-After": "120"}, {})) as peer:
        forward = forwarder(bench, type="dicomweb", url=peer.url)
        assert forward.deliver_due(threading.Event()) == 120


ENCODED = (
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "GDCMJ2K_TextGBR.dcm",
    "image_dfl.dcm",
    "rtdose_rle.dcm",
    "JPEGLSNearLossless_16.dcm",
    "examples_ybr_color.dcm",
    "693_J2KI.dcm",
    "JPEG-lossy.dcm",
)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
@pytest.mark.parametrize("name", ENCODED)
def test_transcoding_loses_nothing_or_is_refused(tmp_path: Path, name: str, syntax: str) -> None:
    """Pixels and all other elements are those of the original; what may hold losses is left alone."""
    source, target = bundled(name), tmp_path / "native.dcm"
    before = dcmread(source)
    came = before.file_meta.TransferSyntaxUID
    if came in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEG2000, uid.JPEGLSNearLossless):
        with pytest.raises(TranscodeError, match="may hold losses"):
            transcode(source, target, syntax)
        return
    with disable_value_validation():
        transcode(source, target, syntax)
        prove(source, target, syntax)


def prove(source: Path, target: Path, syntax: str) -> None:
    """Compare a file with what was made of it, with the means of pydicom."""
    before, after = dcmread(source), dcmread(target)
    assert after.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(pixel_array(before, raw=True), pixel_array(after, raw=True))
    encoding = {"PixelData", "PhotometricInterpretation", "PlanarConfiguration"}
    kept = [each for each in before if each.tag.element and each.tag not in (0x7FE00001, 0x7FE00002)]
    assert {each.keyword for each in kept if each != after.get(each.tag)} <= encoding


@contextmanager
def only(*syntaxes: str) -> Iterator[tuple[int, list[Dataset]]]:
    """Run a storage SCP that takes CT and MR in some transfer syntaxes only; gives port and what it got."""
    received: list[Dataset] = []

    def store(event: evt.Event) -> int:
        data_set = event.dataset
        data_set.file_meta = event.file_meta
        received.append(data_set)
        return 0x0000

    ae = AE("ARCHIVE")
    classes = (uid.CTImageStorage, uid.MRImageStorage)
    contexts = [build_context(each, list(syntaxes)) for each in classes]
    handlers = [(evt.EVT_C_STORE, store)]
    # the node's receiver, where it was imported, lets every acceptor of this process take anything
    with patch.object(_config, "UNRESTRICTED_STORAGE_SERVICE", new=False):
        server = ae.start_server(("127.0.0.1", 0), block=False, contexts=contexts, evt_handlers=handlers)
        try:
            yield server.socket.getsockname()[1], received
        finally:
            server.shutdown()


def test_only_what_is_refused_is_transcoded(bench: Bench) -> None:
    """JPEG-LS goes out as it came where the peer takes it, and uncompressed where it does not."""
    bench.store_file(bundled("MR_small_jpeg_ls_lossless.dcm"))
    bench.tracker.flush()
    bench.tracker.register_due()
    bench.decide(bench.rows()[0].series_id, UNDECIDED)
    original = dcmread(bundled("MR_small_jpeg_ls_lossless.dcm"))
    with only(uid.JPEGLSLossless, uid.ExplicitVRLittleEndian) as (port, received):
        drive(bench, forwarder(bench, port=port), lambda found: found.sent == 1)
        assert received[0].PixelData == original.PixelData
    with bench.database.session() as session:
        session.execute(update(Delivery).values(state="pending"))
    with only(uid.ImplicitVRLittleEndian) as (port, received):
        drive(bench, forwarder(bench, port=port), lambda found: found.sent == 1)
        assert np.array_equal(received[0].pixel_array, original.pixel_array)
        assert received[0].SOPInstanceUID == original.SOPInstanceUID
    assert comments(bench)[-1] == "as Implicit VR Little Endian"
    assert not list(bench.spool.outgoing("archive").iterdir())


def test_a_web_server_that_refuses_the_syntax_gets_it_uncompressed(bench: Bench, tmp_path: Path) -> None:
    """HTTP 415 is answered once with the same pixels, uncompressed; what may hold losses waits."""
    bench.decided(Recipe(n=1, transfer_syntax=uid.RLELossless), UNDECIDED)
    with web_peer((415, {}, {})) as peer:
        forwarder(bench, type="dicomweb", url=peer.url).deliver_due(threading.Event())
    assert comments(bench) == ["HTTP 200 as Explicit VR Little Endian"]
    assert len(peer.bodies) == 2
    assert write(tmp_path / "again", Recipe(n=1, transfer_syntax=uid.RLELossless))[0].stat().st_size < len(
        peer.bodies[1]
    )


def test_lossy_images_wait_for_a_peer_that_takes_them(bench: Bench) -> None:
    """JPEG 2000 that may hold losses is never decoded for a peer; the reason is on record."""
    bench.store_file(bundled("693_J2KI.dcm"))
    bench.tracker.flush()
    bench.tracker.register_due()
    bench.decide(bench.rows()[0].series_id, UNDECIDED)
    with only(uid.ExplicitVRLittleEndian) as (port, received):
        forwarder(bench, port=port).deliver_due(threading.Event())
    assert received == []
    assert comments(bench) == [
        "the destination takes no such SOP class and transfer syntax,"
        " and JPEG 2000 Image Compression may hold losses and is not transcoded"
    ]
