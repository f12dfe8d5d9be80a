"""A web listener seen from the node: a process of its own, watched, started again when it dies."""

import errno
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

import structlog

from node import serving
from node.health import Health
from node.settings.config import Config
from node.settings.listening import Listening

log = structlog.get_logger()

_POLL_S: Final = 0.5
_PAUSE_S: Final = 1.0
_BIND_S: Final = 5.0
"""For how long the address may still be held by the process of a node that was killed."""
_STOP_S: Final = 15.0
_BACKLOG: Final = 128

Main = Callable[[Connection, socket.socket, Config], None]
"""What the process runs, on a socket that listens, until the node says stop or is gone."""


class Listener:
    """Takes an address and keeps a process running that serves it."""

    def __init__(self, name: str, settings: Listening, config: Config, main: Main) -> None:
        """`name` is that of the configuration's section, which sentences and threads name, too.

        `health` may be exchanged before `run`, for one that others share.
        """
        self.name = name
        self.settings = settings
        self._config = config
        self._main = main
        self._listening: socket.socket | None = None
        self.health = Health()

    def heard(self, message: Any) -> object:  # noqa: ARG002 - for those who listen to it
        """Take what the process said; return what it is to be answered, None for nothing."""
        return None

    def died(self) -> None:
        """Make good what the process may have left when it died."""

    def listen(self) -> None:
        """Take the address; raises OSError when it is taken or the certificate cannot be used."""
        settings = self.settings
        if settings.certificate is not None:
            try:
                serving.server_context(settings)
            except OSError as error:
                keys = f"{self.name}.certificate, key or client_ca"
                raise OSError(f"{keys} cannot be used: {error}") from error
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        self._listening = socket.socket(family, socket.SOCK_STREAM)
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(self._listening, self.name, settings.host, settings.port)
        self._listening.listen(_BACKLOG)

    @property
    def port(self) -> int:
        """The port that is listened on; of use where the configuration says 0."""
        assert self._listening is not None  # noqa: S101 - asked only after listen
        return int(self._listening.getsockname()[1])

    def run(self, stop: threading.Event) -> None:
        """Keep the process running until `stop` is set."""
        assert self._listening is not None  # noqa: S101 - run follows listen
        while not stop.is_set():
            try:
                self._serve(stop)
                if not stop.is_set():
                    log.error("the web server ended and is started again", listener=self.name)
                    self.health.died(self.name)
                    self.died()
            except Exception:
                log.exception("the web server failed; it is started again", listener=self.name)
            stop.wait(_PAUSE_S)
        self._listening.close()

    def _serve(self, stop: threading.Event) -> None:
        # "spawn": a forked child would share the sockets and the locks of the receiver's threads.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=self._main, args=(theirs, self._listening, self._config), daemon=True, name=self.name
        )
        process.start()
        theirs.close()
        try:
            self._listen_to(ours, process, stop)
        finally:
            process.kill()
            process.join()
            ours.close()

    def _listen_to(self, connection: Connection, process: BaseProcess, stop: threading.Event) -> None:
        """Pass on what the process says until it ends, which it is asked to when the node stops."""
        deadline = float("inf")
        while process.is_alive() and time.monotonic() < deadline:
            if stop.is_set() and deadline == float("inf"):
                with suppress(OSError):  # it is gone already
                    connection.send(serving.STOP)
                deadline = time.monotonic() + _STOP_S
            if not self._pass_on(connection):
                process.join(_STOP_S)  # it ends, or is of no use without its line
                break
        while connection.poll():
            if not self._pass_on(connection):
                return

    def _pass_on(self, connection: Connection) -> bool:
        """Wait for a moment, and pass on one message; False where the connection is closed."""
        try:
            if connection.poll(_POLL_S):
                answer = self.heard(connection.recv())
                if answer is not None:
                    connection.send(answer)
        except (EOFError, OSError):
            return False
        return True


def _bind(listening: socket.socket, name: str, host: str, port: int) -> None:
    deadline = time.monotonic() + _BIND_S
    while True:
        try:
            listening.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise OSError(
                    error.errno, f"{name}: {host}:{port} cannot be used: {error.strerror}"
                ) from None
            time.sleep(0.1)
        else:
            return
