"""A folder as a destination: each instance durably under its UIDs, never in the place of another one."""

import os
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from node.delivery.outgoing import Outgoing
from node.delivery.transport import Answer, Context, Identity, PeerError, RefusedError, identity, idle
from node.status import SUCCESS
from node.storage.spool import UID_PATTERN

_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FolderOut:
    """The way into one folder, `<study>/<series>/<instance>.dcm`; its own connection, too."""

    folder: Path

    @property
    def where(self) -> str:
        """The folder's path."""
        return str(self.folder)

    @contextmanager
    def connect(self, contexts: Collection[Context]) -> Iterator["FolderOut"]:
        """Look whether the folder is there; it is not made, for a share may not be mounted."""
        del contexts
        if not self.folder.is_dir():
            raise PeerError(f"the folder {self.folder} is not there")
        yield self

    def accepts(self, context: Context) -> bool:
        """Take whatever comes."""
        del context
        return True

    def store(self, what: Outgoing, meanwhile: Callable[[], None] = idle) -> Answer:  # noqa: ARG002
        """Copy one file so that it survives a power cut; the same file again is left as it is."""
        path = what.file()
        place = self._place(identity(path))
        unfinished = place.with_name(f".{uuid.uuid4().hex}.part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("rb") as source, unfinished.open("xb") as copy:
                    _copy(source, copy)
                return Answer(SUCCESS, _named(unfinished, place))
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise PeerError(f"{self.folder} cannot be written: {error.strerror}") from error

    def echo(self) -> str:
        """Tell whether files can be made in the folder."""
        with self.connect(()):
            return "success" if os.access(self.folder, os.W_OK | os.X_OK) else "the folder is not writable"

    def find(self, sent: Collection[Identity]) -> Mapping[str, str]:
        """Read back which instances are there."""
        found = {}
        with self.connect(()):
            for each in sent:
                place = self._place(each)
                if place.is_file():
                    found[each.sop_instance_uid] = identity(place).body_part
        return found

    def _place(self, one: Identity) -> Path:
        """Name the file of an instance; one without study or series is one of its own, as in the spool."""
        own = one.sop_instance_uid
        uids = (one.study_instance_uid or own, one.series_instance_uid or own, own)
        if not all(len(each) <= 64 and UID_PATTERN.fullmatch(each) for each in uids):
            raise RefusedError("a UID is not valid, and cannot be the name of a file", final=True)
        return self.folder / uids[0] / uids[1] / f"{own}.dcm"


def _copy(source: IO[bytes], copy: IO[bytes]) -> None:
    while piece := source.read(_CHUNK_BYTES):
        copy.write(piece)
    copy.flush()
    os.fsync(copy.fileno())


def _named(unfinished: Path, place: Path) -> str:
    """Give a file its name, unless that is taken; return what there is to say of it."""
    said = ""
    try:
        os.link(unfinished, place)
    except FileExistsError:
        if not _same(unfinished, place):
            raise RefusedError(f"another file is there already: {place.name}", final=True) from None
        said = "was there already"
    except OSError:  # no hard links on this share; of two that come at once the node sends only one
        if place.exists():
            if not _same(unfinished, place):
                raise RefusedError(f"another file is there already: {place.name}", final=True) from None
            return "was there already"
        unfinished.rename(place)
    _make_durable(place.parent)
    return said


def _same(one: Path, other: Path) -> bool:
    """Compare two files by their bytes."""
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            a, b = first.read(_CHUNK_BYTES), second.read(_CHUNK_BYTES)
            if a != b:
                return False
            if not a:
                return True


def _make_durable(series: Path) -> None:
    """Make the names of file, series and study survive a power cut."""
    for folder in (series, series.parent, series.parent.parent):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
