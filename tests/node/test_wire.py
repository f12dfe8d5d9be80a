"""Tests of C-STORE at the socket: peers of every PDU length, and peers that misbehave amid an instance."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pydicom import uid
from pynetdicom import AE, evt

from node import dimse
from node.delivery.outgoing import Outgoing
from node.delivery.scu import Peer, connect
from node.delivery.transport import Answer, PeerError, RefusedError
from node.relabelling.part10 import meta_end
from tests.builders import Recipe, write
from tests.harness import wait_until
from tests.node.hostile import ABORT, P_DATA, item, pdu, received_pdu

CT = (str(uid.CTImageStorage), str(uid.ExplicitVRLittleEndian))
TIMEOUT_S = 1.0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT image whose data set fills many PDUs."""
    [path] = write(tmp_path_factory.mktemp("image"), Recipe(n=1, rows=128, columns=128))
    return path


def peer_at(port: int) -> Peer:
    """Address a peer on this machine."""
    return Peer("ARCHIVE", "127.0.0.1", port, "TEST", TIMEOUT_S)


@pytest.mark.parametrize("length", [0, 4096, 4097, 16382, 1 << 20])
def test_every_pdu_length_gets_the_same_bytes(image: Path, length: int) -> None:
    """The data set arrives as it lies in the file, however the peer wants it cut; twice, and then C-ECHO."""
    got: list[bytes] = []

    def on_store(event: evt.Event) -> int:
        got.append(event.request.DataSet.getvalue())
        return 0xB007 if len(got) == 2 else 0

    ae = AE(ae_title="ARCHIVE")
    ae.maximum_pdu_size = length
    ae.add_supported_context(*CT)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    try:
        with connect(peer_at(server.socket.getsockname()[1]), [CT]) as sender:
            answers = [sender.store(Outgoing(image)) for _ in range(2)]
            with pytest.raises(RefusedError, match="cannot be read"):
                sender.store(Outgoing(Path(__file__)))
            assert sender.store(Outgoing(image)).status == 0
    finally:
        server.shutdown()
    content = image.read_bytes()[meta_end(image) :]
    assert got == [content] * 3
    assert answers == [Answer(0, ""), Answer(0xB007, "")]


def test_a_context_that_was_not_agreed_on_is_refused(image: Path) -> None:
    """An instance of another transfer syntax is not sent under the wrong name."""
    other = (CT[0], str(uid.ImplicitVRLittleEndian))
    with (
        scripted(lambda _: None, syntax=other[1]) as port,
        connect(peer_at(port), [other]) as sender,
    ):
        assert not sender.accepts(CT)
        with pytest.raises(RefusedError, match="takes no such"):
            sender.store(Outgoing(image))


def answer(message_id: int = 1, field: int = dimse.C_STORE_RSP, status: int | None = 0) -> bytes:
    """Encode a response."""
    said = {dimse.COMMAND_FIELD: field, dimse.ANSWERED_ID: message_id, dimse.DATA_SET_TYPE: 0x0101}
    return dimse.write(said if status is None else said | {dimse.STATUS: status})


def whole(connection: socket.socket) -> None:
    """Read a request to its last byte."""
    ended = False
    while not ended:
        got = received_pdu(connection)
        assert got is not None
        for _, control, _ in dimse.values(memoryview(got[1])):
            ended = bool(control & dimse.LAST) and not control & dimse.COMMAND


def says(*content: bytes) -> Callable[[socket.socket], None]:
    """Make a peer that reads the request and answers with this."""

    def script(connection: socket.socket) -> None:
        whole(connection)
        for each in content:
            connection.sendall(each)

    return script


def drips(connection: socket.socket) -> None:
    """Read the request, and answer a byte now and then."""
    whole(connection)
    for byte in dimse.p_data(1, 3, answer()):
        connection.sendall(bytes((byte,)))
        if threading.Event().wait(0.1):
            return


def hangs_up(connection: socket.socket) -> None:
    """Read the request, and go."""
    whole(connection)
    connection.close()


