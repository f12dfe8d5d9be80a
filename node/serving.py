"""A web listener seen from its own process: uvicorn with deadlines before each request, TLS, and an end."""

import asyncio
import contextlib
import os
import queue
import signal
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, Final

import h11
import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from node import log as logs
from node.intake.certificates import CIPHERS
from node.settings.config import Config
from node.settings.listening import Listening

log = structlog.get_logger()

STOP: Final = "stop"
_GRACE_S: Final = 10
_ANSWER_S: Final = 5
_RELOAD_S: Final = 5
_KEEP_ALIVE_S: Final = 5
_NICENESS: Final = 5
"""The DICOM port goes first where processors are short."""

Unlimited = Callable[[str], bool]
"""Tells of an address whether it may have any number of connections."""


class Line:
    """The way to the node; safe for any number of threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._answers: queue.SimpleQueue[object] = queue.SimpleQueue()

    def tell(self, what: object) -> None:
        """Tell the node; raises OSError when it is gone, and then nothing must be acknowledged."""
        with self._lock:
            self._connection.send(what)

    def ask(self, what: object) -> object:
        """Tell the node and return what it answers; raises OSError (TimeoutError) where it does not.

        Of use only while somebody waits for the node's end by `stopped`, who hears the answers.
        """
        with self._asking:
            while not self._answers.empty():
                self._answers.get()  # it came too late for whoever asked
            self.tell(what)
            try:
                return self._answers.get(timeout=_ANSWER_S)
            except queue.Empty:
                raise TimeoutError("the node gave no answer in time") from None

    def stopped(self) -> bool:
        """Wait for the node to say that it stops; False where it went away without a word."""
        try:
            while (said := self._connection.recv()) != STOP:
                self._answers.put(said)
        except (EOFError, OSError):
            return False
        return True


class Server(uvicorn.Server):
    """Uvicorn that leaves signals to the node."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Change no handlers."""
        yield


def prepare(config: Config) -> None:
    """Make this process one that serves: it leaves Ctrl-C to the node, steps back, and logs as it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the node decides
    os.nice(_NICENESS)
    logs.configure(config.log)


def serve(
    app: ASGIApp,
    settings: Listening,
    listening: socket.socket,
    line: Line,
    unlimited: Unlimited = lambda address: False,  # noqa: ARG005 - named for who gives another
) -> None:
    """Serve an application on a listening socket until the node says stop or is gone."""
    server = Server(_uvicorn(app, settings, unlimited))
    threading.Thread(target=_watch, args=(line, server), daemon=True).start()
    with asyncio.Runner(loop_factory=lambda: _Loop(settings.header_timeout_s)) as runner:
        runner.run(server.serve(sockets=[listening]))


def _watch(line: Line, server: Server) -> None:
    if not line.stopped():
        os._exit(1)  # nobody hears of what is stored: acknowledge no more
    server.should_exit = True


def _uvicorn(app: ASGIApp, settings: Listening, unlimited: Unlimited) -> uvicorn.Config:
    config = uvicorn.Config(
        answering(app),
        http=_protocol(settings, unlimited),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=16384,
    )
    config.load()
    if settings.certificate is not None:
        context = server_context(settings)
        config.ssl = context
        threading.Thread(target=_reload, args=(context, settings), daemon=True).start()
    return config


def answering(app: ASGIApp) -> ASGIApp:
    """Let an answer go nowhere whose client left, or broke HTTP, while it was made."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        async def to_client(message: Message) -> None:
            with contextlib.suppress(h11.LocalProtocolError):
                await send(message)

        await app(scope, receive, to_client)

    return served


def _reload(context: ssl.SSLContext, settings: Listening) -> None:
    """Use new files of certificate and key for the next handshakes, once both belong together."""
    seen = _stamps(settings)
    while True:
        time.sleep(_RELOAD_S)
        now = _stamps(settings)
        if now == seen:
            continue
        try:
            _load(context, settings)
        except OSError as error:
            log.error("the web server's new certificate is not used", reason=str(error))
        else:
            log.info("the web server's certificate was read again")
        seen = now


def _stamps(settings: Listening) -> list[float]:
    return [path.stat().st_mtime for path in (settings.certificate, settings.key) if path and path.exists()]


def _load(context: ssl.SSLContext, settings: Listening) -> None:
    assert settings.certificate is not None  # noqa: S101 - asked by the caller
    context.load_cert_chain(settings.certificate, settings.key, password="")


def server_context(settings: Listening) -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with forward secrecy alone (BCP 195); with `client_ca` for holders of a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    _load(context, settings)
    if settings.client_ca is not None:
        context.load_verify_locations(settings.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _protocol(settings: Listening, unlimited: Unlimited) -> type[H11Protocol]:
    """Uvicorn's HTTP/1.1 with a deadline for each request's headers and a limit for each address."""
    held: Counter[str] = Counter()

    class Bounded(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.address = self.client[0] if self.client else ""
            held[self.address] += 1
            self.deadline = self.loop.call_later(settings.header_timeout_s, self.end_silence)
            if held[self.address] > settings.maximum_connections_per_address and not unlimited(self.address):
                log.warning("web connection refused: too many", address=self.address)
                transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            held[self.address] -= 1
            if not held[self.address]:
                del held[self.address]
            self.deadline.cancel()
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self.deadline.cancel()
            if not self.transport.is_closing():
                self.deadline = self.loop.call_later(
                    _KEEP_ALIVE_S + settings.header_timeout_s, self.end_silence
                )

        def end_silence(self) -> None:
            asked: Any = self.cycle  # None until the headers of the first request are complete
            if asked is None or asked.response_complete:
                self.transport.abort()

    return Bounded


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose TLS handshakes have the same deadline as the headers of a request."""

    def __init__(self, handshake_timeout_s: float) -> None:
        super().__init__()
        self._handshake_timeout_s = handshake_timeout_s

    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:
        if options.get("ssl") is not None:
            options.setdefault("ssl_handshake_timeout", self._handshake_timeout_s)
        return await super().create_server(*args, **options)
