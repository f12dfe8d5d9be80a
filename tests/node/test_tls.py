"""Tests of the port that speaks TLS, with dcmtk's tools and with clients that may not in."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from node.clock import utc_now
from node.intake.certificates import CertificateError
from tests.builders import series
from tests.harness import DEADLINE_S, command, free_port, wait_until
from tests.node.hostile import ACCEPTED, REJECTED, audited, connected, listening, received_pdu, request
from tests.node.tls import Authority, closed_by


def dcmtk(tool: str, port: int, authority: Authority, *options: str) -> subprocess.CompletedProcess[str]:
    """Run one of dcmtk's tools over TLS, with a certificate of the caller's own."""
    certificate, key = authority.issue("ct1.example.org")
    tls = ["+tls", str(key), str(certificate), "+cf", str(authority.ca)]
    arguments = [command(tool), *tls, "-aet", "CT1", "-aec", "BODYTAG", "127.0.0.1", str(port), *options]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=DEADLINE_S)


def test_dcmtk_stores_over_tls(tmp_path: Path) -> None:
    """echoscu and storescu with +tls: the instances are stored, and the plain port still answers."""
    authority = Authority(tmp_path / "tls")
    files = series(tmp_path / "in", n=3)
    with listening(tmp_path, tls=authority.section(free_port()), association_timeout_s=10) as node:
        assert dcmtk("echoscu", node.receiver.tls_port, authority).returncode == 0
        sent = dcmtk("storescu", node.receiver.tls_port, authority, *map(str, files))
        assert sent.returncode == 0, sent.stderr
        assert len(node.stored()) == 3
        wait_until(lambda: node.released, "the release was told")
        begun, line = audited(node.audit)
        assert (begun["code"], line["code"]) == ("110102", "110104")
        assert (line["instances"], line["source"]["ae_title"], line["outcome"]) == (3, "CT1", "success")


def test_large_instances_cross_tls_whole(tmp_path: Path) -> None:
    """Records of TLS and PDUs do not fall together; what is stored is what was sent."""
    authority = Authority(tmp_path / "tls")
    [path] = series(tmp_path / "in", n=1, rows=1500, columns=1500)
    with listening(tmp_path, tls=authority.section(free_port()), association_timeout_s=10) as node:
        assert dcmtk("storescu", node.receiver.tls_port, authority, str(path)).returncode == 0
        [stored] = node.stored()
        assert node.spool.path(stored).read_bytes().endswith(path.read_bytes()[-4_000_000:])


def test_who_shows_no_certificate_is_refused(tmp_path: Path) -> None:
    """No certificate, one of another authority, and no TLS at all: no association, and an alert each."""
    authority = Authority(tmp_path / "tls")
    strange = Authority(tmp_path / "strange")
    foreign = ssl.create_default_context(cafile=str(authority.ca))
    foreign.load_cert_chain(*strange.issue("ct1.example.org"))
    with listening(tmp_path, tls=authority.section(free_port())) as node:
        port = node.receiver.tls_port
        for context in (authority.context(None), foreign):
            with authority.connected(port, context) as connection:
                assert closed_by(connection)
        plain = subprocess.run([command("echoscu"), "127.0.0.1", str(port)], capture_output=True)
        assert plain.returncode != 0
        wait_until(lambda: len(node.alerts()) == 3, "there are three alerts")
        assert {alert["code"] for alert in node.alerts()} == {"110126"}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions_and_ciphers(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3 are spoken, with forward secrecy and authenticated encryption."""
    authority = Authority(tmp_path / "tls")
    context = authority.context()
    context.minimum_version = context.maximum_version = version
    with (
        listening(tmp_path, tls=authority.section(free_port())) as node,
        authority.connected(node.receiver.tls_port, context) as connection,
    ):
        cipher = connection.cipher()
        assert cipher is not None
        assert version == ssl.TLSVersion.TLSv1_3 or cipher[0].startswith("ECDHE-")
        assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]


