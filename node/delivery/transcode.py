"""Transcoding without loss, for peers that refuse an instance as it came: to native pixels, and proved.

Pixels are decoded only in a process of its own, under a limit of memory, which is replaced when it hangs or
dies. Nothing is sent that does not hold, element by element and pixel by pixel, what was received.
"""

import logging
import multiprocessing
import resource
import threading
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom import dcmread, dcmwrite, uid
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

NATIVE: Final = (str(uid.ExplicitVRLittleEndian), str(uid.ImplicitVRLittleEndian))
"""What is offered instead, in this order; the second is every peer's default (PS3.5 10.1)."""

_REVERSIBLE: Final = frozenset(
    {
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.RLELossless,
        uid.JPEGLossless,
        uid.JPEGLosslessSV1,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
        uid.HTJ2KLossless,
        uid.HTJ2KLosslessRPCL,
    }
)
"""Transfer syntaxes that are without loss by their definition. The others may hold losses whose decoding
differs between decoders: what one makes of them is not what another would."""

_MAXIMUM_PIXEL_BYTES: Final = 1 << 30
_MEMORY_BYTES: Final = 8 << 30
_TIMEOUT_S: Final = 300.0
_START_TIMEOUT_S: Final = 120.0

_ENCODING: Final = frozenset(
    {0x00280004, 0x00280006, 0x7FE00001, 0x7FE00002, 0x7FE00010}  # colour space, planes, offsets, pixels
)
_WORD_BYTES: Final = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


class TranscodeError(Exception):
    """An instance cannot be transcoded without loss; the message says why."""


class Transcoder:
    """Has files transcoded by a process, started when first needed; for any number of threads."""

    def __init__(self) -> None:
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def convert(self, source: Path, target: Path, syntax: str) -> None:
        """Write `source` in another transfer syntax to `target`; raises TranscodeError."""
        with self._lock:
            try:
                connection = self._started()
                connection.send((source, target, syntax))
                said = self._heard(connection, _TIMEOUT_S)
            except (EOFError, OSError) as error:
                self._end()
                raise TranscodeError("the process that transcodes ended") from error
        if said:
            raise TranscodeError(said)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _started(self) -> Connection:
        if self._process is not None and self._connection is not None and self._process.is_alive():
            return self._connection
        self._end()
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=main, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._heard(self._connection, _START_TIMEOUT_S)
        return self._connection

    def _heard(self, connection: Connection, patience_s: float) -> str:
        if not connection.poll(patience_s):
            self._end()
            raise TranscodeError(f"transcoding took longer than {patience_s:g} s")
        return str(connection.recv())

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = self._connection = None


def main(connection: Connection) -> None:
    """Transcode what arrives over `connection` until it closes; answer "" or what is wrong."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    logging.disable()  # pydicom's warnings quote values
    warnings.simplefilter("ignore")
    connection.send("")
    while True:
        try:
            source, target, syntax = connection.recv()
        except (EOFError, OSError):
            return
        try:
            with disable_value_validation():  # values that conform to nothing stay as they are
                transcode(source, target, syntax)
            said = ""
        except TranscodeError as error:
            said = str(error)
        # Whatever a decoder or a writer raises: the files of peers are not to be trusted.
        except Exception as error:  # noqa: BLE001
            said = f"it cannot be transcoded: {type(error).__name__}"
        connection.send(said)


def transcode(source: Path, target: Path, syntax: str) -> None:
    """Write `source` to `target` in a native transfer syntax, and prove it; raises TranscodeError.

    Runs in the process of its own; whatever pydicom or a decoder raises comes through.
    """
    data_set = dcmread(source)
    came = data_set.file_meta.TransferSyntaxUID
    if came not in _REVERSIBLE:
        raise TranscodeError(f"{came.name} may hold losses and is not transcoded")
    if "DigitalSignaturesSequence" in data_set:
        raise TranscodeError("it is digitally signed and is not transcoded")
    if _pixel_bytes(data_set) > _MAXIMUM_PIXEL_BYTES:
        raise TranscodeError("its pixel data are too large to be transcoded")
    if came.is_encapsulated:
        data_set.decompress(as_rgb=False, generate_instance_uid=False)
    elif came == uid.ExplicitVRBigEndian:
        _swap(data_set)
    data_set.file_meta.TransferSyntaxUID = uid.UID(syntax)
    implicit = syntax == uid.ImplicitVRLittleEndian
    dcmwrite(target, data_set, implicit_vr=implicit, little_endian=True, enforce_file_format=True)
    _prove(source, target)


def _pixel_bytes(data_set: Dataset) -> int:
    """Return how many bytes the pixel data take when they are decoded."""
    size = 1
    for keyword in ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames"):
        size *= int(data_set.get(keyword) or 1)
    return size * int(data_set.get("BitsAllocated") or 8) // 8


def _swap(data_set: Dataset) -> None:
    """Exchange the byte order of values that pydicom keeps as bytes (PS3.5 7.3)."""
    for element in data_set.iterall():
        if element.VR == "UN" and element.value:
            raise TranscodeError("it is big endian and holds elements whose byte order is not known")
        if element.VR in _WORD_BYTES and element.value:
            words = np.frombuffer(element.value, f">u{_WORD_BYTES[element.VR]}")
            element.value = words.astype(words.dtype.newbyteorder("<")).tobytes()


def _prove(source: Path, target: Path) -> None:
    """Read both again and compare them; raises TranscodeError where they differ."""
    before, after = dcmread(source), dcmread(target)
    big_endian = before.file_meta.TransferSyntaxUID == uid.ExplicitVRBigEndian
    if list(_rest(before, big_endian)) != list(_rest(after, big_endian=False)):
        raise TranscodeError("an element would change, so it is not transcoded")
    if "PixelData" in before and not np.array_equal(_pixels(before), _pixels(after)):
        raise TranscodeError("pixels would change, so it is not transcoded")


def _pixels(data_set: Dataset) -> Any:
    return pixel_array(data_set, raw=True)


def _rest(data_set: Dataset, big_endian: bool) -> Iterator[tuple[int, Any]]:
    """Yield the elements that must be the same, whatever the encoding; words as numbers."""
    for element in data_set:
        if element.tag in _ENCODING or element.tag.element == 0:
            continue
        if element.VR in _WORD_BYTES and element.value:
            kind = f"{'>' if big_endian else '<'}u{_WORD_BYTES[element.VR]}"
            yield element.tag, np.frombuffer(element.value, kind).tolist()
        elif element.VR == "SQ":
            yield element.tag, [list(_rest(item, big_endian)) for item in element.value]
        else:
            yield element.tag, element.value
