"""What hostile peers send: sequences of PDUs, and HTTP requests, half right and half damaged, from a seed."""

import random
import struct
from collections.abc import Callable, Sequence
from typing import Final

from pydicom import Dataset
from pynetdicom.dsutils import encode

from tests.builders import Recipe, dataset
from tests.fuzz.mutations import damaged, pieces
from tests.node.hostile import (
    CT_IMAGE,
    ECHO,
    EXPLICIT,
    IMPLICIT,
    VERIFICATION,
    command,
    data,
    even,
    pdu,
    store_command,
)
from tests.node.hostile import request as association_request

TOKEN: Final = "a-token-for-the-fuzzer"
COMMITMENT: Final = "1.2.840.10008.1.20.1"
_CONTEXTS: Final = ((VERIFICATION, IMPLICIT), (CT_IMAGE, EXPLICIT), (COMMITMENT, EXPLICIT))
_ECHO, _STORE, _COMMIT = 1, 3, 5


def _object(index: int) -> tuple[str, bytes]:
    recipe = Recipe(n=8, seed="fuzz", rows=16, columns=16)
    built = dataset(recipe, index)
    del built.file_meta
    return recipe.instance_uid(index), bytes(encode(built, False, True) or b"")


OBJECTS: Final = [_object(index) for index in range(8)]


def _request_for_commitment() -> bytes:
    asked = Dataset()
    asked.TransactionUID = "1.2.3.4"
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT_IMAGE, OBJECTS[0][0]
    asked.ReferencedSOPSequence = [item]
    return bytes(encode(asked, False, True) or b"")


COMMITMENT_REQUEST: Final = _request_for_commitment()


def dicom(chance: random.Random) -> Sequence[bytes]:
    """Return what one peer sends to the DICOM port, piece by piece."""
    opening = association_request(_CONTEXTS)
    kind = chance.randrange(10)
    if kind == 0:
        return [chance.randbytes(chance.choice((1, 6, 100, 5000)))]
    if kind == 1:
        return pieces(damaged(opening, chance), chance)
    messages = b"".join(chance.choice(_MESSAGES)(chance) for _ in range(chance.randint(1, 6)))
    if kind < 5:
        messages = damaged(messages, chance)
    return [opening, *pieces(messages, chance)]


def http(chance: random.Random) -> Sequence[bytes]:
    """Return what one client sends to the web server, piece by piece."""
    files = [b"\0" * 128 + b"DICM" + _meta(uid) + content for uid, content in chance.choices(OBJECTS, k=2)]
    if chance.random() < 0.5:
        files = [damaged(each, chance) for each in files]
    head = b"\r\n--cut\r\nContent-Type: application/dicom\r\n\r\n"
    body = b"".join(head + each for each in files) + b"\r\n--cut--\r\n"
    if chance.random() < 0.5:
        body = damaged(body, chance)
    fields = [
        b"POST /dicom-web/studies HTTP/1.1",
        b"Host: node",
        b"Authorization: Bearer " + TOKEN.encode(),
        b'Content-Type: multipart/related; type="application/dicom"; boundary=cut',
        b"Content-Length: %d" % (len(body) + chance.choice((0, 0, 0, 5, -5))),
    ]
    if chance.random() < 0.3:
        fields[-1] = b"Transfer-Encoding: chunked"
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    opening = b"\r\n".join(fields) + b"\r\n\r\n"
    if chance.random() < 0.2:
        opening = damaged(opening, chance)
    return [opening, *pieces(body, chance)]


def _meta(sop_instance_uid: str) -> bytes:
    uids = ((0x0002, CT_IMAGE), (0x0003, sop_instance_uid), (0x0010, EXPLICIT))
    body = b"".join(struct.pack("<HH2sH", 2, tag, b"UI", len(even(uid))) + even(uid) for tag, uid in uids)
    return struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(body)) + body


def _echo(_: random.Random) -> bytes:
    return data(ECHO, 3, _ECHO)


def _store(chance: random.Random) -> bytes:
    uid, content = chance.choice(OBJECTS)
    if chance.random() < 0.5:
        content = damaged(content, chance)
    parts = pieces(content, chance, 4)
    ends = [*[0] * (len(parts) - 1), 2]
    return data(store_command(uid), 3, _STORE) + b"".join(
        data(part, end, _STORE) for part, end in zip(parts, ends, strict=True)
    )


def _commit(chance: random.Random) -> bytes:
    content = COMMITMENT_REQUEST if chance.random() < 0.3 else damaged(COMMITMENT_REQUEST, chance)
    named = {"e0003": even(COMMITMENT), "e1001": even("1.2.840.10008.1.20.1.1"), "e1008": b"\1\0"}
    return data(command(0x0130, has_data_set=True, **named), 3, _COMMIT) + data(content, 2, _COMMIT)


def _foreign(chance: random.Random) -> bytes:
    """A message that has no business here: responses, other services, another context, data first."""
    number = chance.choice((0x8001, 0x8030, 0x0020, 0x0021, 0x0FFF, 0x0100, 0x0140, 0x0150, 0x0000, 0xFFFF))
    return data(command(number), chance.choice((0, 1, 2, 3)), chance.choice((0, 1, 2, 3, 5, 7, 255)))


def _control(chance: random.Random) -> bytes:
    """A PDU of any kind, with a length that is right or not."""
    body = chance.randbytes(chance.choice((0, 4, 4, 100)))
    announced = chance.choice((None, None, 0, 3, 0x7FFFFFFF, 0xFFFFFFFF))
    return pdu(chance.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 255)), body, announced)


_MESSAGES: Final[tuple[Callable[[random.Random], bytes], ...]] = (
    _echo,
    _store,
    _store,
    _commit,
    _foreign,
    _control,
)