def hangs_up_amid(connection: socket.socket) -> None:
    """Go while the request comes; before its first byte the association might not be there yet."""
    connection.recv(1)
    connection.close()


MISBEHAVIOUR = {
    "an abort": (says(pdu(ABORT, b"\0" * 4)), "ended the association"),
    "a release": (says(pdu(5, b"\0" * 4)), "ended the association"),
    "a hang-up": (hangs_up_amid, "ended the association"),
    "a hang-up at the end": (hangs_up, "ended the association"),
    "silence": (says(), "no answer in time"),
    "dripping": (drips, "no answer in time"),
    "another message's answer": (says(dimse.p_data(1, 3, answer(message_id=2))), "no answer"),
    "another answer": (says(dimse.p_data(1, 3, answer(field=0x8030))), "no answer"),
    "an answer without status": (says(dimse.p_data(1, 3, answer(status=None))), "no answer"),
    "no command": (says(dimse.p_data(1, 3, b"\xff" * 40)), "no answer"),
    "a PDU of 4 GiB": (says(pdu(P_DATA, b"", 0xFFFFFFFF)), "no answer"),
    "an empty PDU": (says(pdu(P_DATA, b"")), "no answer"),
    "a command without end": (says(dimse.p_data(1, 1, b"\0" * 60000) * 3), "no answer"),
}


@pytest.mark.parametrize("name", MISBEHAVIOUR)
def test_a_peer_that_misbehaves_is_left_with_a_sentence(image: Path, name: str) -> None:
    """The instance counts as not sent, nothing follows on that association, and no thread is left."""
    script, sentence = MISBEHAVIOUR[name]
    before = threading.active_count()
    with scripted(script) as port, connect(peer_at(port), [CT]) as sender:
        started = time.monotonic()
        with pytest.raises(PeerError, match=sentence):
            sender.store(Outgoing(image))
        assert time.monotonic() - started < 20
        with pytest.raises(PeerError):
            sender.store(Outgoing(image))
    wait_until(lambda: threading.active_count() <= before, "no thread is left")


def test_an_answer_in_pieces_is_an_answer(image: Path) -> None:
    """A command may come in several values, and these in several PDUs (PS3.8 E.1)."""
    encoded = answer(status=0xA700)
    values = [
        dimse.p_data(1, 1, encoded[:7]),
        dimse.p_data(1, 1, encoded[7:30]),
        dimse.p_data(1, 3, encoded[30:]),
    ]
    with scripted(says(*values)) as port, connect(peer_at(port), [CT]) as sender:
        assert sender.store(Outgoing(image)) == Answer(0xA700, "")


def test_a_peer_that_does_not_read_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be sent within its time ends the association, though nobody hung up."""
    [path] = write(tmp_path, Recipe(n=1, rows=4096, columns=4096))
    monkeypatch.setattr("node.delivery.wire._LEAST_BYTES_PER_S", 10_000_000)
    given_up = threading.Event()
    with scripted(lambda _: given_up.wait(60)) as port:
        with connect(peer_at(port), [CT]) as sender, pytest.raises(PeerError, match="no answer in time"):
            sender.store(Outgoing(path))
        given_up.set()


@contextmanager
def scripted(script: Callable[[socket.socket], object], syntax: str = CT[1]) -> Iterator[int]:
    """Listen, accept one association in raw bytes, do what the script says, and wait for the peer's end."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            received_pdu(connection)
            connection.sendall(accepted(syntax))
            script(connection)
            connection.settimeout(20)
            while connection.recv(65536):
                pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()
        thread.join(20)


def accepted(syntax: str) -> bytes:
    """Encode an A-ASSOCIATE-AC that takes context 1 (PS3.8 Table 9-17)."""
    context = item(0x21, struct.pack(">Bxxx", 1) + item(0x40, syntax.encode()))
    information = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3")
    body = struct.pack(">H2x16s16s32x", 1, b"ARCHIVE".ljust(16), b"TEST".ljust(16))
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + context + item(0x50, information)
    return pdu(0x02, body)