@pytest.mark.parametrize("weak", ["ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES128-SHA256"])
def test_weak_ciphers_are_refused(tmp_path: Path, weak: str) -> None:
    """Without authenticated encryption there is no handshake (RFC 9325 section 4.2)."""
    authority = Authority(tmp_path / "tls")
    context = authority.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{weak}:@SECLEVEL=0")
    with (
        listening(tmp_path, tls=authority.section(free_port())) as node,
        pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"),
    ):
        authority.connected(node.receiver.tls_port, context)


def test_a_caller_is_bound_to_its_certificate(tmp_path: Path) -> None:
    """A valid certificate of somebody else, and the plain port, do not let in who must show its own."""
    authority = Authority(tmp_path / "tls")
    callers = [{"ae_title": "CT1", "certificate": "CT1.example.org"}]
    options = {"promiscuous": False, "callers": callers, "tls": authority.section(free_port())}
    with listening(tmp_path, **options) as node:
        for name, answer in (("mr1.example.org", REJECTED), ("ct1.example.org", ACCEPTED)):
            with authority.connected(node.receiver.tls_port, authority.context(name)) as connection:
                connection.sendall(request(calling=b"CT1"))
                assert (received_pdu(connection) or (0,))[0] == answer
        with connected(node.port) as plain:
            plain.sendall(request(calling=b"CT1"))
            assert (received_pdu(plain) or (0,))[0] == REJECTED


def test_new_certificates_are_used_without_a_restart(tmp_path: Path) -> None:
    """The next handshake shows the new certificate; one that cannot be read changes nothing."""
    old = Authority(tmp_path / "tls")
    with listening(tmp_path, tls=old.section(free_port())) as node:
        port = node.receiver.tls_port
        old.connected(port).close()
        new = Authority(tmp_path / "new")
        for path in new.folder.iterdir():
            shutil.copy(path, old.folder / path.name)
        new.connected(port).close()
        with pytest.raises(ssl.SSLCertVerificationError):
            Authority.connected(old, port, _trusting(tmp_path, old))
        (old.folder / "node.pem").write_text("no certificate")
        new.connected(port).close()


def _trusting(folder: Path, authority: Authority) -> ssl.SSLContext:
    authority.authority.cert_pem.write_to_path(str(folder / "old.pem"))
    return ssl.create_default_context(cafile=str(folder / "old.pem"))


def test_revoked_certificates_are_refused(tmp_path: Path) -> None:
    """A certificate in the revocation list of its authority is as good as none."""
    authority = Authority(tmp_path / "tls")
    certificate, _ = authority.issue("ct1.example.org")
    revoked = _revocation_list(authority, certificate)
    with listening(tmp_path, tls=authority.section(free_port(), revoked=str(revoked))) as node:
        port = node.receiver.tls_port
        context = ssl.create_default_context(cafile=str(authority.ca))
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        with authority.connected(port, context) as connection:
            assert closed_by(connection)
        with authority.connected(port, authority.context("ct2.example.org")) as connection:
            connection.sendall(request())
            assert (received_pdu(connection) or (0,))[0] == ACCEPTED


def _revocation_list(authority: Authority, certificate: Path) -> Path:
    issuer = x509.load_pem_x509_certificate(authority.ca.read_bytes())
    key = serialization.load_pem_private_key(authority.authority.private_key_pem.bytes(), None)
    serial = x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number
    now = utc_now()
    entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject).last_update(now)
    builder = builder.next_update(now.replace(year=now.year + 1)).add_revoked_certificate(entry)
    path = authority.folder / "revoked.pem"
    signed = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]  # an authority's key can sign
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize("missing", ["node.pem", "node.key", "ca.pem"])
def test_a_node_without_its_certificates_does_not_start(tmp_path: Path, missing: str) -> None:
    """What cannot be used is said in a sentence at the start."""
    authority = Authority(tmp_path / "tls")
    (authority.folder / missing).write_text("nonsense")
    with (
        pytest.raises(CertificateError, match=r"receive\.tls: the certificates cannot be used"),
        listening(tmp_path, tls=authority.section(free_port())),
    ):
        pass
