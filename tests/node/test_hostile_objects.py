"""Tests of peers whose associations are proper and whose objects are not."""

import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import wait_until
from tests.node.hostile import (
    CT_IMAGE,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    MIB,
    Target,
    associated,
    association_threads,
    data,
    even,
    listening,
    measured,
    received_pdu,
    request,
    rss_bytes,
    store_command,
)
from tests.node.test_nesting import EXPLICIT as EXPLICIT_SYNTAX
from tests.node.test_nesting import nested

pytestmark = pytest.mark.alone

CANNOT_UNDERSTAND = 0xC000
INSTANCE = "1.2.826.0.1.3680043.10.1"
SYNTAXES = ((CT_IMAGE, EXPLICIT), (CT_IMAGE, IMPLICIT), (CT_IMAGE, DEFLATED))


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    """Encode an element with explicit VR and a length of 16 bits."""
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def encoded(more: bytes = b"") -> bytes:
    """Encode a data set with its four UIDs, in explicit VR little endian."""
    return (
        element(0x0008, 0x0016, b"UI", even(CT_IMAGE))
        + element(0x0008, 0x0018, b"UI", even(INSTANCE))
        + element(0x0020, 0x000D, b"UI", even("1.2.3"))
        + element(0x0020, 0x000E, b"UI", even("1.2.3.4"))
        + more
    )


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One receiver for all tests that change nothing about it."""
    with listening(tmp_path_factory.mktemp("node"), association_timeout_s=30) as listener:
        yield listener


def status_of(port: int, data_set: bytes, context: int = 1, instance: str = INSTANCE) -> int:
    """Store one data set by raw PDUs, in pieces as long as a PDU may be; return the status."""
    with associated(port, request(SYNTAXES)) as connection:
        connection.settimeout(120)
        connection.sendall(data(store_command(instance), 3, context))
        pieces = [data_set[start : start + 100_000] for start in range(0, len(data_set), 100_000)]
        for piece in pieces[:-1]:
            connection.sendall(data(piece, 0, context))
        connection.sendall(data(pieces[-1], 2, context))
        answer = received_pdu(connection)
    assert answer is not None
    at = answer[1].index(struct.pack("<HHL", 0, 0x0900, 2)) + 8
    return int(struct.unpack_from("<H", answer[1], at)[0])


def test_a_proper_object_is_stored(tmp_path: Path) -> None:
    """What the other tests spoil is taken as it is."""
    with listening(tmp_path) as node:
        assert status_of(node.port, encoded()) == 0
        assert node.stored() == [f"1.2.3/1.2.3.4/{INSTANCE}.dcm"]


BAD_UIDS = {
    "climbing": "../../../../tmp/evil",
    "absolute": "/etc/cron.d/evil",
    "a backslash": "..\\..\\evil",
    "a null byte": "1.2\0/../evil",
    "a dot": ".",
    "two dots": "..",
    "empty parts": "1..2",
    "letters": "1.2.x",
    "a newline": "1.2\n3",
    "too long": "1." + "2" * 63,
    "another alphabet": "1.2.\u0663".encode().decode("latin-1"),
}


@pytest.mark.parametrize("bad", BAD_UIDS.values(), ids=BAD_UIDS.keys())
@pytest.mark.parametrize("place", ["instance", "study", "series"])
def test_uids_that_are_none_name_no_file(target: Target, place: str, bad: str) -> None:
    """Such an instance is refused, wherever the UID stands; no file is made, in the spool or out of it."""
    value = bad.encode("latin-1")
    good = {"instance": INSTANCE, "study": "1.2.3", "series": "1.2.3.4"}
    tags = {"instance": (0x0008, 0x0018), "study": (0x0020, 0x000D), "series": (0x0020, 0x000E)}
    spoiled = element(*tags[place], b"UI", value + b"\0" * (len(value) % 2))
    before = _files(target)
    proper = element(*tags[place], b"UI", even(good[place]))
    assert status_of(target.port, encoded().replace(proper, spoiled)) == CANNOT_UNDERSTAND
    assert _files(target) == before


def _files(target: Target) -> list[Path]:
    """List what lies about, but for the audit trail, which tells of the refusals."""
    folder = target.audit.parent
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != target.audit)


@pytest.mark.parametrize("undefined", [False, True], ids=["defined", "undefined"])
def test_a_thousand_nested_sequences_are_refused_at_once(target: Target, undefined: bool) -> None:
    """Nothing walks down into them."""
    data_set = encoded(nested(1000, EXPLICIT_SYNTAX, undefined))
    started = time.monotonic()
    assert status_of(target.port, data_set) == CANNOT_UNDERSTAND
    assert measured("1000 nested sequences, from connecting to refusal", time.monotonic() - started, "s") < 5


LENGTHS = {
    "a value": element(0x7FE0, 0x0010, b"US", b"")[:-2] + b"\xff\x7f",
    "pixels": struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 1 << 20) + b"\0" * 100,
    "four GiB of pixels": struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 0xFFFFFFFE) + b"\0" * 100,
    "a sequence": struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 5000) + b"\0" * 8,
    "fragments without end": struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF),
    "a fragment": struct.pack("<HH2sHLHHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 9000),
    "half a header": b"\xe0\x7f\x10",
}


@pytest.mark.parametrize("spoiled", LENGTHS.values(), ids=LENGTHS.keys())
def test_lengths_beyond_the_end_are_refused(target: Target, spoiled: bytes) -> None:
    """What declares more than there is was cut off somewhere, and is not acknowledged."""
    before = target.stored()
    assert status_of(target.port, encoded(spoiled)) == CANNOT_UNDERSTAND
    assert target.stored() == before


def test_a_deflate_bomb_inflates_no_further_than_the_cap(tmp_path: Path) -> None:
    """Half a MB that inflates to 512 MiB: several at once take no more memory than what was sent."""
    cap = 32 * MIB
    machine = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    head = encoded(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 512 * MIB))
    bomb = machine.compress(head) + b"".join(machine.compress(b"\0" * MIB) for _ in range(512))
    bomb += machine.flush()
    bomb += b"\0" * (len(bomb) % 2)
    measured("deflate bomb, size as sent", len(bomb) / MIB, "MiB")
    with listening(tmp_path, maximum_inflated_bytes=cap) as node:
        assert status_of(node.port, bomb, 5) == CANNOT_UNDERSTAND  # and all that is loaded once is loaded
        before, peak, ended = rss_bytes(), [0], threading.Event()

        def watch() -> None:
            while not ended.wait(0.002):
                peak[0] = max(peak[0], rss_bytes())

        watcher = threading.Thread(target=watch)
        watcher.start()
        statuses: list[int] = []
        senders = [
            threading.Thread(target=lambda: statuses.append(status_of(node.port, bomb, 5))) for _ in range(4)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        ended.set()
        watcher.join()
        assert statuses == [CANNOT_UNDERSTAND] * 4
        grown = measured("RSS peak, 4 deflate bombs, cap 32 MiB", (peak[0] - before) / MIB, "MiB")
        assert grown * MIB < cap  # not even what one of them may come to
        wait_until(lambda: not association_threads(), "the associations are gone")
        assert not node.stored()
