"""Tests of the fast lane: what goes along it ends as it does with the library, and the rest goes there."""

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from node import dimse
from node.intake.lane import Body
from node.intake.scp import StorageScp
from node.relabelling.part10 import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    Meta,
    meta_end,
)
from tests.builders import Recipe, write
from tests.harness import wait_until
from tests.node.hostile import (
    ABORT,
    CT_IMAGE,
    ECHO,
    EXPLICIT,
    IMPLICIT,
    P_DATA,
    VERIFICATION,
    Target,
    associated,
    association_threads,
    data,
    ended_s,
    listening,
    pdu,
    received_pdu,
    request,
    store_command,
)

LAST = 2
COMMAND = 1
RELEASE = pdu(5, b"\0" * 4)
ASKED = request(syntaxes=((CT_IMAGE, EXPLICIT), (CT_IMAGE, EXPLICIT), (VERIFICATION, IMPLICIT)))
PING = data(ECHO, 3, 5)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """A CT image: its SOP Instance UID and its data set, as it travels."""
    [path] = write(tmp_path_factory.mktemp("image"), Recipe(n=1, rows=128, columns=128))
    return str(dcmread(path).SOPInstanceUID), path.read_bytes()[meta_end(path) :]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The instances that went along the fast lane."""
    seen: list[str] = []
    on_plain_store = StorageScp._on_plain_store

    def noted(self, association, asked):  # type: ignore[no-untyped-def]
        seen.append(asked.sop_instance_uid)
        return on_plain_store(self, association, asked)

    monkeypatch.setattr(StorageScp, "_on_plain_store", noted)
    return seen


@pytest.fixture
def target(tmp_path: Path, plain: list[str]) -> Iterator[Target]:
    """A receiver of its own, as the tests count what was stored."""
    assert not plain
    with listening(tmp_path, association_timeout_s=5) as listener:
        yield listener


def value(content: bytes, control: int, context: int = 1) -> bytes:
    """Encode one presentation data value."""
    return struct.pack(">LBB", len(content) + 2, context, control) + content


def cut(content: bytes, size: int) -> list[bytes]:
    """Cut a data set into presentation data values, the last one marked."""
    starts = range(0, len(content), size)
    return [value(content[at : at + size], LAST if at == starts[-1] else 0) for at in starts]


def encodings(uid: str, content: bytes) -> dict[str, tuple[bool, Sequence[bytes]]]:
    """Return ways to send an instance: whether it is the plain one, and the PDUs."""
    command = store_command(uid)
    whole, half = value(command, COMMAND | LAST), len(command) // 2
    broken = value(command[:half], COMMAND) + value(command[half:], COMMAND | LAST)
    pieces = cut(content, 500)
    return {
        "as dcmtk does": (True, [whole, value(content, LAST)]),
        "one PDU": (True, [whole + value(content, LAST)]),
        "many PDUs": (True, [whole, *pieces]),
        "many values in few PDUs": (True, [whole + b"".join(pieces[:7]), b"".join(pieces[7:])]),
        "an empty last value": (True, [whole, value(content, 0), value(b"", LAST)]),
        "the command in two values": (False, [broken, value(content, LAST)]),
        "the command in two PDUs": (False, [broken[: half + 6], broken[half + 6 :], value(content, LAST)]),
    }


WAYS = list(encodings("1.2", b"\0" * 5000))


@pytest.mark.parametrize("way", WAYS)
def test_however_it_is_cut_an_instance_is_stored_and_answered(
    target: Target, plain: list[str], image: tuple[str, bytes], way: str
) -> None:
    """The plain forms go along the lane, others to the library: same bytes stored, same answer."""
    uid, content = image
    is_plain, parts = encodings(uid, content)[way]
    with associated(target.port, ASKED) as connection:
        for part in parts:
            connection.sendall(pdu(P_DATA, part))
        answer = answered(connection)
        connection.sendall(RELEASE)
        assert (received_pdu(connection) or (0,))[0] == 6
    assert answer == expected(uid, 0x0000)
    [stored] = target.stored()
    path = target.spool.path(stored)
    assert path.read_bytes()[meta_end(path) :] == content
    assert plain == ([uid] if is_plain else [])
    wait_until(lambda: len(target.released) == 1, "the release was told")


@pytest.mark.parametrize("way", ["as dcmtk does", "the command in two values"])
def test_a_refusal_is_answered_alike(target: Target, image: tuple[str, bytes], way: str) -> None:
    """A data set that is not what the command says: status and comment, and the association goes on."""
    _, content = image
    with associated(target.port, ASKED) as connection:
        for part in encodings("1.2.3", content)[way][1]:
            connection.sendall(pdu(P_DATA, part))
        answer = answered(connection)
        assert answer == expected("1.2.3", 0xA900, b"SOP Instance UID differs from the command's ")
        connection.sendall(PING)
        assert answered(connection)[dimse.COMMAND_FIELD] == b"\x30\x80"
    assert not target.stored()
    assert not list((target.spool.folder / "incoming").iterdir())


def test_lane_and_library_take_turns(target: Target, plain: list[str], image: tuple[str, bytes]) -> None:
    """C-STORE and C-ECHO, each sent before the one before is answered, are answered in order."""
    uid, content = image
    store = pdu(P_DATA, value(store_command(uid), 3)) + pdu(P_DATA, value(content, LAST))
    with associated(target.port, ASKED) as connection:
        connection.sendall((store + PING) * 10)
        fields = [answered(connection)[dimse.COMMAND_FIELD] for _ in range(20)]
    assert fields == [b"\x01\x80", b"\x30\x80"] * 10
    assert set(plain) == {uid}
    assert len(target.stored()) == 1


@pytest.mark.parametrize(
    ("behind", "why"),
    [
        pytest.param(value(ECHO, 3), "mixed", id="another message in the same PDU"),
        pytest.param(value(b"\0\0", 0, context=3), "mixed", id="another context"),
        pytest.param(value(ECHO, 3, context=3), "out of order", id="a command amid the data set"),
    ],
)
def test_mixed_messages_are_cut(target: Target, image: tuple[str, bytes], behind: bytes, why: str) -> None:
    """What comes within a message and does not belong to it ends the association, and nothing is stored."""
    uid, content = image
    last = LAST if why == "mixed" and behind == value(ECHO, 3) else 0
    with associated(target.port, ASKED) as connection:
        connection.sendall(pdu(P_DATA, value(store_command(uid), 3)))
        connection.sendall(pdu(P_DATA, value(content, last) + behind))
        assert ended_s(connection) < 10
    wait_until(lambda: not association_threads(), "the association is gone")
    assert not target.stored()
    assert any("out of order" in str(each) or "mixed" in str(each) for each in target.alerts())


@pytest.mark.parametrize("end", [pdu(ABORT, b"\0" * 4), RELEASE, b""], ids=["abort", "release", "hang up"])
def test_an_end_amid_an_instance_stores_nothing(target: Target, image: tuple[str, bytes], end: bytes) -> None:
    """What was acknowledged stays; what broke off is not there; no thread is left."""
    uid, content = image
    with associated(target.port, ASKED) as connection:
        connection.sendall(pdu(P_DATA, value(store_command(uid), 3)) + pdu(P_DATA, value(content, LAST)))
        assert answered(connection) == expected(uid, 0x0000)
        connection.sendall(pdu(P_DATA, value(store_command(f"{uid}.1"), 3)))
        connection.sendall(pdu(P_DATA, value(content[:1000], 0)) + end)
        if not end:
            connection.shutdown(socket.SHUT_WR)
        ended_s(connection)
    wait_until(lambda: not association_threads(), "the association is gone")
    assert len(target.stored()) == len(target.arrivals) == 1
    assert not list((target.spool.folder / "incoming").iterdir())


def test_a_disk_that_fills_up_amid_an_instance_is_answered_at_its_end(
    target: Target, image: tuple[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender is heard to the end and told 0xA700; nothing stays, and the association goes on."""
    uid, content = image
    real = os.write

    def full(handle: int, piece: memoryview) -> int:
        if len(piece) > 10_000:  # the image's first, when much of it is still to come
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, piece)

    monkeypatch.setattr(os, "write", full)
    with associated(target.port, ASKED) as connection:
        connection.sendall(pdu(P_DATA, value(store_command(uid), 3)))
        for piece in cut(content, 3000):
            connection.sendall(pdu(P_DATA, piece))
        answer = answered(connection)
        assert answer == expected(uid, 0xA700, b"the spool cannot write: No space left on device ")
        monkeypatch.setattr(os, "write", real)
        connection.sendall(pdu(P_DATA, value(store_command(uid), 3)) + pdu(P_DATA, value(content, LAST)))
        assert answered(connection) == expected(uid, 0x0000)
    assert len(target.stored()) == 1
    assert not list((target.spool.folder / "incoming").iterdir())


