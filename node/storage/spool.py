"""The spool: every accepted instance as one fsynced Part 10 file, never overwritten, named by its UID.

Layout: `<folder>/instances/<study uid>/<series uid>/<instance uid>.dcm`; a different object with the
same UID lies beside it as `<instance uid>.<digest>.dcm`. `incoming` holds files being written, `outgoing`
relabelled copies being sent, `reports` the node's own objects, `requests` what the command line asks of the
running node, `pictures/<study uid>/<series uid>.jpg` what the page shows of a series.
"""

import fcntl
import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from node.board import Board
from node.relabelling.part10 import meta_end
from node.status import CANNOT_UNDERSTAND, Rejection
from node.storage.draft import Draft, cannot_write
from node.storage.folders import SeriesFolders, fsync_folder
from node.storage.room import Room

UID_PATTERN: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
"""Digits and single dots: safe as a file name. Leading zeros, forbidden by PS3.5 9.1, occur and are kept."""

REPORTS: Final = "reports"
PICTURES: Final = "pictures"

_ATTENDED: Final = "lock.receivers"
_ORPHANS_S: Final = 15.0
"""For how long a process of a node that was killed may take to end; an fsync under way holds it up."""


class SpoolError(RuntimeError):
    """The spool cannot be used; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """What the spool groups by."""

    study_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, slots=True)
class Stored:
    """One instance that lies safely in the spool; `path` is relative to the instances folder."""

    key: SeriesKey
    sop_instance_uid: str
    path: str
    sha256: str
    size_bytes: int
    duplicate: bool


def checked_uid(value: str, keyword: str) -> str:
    """Return the UID if it may serve as a file name; raise Rejection 0xC000 otherwise."""
    if len(value) > 64 or not UID_PATTERN.fullmatch(value):
        raise Rejection(CANNOT_UNDERSTAND, f"{keyword} is not a valid UID")
    return value


class Spool:
    """The folder in which instances are kept; safe for any number of threads.

    Several processes may share it, each under a name of its own, which keeps apart what is under way.
    """

    def __init__(
        self,
        folder: Path,
        minimum_free_bytes: int,
        quota_bytes: int | None = None,
        process: str = "",
        board: Board | None = None,
    ) -> None:
        self.folder = folder
        self._process = process
        self.instances = folder / "instances"
        self.requests = folder / "requests"
        self._incoming = folder / "incoming" / process
        self._drafts = str(self._incoming)
        self.room = Room(folder, minimum_free_bytes, quota_bytes, board)
        self._folders = SeriesFolders(self.instances)
        for path in (self.instances, self.requests, self._incoming, folder / REPORTS):
            path.mkdir(parents=True, exist_ok=True)

    def lock(self) -> IO[str]:
        """Take the spool for this process, or for all that have a name; raise SpoolError if it is taken."""
        handle = (self.folder / "lock").open("w")
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if self._process else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if not self._process:
                self._wait_for_orphans()
        except OSError as error:
            handle.close()
            raise SpoolError(f"another node is running on the spool {self.folder}") from error
        return handle

    def attend(self) -> IO[str]:
        """Say that this process stores here for the node that has the lock, until the handle is closed.

        It ends with its node, but not at the same moment: what it still stores must be there before the next
        node looks for what it has to take up.
        """
        handle = (self.folder / _ATTENDED).open("w")
        fcntl.flock(handle, fcntl.LOCK_SH)
        return handle

    def _wait_for_orphans(self) -> None:
        deadline = time.monotonic() + _ORPHANS_S
        with (self.folder / _ATTENDED).open("w") as handle:
            while True:
                try:
                    return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise
                time.sleep(0.02)

    def clear_unfinished(self) -> int:
        """Remove what a process that died left under way, in or out; return how many files."""
        return self.clear_unfinished_of(self._process)

    def clear_unfinished_of(self, process: str) -> int:
        """Do so for another process that is known to be dead, and for those that received for it."""
        incoming = self.folder / "incoming" / process
        outgoing = f"outgoing/*/{process}/*.dcm" if process else "outgoing/*/*.dcm"
        left = [*(path for path in incoming.rglob("*") if path.is_file()), *self.folder.glob(outgoing)]
        for path in left:
            path.unlink(missing_ok=True)
        emptied = [*incoming.glob("*/"), incoming, *self.folder.glob(f"outgoing/*/{process}")]
        for folder in emptied if process else ():
            with suppress(OSError):
                folder.rmdir()
        return len(left)

    def receiver(self, number: int) -> str:
        """Return the name of a process that receives for this one, and under which it may share the spool."""
        return f"{self._process}/receiver-{number}".lstrip("/")

    def draft(self, meta: bytes) -> Draft:
        """Begin an instance with what stands before its data set (`Meta.encode`)."""
        return Draft(f"{self._drafts}/{uuid.uuid4().hex}", self.room, meta)

    def store(self, key: SeriesKey, uid: str, meta: bytes, data_set: memoryview) -> Stored:
        """Write one instance and `keep` it."""
        with self.draft(meta) as draft:
            draft.add(data_set)
            return self.keep(draft, data_set, key, uid)

    def keep(self, draft: Draft, data_set: memoryview, key: SeriesKey, uid: str) -> Stored:
        """Make a draft, to which this data set was added, survive a power cut; then give it its final name.

        Raises Rejection 0xA700 when the disk is under its floor, the quota is reached or a write failed.
        """
        folder = f"{key.study_instance_uid}/{key.series_instance_uid}"
        digest = draft.finished(data_set)
        try:
            name, duplicate = self._folders.naming(
                folder,
                lambda handle: _give_name(draft.path, self.instances / folder, handle, uid, digest),
            )
        except OSError as error:
            raise cannot_write(error) from error
        if not duplicate:
            draft.kept()
        return Stored(key, uid, f"{folder}/{name}", digest, draft.data_bytes, duplicate)

    def remove(self, paths: Iterable[str]) -> None:
        """Unlink files that are no longer needed, and the folders that become empty; some may be gone."""
        for relative in paths:
            path = self.path(relative)
            with suppress(FileNotFoundError):
                size_bytes = path.stat().st_size
                path.unlink()
                self.room.changed(-size_bytes)
            if path.is_relative_to(self.instances):
                self._folders.remove_empty(path.parent.relative_to(self.instances).as_posix())

    def series(self) -> Iterator[tuple[SeriesKey, tuple[str, ...]]]:
        """Yield every series in the spool with the relative paths of its files, in name order."""
        for study in _folders(self.instances):
            for folder in _folders(study):
                names = tuple(sorted(entry.name for entry in os.scandir(folder)))
                prefix = f"{study.name}/{folder.name}"
                yield SeriesKey(study.name, folder.name), tuple(f"{prefix}/{name}" for name in names)

    def outgoing(self, destination: str) -> Path:
        """Return the folder for the copies that are under way to a destination."""
        folder = self.folder / "outgoing" / destination / self._process
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def keep_report(self, uid: str, content: bytes) -> str:
        """Write a report of the node's own so that it survives a power cut; return its relative path.

        The same report again replaces the first. Raises OSError.
        """
        incoming = self._incoming / uuid.uuid4().hex
        try:
            with incoming.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            incoming.replace(self.folder / REPORTS / f"{uid}.dcm")
        finally:
            incoming.unlink(missing_ok=True)
        fsync_folder(self.folder / REPORTS)
        return f"{REPORTS}/{uid}.dcm"

    def remove_pictures(self, keys: Iterable[SeriesKey]) -> None:
        """Unlink the pictures of series; some may have none."""
        for key in keys:
            path = picture_path(self.folder, key)
            with suppress(OSError):
                size_bytes = path.stat().st_size
                path.unlink()
                self.room.changed(-size_bytes)
                path.parent.rmdir()

    def path(self, relative: str) -> Path:
        """Return the absolute path of a stored instance, or of a report."""
        return (self.folder if relative.startswith(f"{REPORTS}/") else self.instances) / relative


def picture_path(folder: Path, key: SeriesKey) -> Path:
    """Return where the picture of a series lies below a spool's folder; raises Rejection for an odd UID."""
    study = checked_uid(key.study_instance_uid, "Study Instance UID")
    series = checked_uid(key.series_instance_uid, "Series Instance UID")
    return folder / PICTURES / study / f"{series}.jpg"


def data_set_digest(path: Path, offset: int) -> str:
    """Return the SHA-256 of a stored file from `offset` (the end of its meta information) on."""
    with path.open("rb") as file:
        file.seek(offset)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folders(folder: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir())


def _give_name(incoming: str, folder: Path, handle: int, uid: str, digest: str) -> tuple[str, bool]:
    """Link the file under the first name that is free or holds the same data set; never overwrite.

    `handle` is that of the folder. Linking fails when the name exists, so of two associations that store one
    UID at once one wins.
    """
    for name in (f"{uid}.dcm", f"{uid}.{digest[:16]}.dcm"):
        duplicate = False
        try:
            os.link(incoming, name, dst_dir_fd=handle)
        except FileExistsError:
            path = folder / name
            if not _same_data_set(path, digest):
                continue
            # Over NFS a request to link that is repeated finds what it has done itself.
            duplicate = not path.samefile(incoming)
        # For a duplicate, too: whoever stored it may not have come to this yet.
        os.fsync(handle)
        return name, duplicate
    raise OSError(0, f"two different objects share the name {uid}")


def _same_data_set(path: Path, digest: str) -> bool:
    return data_set_digest(path, meta_end(path)) == digest
