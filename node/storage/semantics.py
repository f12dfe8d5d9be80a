"""Whether a file system does what the spool relies on: above all one that several machines share."""

import errno
import fcntl
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from node.storage.folders import fsync_folder

_CONTENT: Final = b"bodytag"


def lacking(folder: Path) -> list[str]:
    """Try everything in a folder of its own and return what does not work, a sentence each."""
    place = folder / f"trial-{uuid.uuid4().hex}"
    place.mkdir()
    try:
        return [told for trial, told in _TRIALS if not _works(trial, place)]
    finally:
        for path in place.iterdir():
            path.unlink()
        place.rmdir()


def _works(trial: Callable[[Path], bool], place: Path) -> bool:
    try:
        return trial(place)
    except OSError:
        return False


def _written(path: Path) -> Path:
    with path.open("xb") as file:
        file.write(_CONTENT)
        file.flush()
        os.fsync(file.fileno())
    return path


def _links(place: Path) -> bool:
    """A second name for a file, which is refused where the name is taken (POSIX link)."""
    first, other, name = _written(place / "one"), _written(place / "other"), place / "name"
    os.link(first, name)
    try:
        os.link(other, name)
    except FileExistsError:
        return name.samefile(first) and first.stat().st_nlink == 2
    return False


def _renames(place: Path) -> bool:
    """A file takes another's name at once (POSIX rename)."""
    target = _written(place / "target")
    _written(place / "source").rename(target)
    return target.read_bytes() == _CONTENT and not (place / "source").exists()


def _syncs(place: Path) -> bool:
    """A folder can be fsynced, so that a name survives a power cut."""
    fsync_folder(place)
    return True


def _locks(place: Path) -> bool:
    """Shared locks go together, an exclusive one with none (flock)."""
    path = _written(place / "lock")
    with path.open("r+b") as one, path.open("r+b") as other, path.open("r+b") as third:
        fcntl.flock(one, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        try:
            fcntl.flock(third, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
    return False


def _stays(place: Path) -> bool:
    """What is open can be read after its name is gone."""
    path = _written(place / "gone")
    with path.open("rb") as file:
        path.unlink()
        return file.read() == _CONTENT


_TRIALS: Final = (
    (_links, "link: a file gets no second name, or one that is taken"),
    (_renames, "rename: a file does not take another's name"),
    (_syncs, "fsync: a folder cannot be synced, so a power cut may lose what was acknowledged"),
    (_locks, "flock: locks do not hold, so two nodes may take the same spool"),
    (_stays, "unlink: what is open cannot be read once its name is gone"),
)
