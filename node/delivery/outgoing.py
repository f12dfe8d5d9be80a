"""What goes out: a Part 10 file, or the relabelled copy of one that is written to disk only if need be."""

import mmap
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

from pydicom.errors import InvalidDicomError
from pynetdicom.dsutils import split_dataset

from db.records import DeliveryWork
from node.delivery.transport import RefusedError
from node.relabelling import tags
from node.relabelling.anatomy import text
from node.relabelling.encoded import Buffer, EncodedError, Syntax
from node.relabelling.part10 import PREFIX_BYTES, meta_end
from node.relabelling.splice import index


@dataclass(frozen=True, slots=True)
class Encoded:
    """A data set in pieces, and what the meta information of its file says of it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    pieces: Sequence[Buffer]


class Outgoing:
    """An instance as it goes out: `source`, or a copy of it in pieces, the first one its meta information.

    The copy becomes the file `place` when somebody asks for a file; leaving the block removes it.
    """

    def __init__(self, source: Path, copy: Sequence[Buffer] | None = None, place: Path | None = None) -> None:
        self._source = source
        self._copy = copy
        self._place = place
        self._encoded: Encoded | None = None

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the copy's file, if there is one."""
        if self._place is not None:
            self._place.unlink(missing_ok=True)

    def file(self) -> Path:
        """Return it as a file; raises OSError where it cannot be written."""
        if self._copy is None or self._place is None:
            return self._source
        if not self._place.exists():
            with self._place.open("wb") as file:
                file.writelines(self._copy)
        return self._place

    def encoded(self) -> Encoded:
        """Return the data set; raises OSError without a file, RefusedError where it is none of DICOM."""
        if self._encoded is None:
            self._encoded = self._read()
        return self._encoded

    def _read(self) -> Encoded:
        try:
            if self._copy is not None:
                return _described(bytes(self._copy[0]), self._copy[1:])
            return _mapped(self._source)
        except (EncodedError, InvalidDicomError, ValueError, KeyError, AttributeError) as error:
            raise RefusedError(f"it cannot be read: {error}") from error


class Ahead:
    """Makes the next instance ready while the peer still takes the one before."""

    def __init__(self, work: Sequence[DeliveryWork], make: Callable[[DeliveryWork], Outgoing]) -> None:
        """`make` may raise OSError."""
        self._following = {one.delivery_id: other for one, other in pairwise(work)}
        self._make = make
        self._ready: tuple[DeliveryWork, Outgoing] | None = None

    def take(self, work: DeliveryWork) -> Outgoing:
        """Return an instance, made ready or not; raises what `make` does."""
        ready, self._ready = self._ready, None
        return ready[1] if ready is not None and ready[0] is work else self._make(work)

    def make_next(self, work: DeliveryWork) -> None:
        """Make ready what follows an instance; what cannot be made is found out when it is taken."""
        following = self._following.get(work.delivery_id)
        if following is not None:
            with suppress(OSError, RefusedError):
                self._ready = following, self._make(following)
                self._ready[1].encoded()


def _mapped(path: Path) -> Encoded:
    with path.open("rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        end = meta_end(path)
        return _described(bytes(whole[:end]), (whole[end:],))
    except EncodedError:  # not written by the node, and not as the standard has it
        meta, end = split_dataset(path)
        sop_class, instance = str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID)
        return Encoded(sop_class, instance, str(meta.TransferSyntaxUID), (whole[end:],))


def _described(head: bytes, pieces: Sequence[Buffer]) -> Encoded:
    data = head[PREFIX_BYTES:]
    found = index(data, Syntax(explicit=True, little=True))
    sop_class, instance = text(data, found, tags.MEDIA_CLASS), text(data, found, tags.MEDIA_INSTANCE)
    syntax = text(data, found, tags.TRANSFER_SYNTAX)
    if not (sop_class and instance and syntax):
        raise EncodedError("its meta information does not say what it is")
    return Encoded(sop_class, instance, syntax, pieces)
