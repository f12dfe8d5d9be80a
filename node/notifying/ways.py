"""The ways in which admins are told: log, e-mail by SMTP, webhooks signed as Standard Webhooks says."""

import base64
import hashlib
import hmac
import json
import smtplib
import ssl
import uuid
from collections.abc import Iterator
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Final, Protocol

import requests
import structlog

from node.notifying.bulletin import Message
from node.notifying.troubles import OVER
from node.notifying.wording import Sender, subject, text, values
from node.settings.notify import Email, Notify, Webhook

log = structlog.get_logger()

LOG: Final = "log"
EMAIL: Final = "email"


class NotSent(Exception):  # noqa: N818 - an answer, not a fault of the program
    """A message did not arrive; why, in a sentence without secrets."""


class Way(Protocol):
    """How a message gets to admins."""

    @property
    def name(self) -> str:
        """The way as logs, metrics and the database call it."""

    def send(self, message: Message) -> None:
        """Send it; raises NotSent."""


class ToLog:
    """Writes a line for each piece of news."""

    name = LOG

    def send(self, message: Message) -> None:
        """Write the lines."""
        for each in message.ended:
            log.info("trouble over", what=OVER[each.kind].format(each.subject))
        for each in (*message.begun, *message.grown, *message.reminded):
            log.warning("trouble", what=each.sentence)


class ByEmail:
    """Sends an e-mail to all addresses."""

    name = EMAIL

    def __init__(self, settings: Email, sender: Sender) -> None:
        self._settings = settings
        self._sender = sender

    def send(self, message: Message) -> None:
        """Hand it to the mail server; raises NotSent unless every address was taken."""
        settings = self._settings
        try:
            context = ssl.create_default_context(cafile=settings.ca)
            with self._server(context) as server:
                if settings.security == "starttls":
                    server.starttls(context=context)
                if settings.user is not None:
                    server.login(settings.user, settings.secret())
                refused = server.send_message(self._written(message))
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise NotSent(f"{settings.host}:{settings.port}: {_why(error)}") from None
        if refused:
            raise NotSent(f"{settings.host}:{settings.port} refuses {len(refused)} addresses")

    def _server(self, context: ssl.SSLContext) -> smtplib.SMTP:
        settings = self._settings
        if settings.security == "tls":
            return smtplib.SMTP_SSL(settings.host, settings.port, timeout=settings.timeout_s, context=context)
        return smtplib.SMTP(settings.host, settings.port, timeout=settings.timeout_s)

    def _written(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = subject(message, self._sender)
        mail["From"] = self._settings.sender
        mail["To"] = ", ".join(self._settings.to)
        mail["Date"] = format_datetime(message.at)
        mail["Message-ID"] = make_msgid(domain=self._settings.sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence is to be answered with
        mail.set_content(text(message, self._sender))
        return mail


class ByWebhook:
    """Posts JSON, signed with a shared key where there is one."""

    def __init__(self, settings: Webhook, sender: Sender) -> None:
        self.name = f"webhook {settings.name}"
        self._settings = settings
        self._sender = sender

    def send(self, message: Message) -> None:
        """Post it; raises NotSent unless the answer is a 2xx. No redirect is followed."""
        settings = self._settings
        body = json.dumps(values(message, self._sender)).encode()
        try:
            with requests.post(
                settings.url.get_secret_value(),
                data=body,
                headers={"Content-Type": "application/json", **self._signed(message, body)},
                timeout=settings.timeout_s,
                verify=True if settings.ca is None else str(settings.ca),
                allow_redirects=False,
                stream=True,  # the answer's body is not read
            ) as answer:
                status = answer.status_code
        except (OSError, ValueError) as error:  # requests' own errors are OSErrors; they quote the address
            raise NotSent(
                f"the webhook {settings.name} cannot be posted to: {type(error).__name__}"
            ) from None
        if not 200 <= status < 300:
            raise NotSent(f"the webhook {settings.name} answers {status}")

    def _signed(self, message: Message, body: bytes) -> dict[str, str]:
        key = self._settings.key()
        if key is None:
            return {}
        number, at = f"msg_{uuid.uuid4().hex}", str(int(message.at.timestamp()))
        return {
            "webhook-id": number,
            "webhook-timestamp": at,
            "webhook-signature": signature(key, number, at, body),
        }


def signature(key: bytes, number: str, at: str, body: bytes) -> str:
    """Sign a message: `v1,` and the base64 of HMAC-SHA256 over number, time and body (Standard Webhooks)."""
    digest = hmac.new(key, b".".join((number.encode(), at.encode(), body)), hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def configured(settings: Notify, sender: Sender) -> Iterator[Way]:
    """Yield the ways by which somebody is to be told, without the log."""
    if settings.email is not None:
        yield ByEmail(settings.email, sender)
    for webhook in settings.webhooks:
        yield ByWebhook(webhook, sender)


def _why(error: Exception) -> str:
    """Say what went wrong without what was sent: a server's answer may quote it."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server answers {error.smtp_code}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
