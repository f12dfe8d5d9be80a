"""The web server's process: uvicorn with deadlines before the first request, away from the DICOM port."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import h11
import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from node import log as logs
from node.auditing.audit import Trail
from node.dicomweb.app import Origin, make_app
from node.dicomweb.part import Room
from node.intake.certificates import CIPHERS
from node.intake.intake import Arrival, Offer, take_in
from node.settings.config import Config
from node.settings.dicomweb import DicomWeb
from node.storage.spool import SeriesKey, Spool

log = structlog.get_logger()

STOP = "stop"
_GRACE_S = 10
_MEASURE_S = 60
_RELOAD_S = 5
_NICENESS = 5
"""The DICOM port goes first where processors are short."""

Told = Arrival | frozenset[SeriesKey]
"""What the node hears: an instance was stored, or a request that stored into these series ended."""


class Line:
    """The way to the node; safe for any number of threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def tell(self, what: Told) -> None:
        """Tell the node; raises OSError when it is gone, and then nothing must be acknowledged."""
        with self._lock:
            self._connection.send(what)

    def stopped(self) -> bool:
        """Wait for the node to say that it stops; False where it went away without a word."""
        try:
            return bool(self._connection.recv() == STOP)
        except (EOFError, OSError):
            return False


class Server(uvicorn.Server):
    """Uvicorn that leaves signals to the node."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Change no handlers."""
        yield


def main(connection: Connection, listening: socket.socket, config: Config) -> None:
    """Serve STOW-RS on a listening socket until the node says stop or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the node decides
    os.nice(_NICENESS)
    logs.configure(config.log)
    line = Line(connection)
    quota = config.spool.quota
    spool = Spool(config.spool.folder, int(config.spool.minimum_free), None if quota is None else int(quota))
    if quota is not None:
        threading.Thread(target=_measure, args=(spool,), daemon=True).start()
    server = Server(_uvicorn(config.dicomweb, _origin(config, spool, line)))
    threading.Thread(target=_watch, args=(line, server), daemon=True).start()
    with asyncio.Runner(loop_factory=lambda: _Loop(config.dicomweb.header_timeout_s)) as runner:
        runner.run(server.serve(sockets=[listening]))


def _watch(line: Line, server: Server) -> None:
    if not line.stopped():
        os._exit(1)  # nobody hears of what is stored: acknowledge no more
    server.should_exit = True


def _measure(spool: Spool) -> None:
    """Count now and then what the node's own process stores and removes."""
    while True:
        spool.room.measure()
        time.sleep(_MEASURE_S)


def _origin(config: Config, spool: Spool, line: Line) -> Origin:
    def store(offer: Offer, data: memoryview) -> Arrival:
        arrival = take_in(spool, offer, data, int(config.receive.maximum_inflated_bytes))
        if not arrival.stored.duplicate:
            line.tell(arrival)
        return arrival

    def released(keys: frozenset[SeriesKey]) -> None:
        if keys:
            line.tell(keys)

    room = Room(
        int(config.dicomweb.maximum_instance_bytes),
        lambda: tempfile.TemporaryFile(dir=spool.folder),  # noqa: SIM115 - closed by the part
        lambda: spool.room.free_bytes() > int(config.spool.minimum_free),
    )
    return Origin(config.dicomweb, room, store, released, Trail(config.audit.file), config.receive.ae_title)


def _uvicorn(settings: DicomWeb, origin: Origin) -> uvicorn.Config:
    config = uvicorn.Config(
        answering(make_app(settings.path, origin)),
        http=_protocol(settings),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
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


def _reload(context: ssl.SSLContext, settings: DicomWeb) -> None:
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


def _stamps(settings: DicomWeb) -> list[float]:
    return [path.stat().st_mtime for path in (settings.certificate, settings.key) if path and path.exists()]


def _load(context: ssl.SSLContext, settings: DicomWeb) -> None:
    assert settings.certificate is not None  # noqa: S101 - asked by the caller
    context.load_cert_chain(settings.certificate, settings.key, password="")


def server_context(settings: DicomWeb) -> ssl.SSLContext:
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


def _protocol(settings: DicomWeb) -> type[H11Protocol]:
    """Uvicorn's HTTP/1.1 with a deadline for the first request and a limit for each address."""
    held: Counter[str] = Counter()

    class Bounded(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.address = self.client[0] if self.client else ""
            held[self.address] += 1
            self.deadline = self.loop.call_later(settings.header_timeout_s, self.end_silence)
            if held[self.address] > settings.maximum_connections_per_address:
                log.warning("web connection refused: too many", address=self.address)
                transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            held[self.address] -= 1
            if not held[self.address]:
                del held[self.address]
            self.deadline.cancel()
            super().connection_lost(exc)

        def end_silence(self) -> None:
            asked: Any = self.cycle  # None until the headers of a request are complete
            if asked is None:
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
