"""Reports of commitment on an association of their own over TLS, with certificates on both sides."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel

from db.commitments import CommitmentWork
from node.delivery.transport import PeerError
from node.intake.commitment_wire import report_anew
from node.settings.commitment import CommitmentPeer
from tests.db.values import NOW
from tests.node.delivering import Papers, papers

WORK = CommitmentWork(1, "1.2.3", "CT1", NOW, ((str(CTImageStorage), "1.2.4"),), (), 0)


@contextmanager
def listening(issued: Papers) -> Iterator[tuple[int, list[int]]]:
    """Listen for reports from those who show a certificate of the authority; gives the port and what came."""
    heard: list[int] = []

    def on_report(event: evt.Event) -> tuple[int, None]:
        heard.append(event.request.EventTypeID)
        return 0x0000, None

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=issued.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(issued.certificate, issued.key)
    ae = AE("CT1")
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    server = ae.start_server(
        ("127.0.0.1", 0),
        block=False,
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, on_report)],
        ssl_context=context,
    )
    try:
        yield int(server.socket.getsockname()[1]), heard
    finally:
        server.shutdown()


def test_reports_go_over_tls_to_those_who_are_trusted(tmp_path: Path) -> None:
    """With the right authority and certificate the report arrives; another is refused, with the reason."""
    issued, other = papers(tmp_path / "a"), papers(tmp_path / "b")
    with listening(issued) as (port, heard):
        address = {"ae_title": "CT1", "host": "127.0.0.1", "port": port}
        peer = CommitmentPeer.model_validate(address | {"tls": issued.tls})
        assert report_anew(WORK, "BODYTAG", peer, 30) == 0x0000
        wrong = CommitmentPeer.model_validate(address | {"tls": issued.tls | {"ca": str(other.ca)}})
        with pytest.raises(PeerError, match="TLS failed: certificate refused"):
            report_anew(WORK, "BODYTAG", wrong, 30)
    assert heard == [1]
