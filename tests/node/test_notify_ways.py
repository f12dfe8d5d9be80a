"""E-mail through a real mail server, webhooks to a real web server; what is signed, and what is not sent."""

import email
import email.policy
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook as Verifier

from db.notices import Notice
from node.clock import utc_now
from node.notifying.bulletin import Message
from node.notifying.ways import ByEmail, ByWebhook, NotSent
from node.settings.notify import Email, Webhook
from tests.harness import free_port
from tests.node.delivering import web_peer
from tests.node.notifying import DOWN, SENDER, mail_server

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
MESSAGE = Message(utc_now(), begun=(DOWN,))


def by_email(port: int, **settings: object) -> ByEmail:
    """Make the way to a mail server on this machine."""
    given = {"host": "127.0.0.1", "port": port, "sender": "node@hospital.example", "to": ["pacs@h.example"]}
    return ByEmail(Email.model_validate(given | settings), SENDER)


def by_webhook(url: str, **settings: object) -> ByWebhook:
    """Make the way to a web server."""
    return ByWebhook(Webhook.model_validate({"name": "pager", "url": url, "timeout_s": 5} | settings), SENDER)


def test_mail_over_tls_after_a_login(tmp_path: Path) -> None:
    """The server's certificate is checked, the login follows STARTTLS, and the mail says what is wrong."""
    (tmp_path / "password").write_text("secret\n")
    with mail_server(tmp_path, secure=True) as server:
        login = {"user": "bodytag", "password_file": tmp_path / "password"}
        by_email(server.port, ca=server.ca, **login, to=["a@h.example", "b@h.example"]).send(MESSAGE)
        with pytest.raises(NotSent, match=r"certificate|CERTIFICATE|SSL"):
            by_email(server.port, **login).send(MESSAGE)
        with pytest.raises(NotSent, match="answers 535"):
            by_email(server.port, ca=server.ca, user="bodytag", password="wrong").send(MESSAGE)
    [envelope] = server.envelopes
    assert set(server.logins) == {"bodytag"}
    assert envelope.rcpt_tos == ["a@h.example", "b@h.example"]
    assert isinstance(envelope.content, bytes)
    mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert mail["Subject"] == "[bodytag BODYTAG] destination archive does not answer: refused"
    assert mail["Auto-Submitted"] == "auto-generated"
    lines = mail.get_content().splitlines()
    told = lines[lines.index("New:") + 1]
    assert told.startswith("- destination archive does not answer: refused (since ")
    assert lines[-1] == "https://bodytag.example/dashboard"


def test_mail_without_tls_where_that_is_wished(tmp_path: Path) -> None:
    """A line break in a sentence starts no header; the end of a trouble is said as such."""
    ended = Message(utc_now(), ended=(_ended("archive\r\nBcc: evil@example.org"),), still=(DOWN,))
    with mail_server(tmp_path, secure=False) as server:
        by_email(server.port, security="none").send(ended)
    [envelope] = server.envelopes
    assert isinstance(envelope.content, bytes)
    mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert mail["Bcc"] is None
    assert mail["Subject"].endswith("answers again")
    lines = mail.get_content().splitlines()
    assert lines[lines.index("Over:") + 1].startswith("- destination archive Bcc: evil@example.org answers")
    assert lines[lines.index("Still:") + 1].startswith("- destination archive does not answer")


def test_mail_that_is_not_taken_is_told_without_what_was_sent(tmp_path: Path) -> None:
    """Neither a server that refuses, nor one that is not there, nor one without STARTTLS is a success."""
    with mail_server(tmp_path, secure=False) as server:
        server.answer = "554 Miller^Anna is not welcome"
        with pytest.raises(NotSent, match=r"answers 554$"):
            by_email(server.port, security="none").send(MESSAGE)
        with pytest.raises(NotSent, match="SMTPNotSupportedError"):
            by_email(server.port).send(MESSAGE)
    with pytest.raises(NotSent, match="refused"):
        by_email(free_port(), security="none").send(MESSAGE)


def test_webhooks_are_signed_as_the_standard_says() -> None:
    """The library of Standard Webhooks verifies it; what was changed on the way it does not."""
    with web_peer() as peer:
        by_webhook(peer.url, secret=SECRET).send(replace(MESSAGE, at=utc_now()))  # it must not be old
        [headers], [body] = peer.headers, peer.bodies
    verified = Verifier(SECRET).verify(body.decode(), headers)
    assert verified["data"]["begun"][0]["subject"] == "archive"
    assert verified["text"].startswith("[bodytag BODYTAG] destination archive does not answer")
    with pytest.raises(Exception, match="No matching signature"):
        Verifier(SECRET).verify(body.decode().replace("archive", "reader"), headers)


def test_webhooks_without_a_secret_are_not_signed() -> None:
    """They are JSON all the same."""
    with web_peer() as peer:
        by_webhook(peer.url).send(MESSAGE)
        assert "webhook-signature" not in {name.lower() for name in peer.headers[0]}
        assert json.loads(peer.bodies[0])["type"] == "bodytag.troubles"


def test_what_a_webhook_does_not_take_is_told() -> None:
    """Failures and redirects are none of ours to follow; the address, which may be secret, is not shown."""
    with web_peer((500, {}, None), (302, {"Location": "http://127.0.0.1:1/"}, None)) as peer:
        for status in (500, 302):
            with pytest.raises(NotSent, match=rf"^the webhook pager answers {status}$"):
                by_webhook(peer.url).send(MESSAGE)
        assert len(peer.bodies) == 2
    with pytest.raises(NotSent) as raised:
        by_webhook(f"http://127.0.0.1:{free_port()}/very-secret").send(MESSAGE)
    assert "very-secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"url": "ftp://host"}, "begins with https"),
        ({"url": "https://user:pw@host"}, "no password"),
        ({"url": "https://host", "secret": "short"}, "whsec_"),
        ({"url": "https://host", "secret": SECRET, "secret_file": "x"}, "one of secret"),
    ],
)
def test_webhooks_are_checked(settings: dict[str, str], sentence: str) -> None:
    """Wrong settings are one sentence, without the secret."""
    with pytest.raises(ValueError, match=sentence):
        Webhook.model_validate({"name": "pager"} | settings)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"user": "u"}, "needs password"),
        ({"user": "u", "password": "p", "security": "none"}, "everybody to read"),
        ({"to": []}, "at least 1"),
        ({"to": ["a@b\nBcc: c@d"]}, "pattern"),
    ],
)
def test_email_is_checked(settings: dict[str, object], sentence: str) -> None:
    """A password goes over TLS alone, and addresses are addresses."""
    given = {"host": "h", "sender": "a@b.example", "to": ["c@d.example"]}
    with pytest.raises(ValueError, match=sentence):
        Email.model_validate(given | settings)


def _ended(name: str) -> Notice:
    return replace(DOWN, subject=name, ended_at=DOWN.since + timedelta(hours=1))
