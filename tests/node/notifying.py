"""What tests of notifications share: a mail server, thresholds, and a notifier that is made to look."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from db.notices import Notice
from node.health import Health
from node.notifying.notifier import Notifier
from node.notifying.troubles import Disk
from node.notifying.ways import Way
from node.notifying.wording import Sender
from node.settings.notify import Notify
from tests.db.values import NOW
from tests.harness import free_port
from tests.node.delivering import papers

SENDER = Sender("BODYTAG", "node1", "https://bodytag.example")
ROOM = Disk(100 << 30, 5 << 30)
DOWN = Notice("destination_down", "archive", "destination archive does not answer: refused", 0, NOW)


@dataclass
class MailServer:
    """A mail server's mailbox, and what it is told to answer to the data of a message."""

    port: int = 0
    answer: str = "250 OK"
    ca: Path | None = None
    envelopes: list[Envelope] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep the message where it is taken."""
        del server, session
        if self.answer.startswith("2"):
            self.envelopes.append(envelope)
        return self.answer

    def login(self, server: SMTP, session: Session, envelope: Envelope, *given: object) -> AuthResult:
        """Let in who knows the password; `given` is the mechanism and what was shown."""
        del server, session, envelope
        login = given[1]
        assert isinstance(login, LoginPassword)
        self.logins.append(login.login.decode())
        return AuthResult(success=login.password == b"secret", handled=False)


@contextmanager
def mail_server(folder: Path, secure: bool) -> Iterator[MailServer]:
    """Run a mail server; a secure one takes mail after STARTTLS and a login alone."""
    server = MailServer(free_port())
    options: dict[str, Any] = {}
    if secure:
        issued = papers(folder, "127.0.0.1")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(issued.certificate, issued.key)
        server.ca = issued.ca
        options = {
            "tls_context": context,
            "require_starttls": True,
            "authenticator": server.login,
            "auth_required": True,
        }
    controller = Controller(server, hostname="127.0.0.1", port=server.port, **options)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


class Desk:
    """A notifier whose clock the test turns, and which looks when told to."""

    def __init__(self, database: Any, *ways: Way, **settings: Any) -> None:
        self.now = NOW
        self.disk = ROOM
        self.monotonic_s = 0.0
        self.health = Health(lambda: self.monotonic_s)
        self.settings = Notify.model_validate({"gather_s": 30, "pause_s": 300} | settings)
        self.notifier = Notifier(
            self.settings, database, self.health, lambda: self.disk, ways, lambda: self.now
        )

    def look(self, at: datetime | None = None) -> None:
        """Look, at another time where one is given, and wait for what is sent."""
        self.now = at or self.now
        self.notifier.look()
        self.notifier.wait(60)
        self.notifier.look()  # takes note of how sending ended
