"""Processes that decode and prepare images ahead of the network; a worker starts them.

Decoders hold the interpreter's lock, so threads would not help. Each process gets every nth image of a series
and is a few images ahead, no more, so that memory is bounded whatever the series' length. What the network is
to see comes back through a socket; the decoded image, where somebody looks at it, lies in shared memory.
"""

import ctypes
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.classify import model_input
from model.networks import Definition
from model.read import Image, ImageHeader, UndecodableError, read_pixels
from model.standing import stood
from node.confine import confine

AHEAD: Final = 8
"""Images that each process may be ahead of the network."""
WORTHWHILE: Final = 8
"""Shorter series are decoded by the worker itself."""
SLOT_BYTES: Final = 6 << 20
"""Room for one decoded image of 1024 x 1024; larger ones take the socket. Unused pages take no memory."""
MOST: Final = 4
"""Processes of a worker at most, unless node.yaml says otherwise."""

_PROGRAM: Final = "import sys; from node.ahead import main; main(sys.argv[1:])"
_DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG, prctl(2)


class DecoderDied(Exception):  # noqa: N818 - it tells what happened
    """A process that decodes crashed, or failed on an image; the message says how."""


@dataclass(frozen=True)
class Made:
    """What became of an image: the network's input (size, size, channels), or the reason why there is none.

    `image` is the decoded image where it was asked for.
    """

    header: ImageHeader
    given: NDArray[np.float32] | None
    reason: str | None
    image: Image | None


@dataclass(frozen=True)
class _Task:
    """One image: in which slot of the memory its pixels are wanted, None where they are not."""

    header: ImageHeader
    definition: Definition
    slot: int | None


_Answer = tuple[NDArray[np.float32] | None, str | None, Image | tuple[int, int] | None, str | None]
"""Input, reason, the image or its shape where it lies in the slot, and what failed otherwise."""


def default_processes(workers: int) -> int:
    """Return how many processes each of so many workers gets: its share of the cores, none of a single."""
    cores = len(os.sched_getaffinity(0))
    return 0 if cores == 1 else max(1, min(MOST, cores // workers))


class _Process:
    """One process and the ways to it."""

    def __init__(self, maximum_memory_bytes: int | None) -> None:
        ours, theirs = socket.socketpair()
        memory = os.memfd_create("bodytag-ahead")
        os.ftruncate(memory, AHEAD * SLOT_BYTES)
        self._memory = mmap.mmap(memory, AHEAD * SLOT_BYTES)
        arguments = [str(theirs.fileno()), str(memory), str(maximum_memory_bytes or 0)]
        self._popen = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), memory),
        )
        theirs.close()
        os.close(memory)
        self._connection = Connection(ours.detach())
        self._sent = count()

    def send(self, header: ImageHeader, definition: Definition, looked_at: bool) -> int:
        """Have an image made; return the slot for its pixels. Raises DecoderDied."""
        slot = next(self._sent) % AHEAD
        with self._watched():
            self._connection.send(_Task(header, definition, slot if looked_at else None))
        return slot

    def receive(self, header: ImageHeader, slot: int) -> Made:
        """Return what became of the image that was sent first; raises DecoderDied."""
        with self._watched():
            answer: _Answer = self._connection.recv()
        given, reason, image, trouble = answer
        if trouble is not None:
            raise DecoderDied(trouble)
        if isinstance(image, tuple):
            image = _taken(self._memory, slot, image, header)
        return Made(header, given, reason, image)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Say how the process ended where it does not answer any more."""
        try:
            yield
        except (EOFError, OSError) as error:
            code = self._popen.wait()
            how = f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with status {code}"
            raise DecoderDied(f"a process that decodes {how}") from error

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._connection.close()
        self._popen.kill()
        self._popen.wait()
        self._memory.close()


class Decoders:
    """Processes that decode, started when the first long series comes. For one thread at a time."""

    def __init__(self, processes: int, maximum_memory_bytes: int | None) -> None:
        self._wanted = processes
        self._maximum_memory_bytes = maximum_memory_bytes
        self._running: list[_Process] = []

    def worthwhile(self, images: int) -> bool:
        """Say whether so many images are worth the way to other processes."""
        return self._wanted > 0 and images >= WORTHWHILE

    def images(
        self, headers: Sequence[ImageHeader], definition: Definition, looked_at: bool
    ) -> Iterator[Made]:
        """Make the images of a series for a network, in their order; raises DecoderDied.

        Where they are looked at, their pixels come, too.
        """
        if not self._running:
            self._running = [_Process(self._maximum_memory_bytes) for _ in range(self._wanted)]
        ways = self._running
        under_way: deque[tuple[_Process, ImageHeader, int]] = deque()
        sent = 0
        try:
            while sent < len(headers) or under_way:
                while sent < len(headers) and len(under_way) < AHEAD * len(ways):
                    way, header = ways[sent % len(ways)], headers[sent]
                    under_way.append((way, header, way.send(header, definition, looked_at)))
                    sent += 1
                way, header, slot = under_way[0]
                made = way.receive(header, slot)
                under_way.popleft()
                yield made
        finally:
            if under_way:  # answers that nobody takes any more
                self.close()

    def close(self) -> None:
        """End the processes; they are started again when needed."""
        for each in self._running:
            each.close()
        self._running = []


def _laid(memory: mmap.mmap, slot: int, image: Image) -> Image | tuple[int, int]:
    """Put an image into its slot and return its shape; return the image itself where there is no room."""
    rows, columns = image.values.shape
    if rows * columns * 5 > SLOT_BYTES:
        return image
    values, valid = _views(memory, slot, (rows, columns))
    values[:], valid[:] = image.values, image.valid
    return rows, columns


def _taken(memory: mmap.mmap, slot: int, shape: tuple[int, int], header: ImageHeader) -> Image:
    """Copy an image out of its slot, which the next one will fill."""
    values, valid = _views(memory, slot, shape)
    return Image(values.copy(), valid.copy(), header.pixel_spacing_mm)


def _views(
    memory: mmap.mmap, slot: int, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    pixels, start = shape[0] * shape[1], slot * SLOT_BYTES
    values = np.frombuffer(memory, np.float32, pixels, start).reshape(shape)
    valid = np.frombuffer(memory, np.bool_, pixels, start + 4 * pixels).reshape(shape)
    return values, valid


def _answer(task: _Task, memory: mmap.mmap) -> _Answer:
    try:
        image = read_pixels(task.header)
    except UndecodableError as error:
        return None, str(error), None, None
    given = model_input(stood(image, task.header), task.definition)
    return given, None, None if task.slot is None else _laid(memory, task.slot, image), None


def main(arguments: Sequence[str]) -> None:
    """Answer until the worker is gone."""
    connection_fd, memory_fd, maximum = map(int, arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the node decides
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    confine(maximum or None)
    import cv2

    cv2.setNumThreads(1)  # there is one process for each core
    connection, memory = Connection(connection_fd), mmap.mmap(memory_fd, AHEAD * SLOT_BYTES)
    while True:
        try:
            task: _Task = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = _answer(task, memory)
        except Exception as error:  # noqa: BLE001 - the worker is told, and the series is tried again
            answer = None, None, None, f"{type(error).__name__}: {error}"
        try:
            connection.send(answer)
        except OSError:
            return
