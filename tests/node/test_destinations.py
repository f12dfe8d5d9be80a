"""Tests of the kinds of destinations against real peers: dcmtk over TLS, Orthanc, a folder; reading back."""

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme
from pydicom import dcmread

from db.records import Outcome, Route
from db.session import migrate
from node.delivery.tls import client_context
from node.relabelling.coercion import NEW_SERIES, WRITE
from node.relabelling.part10 import meta_end
from node.settings.destinations import Tls
from rules.decide import decide
from rules.verdict import Evidence
from tests.builders import Recipe, write
from tests.harness import Archive, free_port, storescu
from tests.node.bench import Bench, opened
from tests.node.delivering import UNDECIDED, comments, drive, forwarder, papers, web_peer
from tests.orthanc import Orthanc


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A spool and a database to deliver from."""
    url = f"sqlite:///{tmp_path}/bodytag.sqlite"
    migrate(url)
    with opened(tmp_path, url) as bench:
        yield bench


def knee(images: int) -> Outcome:
    """Return the outcome of a series that shows a knee."""
    probabilities = np.tile(np.array([0.05, 0.95], np.float32), (images, 1))
    verdict = decide(Evidence(("head", "knee"), probabilities, np.arange(images, dtype=np.float64)), (), 0.5)
    return Outcome(verdict, (), None, "d" * 64, "0.1.0")


class TlsArchive(Archive):
    """storescp that wants TLS, and a certificate from whoever calls."""

    def listen(self, folder: Path, authority: trustme.CA) -> "TlsArchive":
        """Start it."""
        own = papers(folder, "127.0.0.1", authority)
        self.start("+B", "+tls", str(own.key), str(own.certificate), "+cf", str(own.ca), "-rc")
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "storescp ended"
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False


def test_c_store_over_tls_with_both_certificates(bench: Bench, tmp_path: Path) -> None:
    """storescp takes instances from who shows a certificate of the hospital's authority, byte for byte."""
    authority = trustme.CA()
    archive = TlsArchive(tmp_path / "archive", free_port()).listen(tmp_path / "theirs", authority)
    ours = papers(tmp_path / "ours", "node.hospital", authority)
    recipe = Recipe(n=3)
    bench.decided(recipe, UNDECIDED)
    drive(bench, forwarder(bench, port=archive.port, tls=ours.tls), lambda found: found.sent == 3)
    archive.stop()
    sent = {path.stem: path.read_bytes()[meta_end(path) :] for path in bench.spool.instances.rglob("*.dcm")}
    received = {
        str(dcmread(path).SOPInstanceUID): path.read_bytes()[meta_end(path) :] for path in archive.files()
    }
    assert received == sent


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ca": "other"}, "TLS failed: certificate refused: "),
        ({"certificate": None, "key": None}, ""),
        ({"ca": "missing"}, "the certificates of tls cannot be used: No such file or directory"),
    ],
)
def test_tls_without_trust_delivers_nothing(
    bench: Bench, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    """A peer of another authority gets nothing, one that wants a certificate takes nothing; both are told."""
    authority = trustme.CA()
    archive = TlsArchive(tmp_path / "archive", free_port()).listen(tmp_path / "theirs", authority)
    ours = papers(tmp_path / "ours", "node.hospital", authority)
    files = {"other": str(papers(tmp_path / "other").ca), "missing": str(tmp_path / "nowhere.pem")}
    tls = {key: files.get(value, value) for key, value in (ours.tls | change).items()}
    bench.decided(Recipe(n=1), UNDECIDED)
    drive(bench, forwarder(bench, port=archive.port, tls=tls), lambda found: found.last_at is not None)
    archive.stop()
    assert archive.files() == []
    assert sentence in comments(bench)[0]


def test_tls_is_what_bcp_195_asks_for() -> None:
    """Nothing older than TLS 1.2, the peer is always authenticated, all ciphers have forward secrecy."""
    context = client_context(Tls())
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    old = [each["name"] for each in context.get_ciphers() if each["protocol"] != "TLSv1.3"]
    assert old
    assert all(name.startswith("ECDHE") and ("GCM" in name or "POLY1305" in name) for name in old)


def web(archive: Orthanc, **more: Any) -> dict[str, Any]:
    """Describe Orthanc as a DICOMweb destination."""
    return {"type": "dicomweb", "url": archive.web} | more


def test_stow_into_orthanc_and_read_back(bench: Bench, tmp_path: Path) -> None:
    """Relabelled copies go into Orthanc by STOW-RS, with a login, and count once QIDO-RS finds them."""
    bench.decided(Recipe(n=3, body_part="HEAD"), knee(3), (Route("archive", WRITE),))
    archive = Orthanc(tmp_path / "orthanc", overwrite=False)
    archive.configure(AuthenticationEnabled=True, RegisteredUsers={"bodytag": "a secret"})
    with archive.running():
        wrong = forwarder(bench, **web(archive, user="bodytag", password="b secret"))
        drive(bench, wrong, lambda found: found.last_at is not None)
        right = forwarder(bench, **web(archive, user="bodytag", password="a secret", verify=True))
        drive(bench, right, lambda found: found.sent == 3)
        assert archive.terms(("bodytag", "a secret")) == ["KNEE"] * 3
    told = comments(bench)
    assert "the server answered HTTP 401 Unauthorized" in told[0]
    assert told[-3:] == ["HTTP 200 read back"] * 3
    assert not any("secret" in each for each in told)


def test_stow_over_https_with_both_certificates(bench: Bench, tmp_path: Path) -> None:
    """A server gets instances over HTTPS from who shows a certificate; nobody else gets in, either way."""
    authority = trustme.CA()
    theirs = papers(tmp_path / "theirs", "127.0.0.1", authority)
    ours = papers(tmp_path / "ours", "node.hospital", authority)
    bench.decided(Recipe(n=2), UNDECIDED)
    with web_peer(tls=theirs) as peer:
        for tls in ({"ca": str(ours.ca)}, papers(tmp_path / "other").tls):
            forwarder(bench, type="dicomweb", url=peer.url, tls=tls).deliver_due(threading.Event())
        assert peer.bodies == []
        right = forwarder(bench, type="dicomweb", url=peer.url, tls=ours.tls)
        drive(bench, right, lambda found: found.sent == 2)
        assert len(peer.bodies) == 2
    told = comments(bench)
    assert told[1].startswith(f"{peer.url} TLS failed: certificate refused: ")
    assert told[2:] == ["HTTP 200"] * 2


@pytest.mark.parametrize("kind", ["dicom", "dicomweb"])
@pytest.mark.parametrize("policy", [WRITE, NEW_SERIES])
def test_an_archive_that_keeps_the_old_tag_is_found_out(
    bench: Bench, tmp_path: Path, kind: str, policy: str
) -> None:
    """Orthanc answers Success and keeps what it has: reading back tells, unless the copies are new ones."""
    recipe = Recipe(n=2, body_part="HEAD")
    bench.decided(recipe, knee(2), (Route("archive", policy),))
    orthanc = Orthanc(tmp_path / "orthanc", overwrite=False)
    orthanc.configure(DicomAlwaysAllowFind=True)
    with orthanc.running() as archive:
        assert storescu(archive.port, write(tmp_path / "in", recipe), "-aec", "ARCHIVE").returncode == 0
        way = web(archive) if kind == "dicomweb" else {"port": archive.port}
        drive(bench, forwarder(bench, verify=True, **way), lambda found: not found.pending)
        expected = ["HEAD"] * 2 if policy == WRITE else ["HEAD"] * 2 + ["KNEE"] * 2
        assert archive.terms() == expected
    if policy == WRITE:
        older = "it has the instance with Body Part Examined HEAD, not KNEE: it keeps what it got before"
        assert comments(bench) == [older] * 2
        assert bench.rows()[0].state == "failed"
    else:
        assert bench.rows()[0].state == "delivered"


def test_what_is_not_found_again_is_sent_again(bench: Bench, tmp_path: Path) -> None:
    """storescp answers Success but knows no C-FIND: nothing counts as delivered."""
    archive = Archive(tmp_path / "archive", free_port()).start("+B")
    bench.decided(Recipe(n=1), UNDECIDED)
    forward = forwarder(bench, port=archive.port, verify=True, verify_within_s=0.1)
    summary = drive(bench, forward, lambda found: found.last_at is not None)
    archive.stop()
    assert summary.pending == 1
    assert summary.last_status == 0
    assert "stored, as it said, but not read back: " in comments(bench)[0]


def test_a_folder_gets_each_instance_once(bench: Bench, tmp_path: Path) -> None:
    """Files lie under their UIDs with the bytes of the spool; the same again changes nothing."""
    folder = tmp_path / "share"
    bench.decided(Recipe(n=3), UNDECIDED)
    forward = forwarder(bench, type="folder", folder=str(folder), verify=True)
    drive(bench, forward, lambda found: found.last_at is not None)
    assert comments(bench) == [f"the folder {folder} is not there"]
    folder.mkdir()
    drive(bench, forward, lambda found: found.sent == 3)
    sent = {path.relative_to(bench.spool.instances): path for path in bench.spool.instances.rglob("*.dcm")}
    assert {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} == set(sent)
    assert all((folder / name).read_bytes() == path.read_bytes() for name, path in sent.items())


def test_a_folder_never_replaces_a_file(bench: Bench, tmp_path: Path) -> None:
    """What lies there with other content stays; the instance is put aside with the reason."""
    recipe = Recipe(n=1)
    bench.decided(recipe, UNDECIDED)
    [(_, [name])] = bench.spool.series()
    place = tmp_path / "share" / name
    place.parent.mkdir(parents=True)
    place.write_bytes(b"somebody's")
    forward = forwarder(bench, type="folder", folder=str(tmp_path / "share"))
    summary = drive(bench, forward, lambda found: found.failed == 1)
    assert summary.last_comment == f"another file is there already: {place.name}"
    assert [path.read_bytes() for path in place.parent.iterdir()] == [b"somebody's"]
