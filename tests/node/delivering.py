"""What tests of destinations share: forwarders of all kinds, certificates, and a DICOMweb server to order."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme
from pydantic import TypeAdapter
from sqlalchemy import select

from db.records import Outcome
from db.rows import DeliverySummary
from db.tables import Attempt
from node.delivery.forward import Forwarder
from node.relabelling.relabel import Modifier
from node.settings.destinations import AnyDestination
from tests.harness import wait_until
from tests.node.bench import Bench

UNDECIDED = Outcome(None, (), "test", None, "0.1.0")


def forwarder(bench: Bench, **settings: Any) -> Forwarder:
    """Make a forwarder to a destination called archive that tries again at once."""
    retry = {"first_s": 1e-3, "maximum_s": 2e-3} | settings.pop("retry", {})
    described = {"name": "archive", "timeout_s": 10, "retry": retry} | settings
    if described.get("type", "dicom") == "dicom":
        described = {"ae_title": "ARCHIVE", "host": "127.0.0.1"} | described
    destination = TypeAdapter(AnyDestination).validate_python(described)
    return Forwarder(destination, "BODYTAG", bench.database, bench.spool, Modifier("BODYTAG", 1 << 30))


def drive(bench: Bench, forward: Forwarder, done: Callable[[DeliverySummary], bool]) -> DeliverySummary:
    """Let a forwarder work until its deliveries look as wanted."""
    stop = threading.Event()

    def step() -> DeliverySummary | None:
        forward.deliver_due(stop)
        [summary] = bench.rows()[0].deliveries
        return summary if done(summary) else None

    try:
        found = wait_until(step, "the deliveries are as wanted", 60)
    except AssertionError as error:
        raise AssertionError(f"{error}; {comments(bench)}") from error
    assert isinstance(found, DeliverySummary)
    return found


def comments(bench: Bench) -> list[str]:
    """Return what was noted of all tries, in their order."""
    with bench.database.reading() as session:
        return list(session.scalars(select(Attempt.comment).order_by(Attempt.id)))


@dataclass(frozen=True)
class Papers:
    """A hospital's authority, and a certificate of it, as files."""

    ca: Path
    certificate: Path
    key: Path

    @property
    def tls(self) -> dict[str, str]:
        """The section of a destination that trusts the authority and shows the certificate."""
        return {"ca": str(self.ca), "certificate": str(self.certificate), "key": str(self.key)}


def papers(folder: Path, name: str = "127.0.0.1", authority: trustme.CA | None = None) -> Papers:
    """Make an authority unless there is one, and a certificate of it for a host."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = authority or trustme.CA()
    made = Papers(folder / "ca.pem", folder / "node.pem", folder / "node.key")
    authority.cert_pem.write_to_path(str(made.ca))
    issued = authority.issue_cert(name)
    issued.cert_chain_pems[0].write_to_path(str(made.certificate))
    issued.private_key_pem.write_to_path(str(made.key))
    return made


@dataclass
class WebPeer:
    """A DICOMweb server that answers what it is told to, and remembers what it was sent."""

    port: int = 0
    answers: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    secure: bool = False

    @property
    def url(self) -> str:
        """Its address."""
        return f"http{'s' if self.secure else ''}://127.0.0.1:{self.port}/dicom-web"


def stored() -> dict[str, Any]:
    """Return the data set that says an instance was stored."""
    return {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2.3"]}}]}}


def refused(reason: int) -> dict[str, Any]:
    """Return the data set that says an instance was not stored."""
    return {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [reason]}}]}}


@contextmanager
def web_peer(*answers: tuple[int, dict[str, str], Any], tls: Papers | None = None) -> Iterator[WebPeer]:
    """Run such a server; when all answers are given, everything is stored.

    With `tls`, it speaks HTTPS with those who show a certificate of its own authority.
    """
    peer = WebPeer(answers=list(answers))

    class Handler(BaseHTTPRequestHandler):
        """Takes everything."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Remember the request and give the next answer."""
            peer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            peer.headers.append(dict(self.headers))
            code, headers, content = peer.answers.pop(0) if peer.answers else (200, {}, stored())
            body = json.dumps(content).encode()
            self.send_response(code)
            for name, value in ({"Content-Type": "application/dicom+json"} | headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(tls.certificate, tls.key)
        # The handshake in the connection's own thread, so that a peer that gives up stops nothing.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        peer.secure = True
    peer.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield peer
    finally:
        server.shutdown()
        thread.join(60)
        server.server_close()