def test_a_long_data_set_keeps_no_memory() -> None:
    """Every byte has its place whatever came before, and what was long does not stay in memory."""
    body = Body()
    for length in (10, 3_000_000, 70_000, 0, 5):
        parts = [bytes([number % 251]) * min(65_537, length) for number in range(length // 65_537 + 1)]
        for part in parts:
            with body.place(len(part)) as place:
                place[:] = part
        with body.whole() as whole:
            assert bytes(whole) == b"".join(parts)
        body.clear()
        assert sys.getsizeof(body._bytes) < 9 << 17


def test_the_meta_information_is_what_pydicom_writes() -> None:
    """Byte for byte, for values of even and odd length."""
    for uid, title in (("1.2.3", "CT1"), ("1.2.34", "MODALITY")):
        meta = FileMetaDataset()
        meta.FileMetaInformationVersion = b"\x00\x01"
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(CT_IMAGE), UID(uid)
        meta.TransferSyntaxUID = UID(EXPLICIT)
        meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
        meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
        meta.SourceApplicationEntityTitle = title
        out = DicomBytesIO()
        out.write(b"\0" * 128 + b"DICM")
        write_file_meta_info(out, meta)
        assert Meta(CT_IMAGE, uid, EXPLICIT, title).encode() == out.getvalue()


def answered(connection: socket.socket) -> dict[int, bytes]:
    """Read a response, and return the elements of its command but the group length."""
    got = received_pdu(connection)
    assert got is not None
    assert got[0] == P_DATA
    length, context, control = struct.unpack_from(">LBB", got[1])
    assert (length + 4, control) == (len(got[1]), 3)
    assert context in (1, 5)
    encoded = got[1][6:]
    assert struct.unpack_from("<L", encoded, 8) == (len(encoded) - 12,)
    return {element: each for element, each in dimse.read(encoded).items() if element}


def expected(uid: str, status: int, comment: bytes = b"") -> dict[int, bytes]:
    """Return the elements of a C-STORE response (PS3.7 Table 9.3-2)."""
    elements = {
        0x0002: CT_IMAGE.encode() + b"\0" * (len(CT_IMAGE) % 2),
        dimse.COMMAND_FIELD: b"\x01\x80",
        0x0120: b"\1\0",
        dimse.DATA_SET_TYPE: b"\1\1",
        0x0900: struct.pack("<H", status),
        0x1000: uid.encode() + b"\0" * (len(uid) % 2),
    }
    return elements | ({0x0902: comment} if comment else {})
