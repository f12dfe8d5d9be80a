"""Storage commitment between a running node and its peers: pynetdicom and Orthanc as SCU, kills between."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, uid
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import CTImageStorage, StorageCommitmentPushModel

from tests.builders import Recipe, series, write
from tests.harness import RunningNode, free_port, make_node, running, storescu, wait_until
from tests.orthanc import Orthanc

INSTANCE = "1.2.840.10008.1.20.1.1"


@dataclass
class Asker:
    """A modality that asks for commitment, and listens for reports."""

    title: str = "CT1"
    port: int = field(default_factory=free_port)
    reports: list[tuple[int, Dataset]] = field(default_factory=list)
    status: int = 0x0000

    def heard(self, event: evt.Event) -> tuple[int, None]:
        """Keep a report."""
        self.reports.append((event.request.EventTypeID, event.event_information))
        return self.status, None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen on a port of its own until the block ends."""
        ae = AE(self.title)
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, self.heard)]
        server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        try:
            yield
        finally:
            server.shutdown()

    def ask(
        self,
        node: RunningNode,
        references: list[tuple[str, str]],
        before_release: Callable[[], Any] = lambda: None,
        transaction: str | None = None,
        **options: Any,
    ) -> int:
        """Send N-ACTION, do something, release; return the status."""
        ae = AE(self.title)
        ae.add_requested_context(StorageCommitmentPushModel)
        ae.add_requested_context(CTImageStorage)
        association = ae.associate(
            "127.0.0.1",
            node.port,
            ae_title="BODYTAG",
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self.heard)],
            ext_neg=[build_role(StorageCommitmentPushModel, scu_role=True)],
        )
        assert association.is_established
        request = Dataset()
        request.TransactionUID = transaction or uid.generate_uid()
        request.ReferencedSOPSequence = []
        for sop_class, instance in references:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
            request.ReferencedSOPSequence.append(item)
        action = {"action_type": 1, "instance_uid": INSTANCE} | options
        answer, _ = association.send_n_action(
            request, action["action_type"], StorageCommitmentPushModel, action["instance_uid"]
        )
        before_release()
        association.release()
        return int(answer.Status)

    def wait(self, count: int = 1) -> Any:
        """Wait for so many reports; return the last one."""
        wait_until(lambda: len(self.reports) >= count, f"{count} reports")
        return self.reports[-1]


def references(files: list[Path]) -> list[tuple[str, str]]:
    """Name the instances of files."""
    return [(str(CTImageStorage), path.stem) for path in files]


def asking_node(folder: Path, asker: Asker | None, processes: int = 1, **commitment: Any) -> RunningNode:
    """Describe a node that reports to the asker's port."""
    peers = [{"ae_title": asker.title, "host": "127.0.0.1", "port": asker.port}] if asker else []
    retry = {"first_s": 0.2, "maximum_s": 0.5}
    settings = {"peers": peers, "retry": retry, "wait_s": 2} | commitment
    return make_node(folder, commitment=settings, receive={"processes": processes})


def uids(sequence: Any) -> list[str]:
    """Return the SOP Instance UIDs of a report's sequence."""
    return sorted(str(each.ReferencedSOPInstanceUID) for each in sequence)


def test_reports_come_on_the_same_association(tmp_path: Path) -> None:
    """Asked right after sending, the node waits until the series is registered, and reports then."""
    asker, files = Asker(), series(tmp_path / "in", n=5)
    with running(asking_node(tmp_path / "node", None)) as node:
        assert storescu(node.port, files).returncode == 0
        assert asker.ask(node, references(files), asker.wait) == 0x0000
        kind, report = asker.wait()
        assert kind == 1
        assert uids(report.ReferencedSOPSequence) == sorted(path.stem for path in files)
        assert "FailedSOPSequence" not in report
        wait_until(lambda: "storage commitment reported" in node.log.read_text(), "the node knows")
        assert "unexpected" not in node.log.read_text()


def test_what_is_not_durable_is_listed_with_its_reason(tmp_path: Path) -> None:
    """Missing, damaged, of another class, and two objects with one UID: each has its Failure Reason."""
    asker = Asker()
    files = series(tmp_path / "in", n=4)
    twice = Recipe(n=1, seed="twice")
    files += write(tmp_path / "one", twice)
    other = write(tmp_path / "two", Recipe(n=1, seed="twice", patient_id="OTHER"))
    with asker.listening(), running(asking_node(tmp_path / "node", asker)) as node:
        assert storescu(node.port, [*files, *other]).returncode == 0
        node.wait_for_state("delivered", 2)
        [damaged] = (node.config.spool.folder / "instances").rglob(f"{files[1].stem}.dcm")
        content = bytearray(damaged.read_bytes())
        content[-1] ^= 1
        damaged.write_bytes(content)
        [missing] = (node.config.spool.folder / "instances").rglob(f"{files[2].stem}.dcm")
        missing.unlink()
        asked = references(files)
        asked[3] = ("1.2.840.10008.5.1.4.1.1.4", asked[3][1])
        asked.append((str(CTImageStorage), "1.2.3.4"))
        assert asker.ask(node, asked) == 0x0000
        kind, report = asker.wait()
    assert kind == 2
    assert uids(report.ReferencedSOPSequence) == [files[0].stem]
    reasons = {str(each.ReferencedSOPInstanceUID): each.FailureReason for each in report.FailedSOPSequence}
    assert reasons == {
        files[1].stem: 0x0110,
        files[2].stem: 0x0110,
        files[3].stem: 0x0119,
        files[4].stem: 0x0110,
        "1.2.3.4": 0x0112,
    }


def test_a_report_survives_a_kill_and_a_deaf_peer(tmp_path: Path) -> None:
    """The node is killed after it took the request, and the peer hears only later: it is told, once."""
    asker, files = Asker(), series(tmp_path / "in", n=3)
    node = asking_node(tmp_path / "node", asker)
    node.start()
    assert storescu(node.port, files).returncode == 0
    assert asker.ask(node, references(files)) == 0x0000
    node.kill()
    with running(node):
        wait_until(lambda: "commitment not reported" in node.log.read_text(), "the peer is deaf")
        asker.status = 0x0110
        with asker.listening():
            asker.wait(2)
            asker.status = 0x0000
            wait_until(lambda: "storage commitment reported" in node.log.read_text(), "the node knows")
            heard = len(asker.reports)
            assert asker.ask(node, references(files)) == 0x0000
            asker.wait(heard + 1)
    assert len(asker.reports) == heard + 1
    assert {kind for kind, _ in asker.reports} == {1}


def test_requests_that_are_none_are_refused(tmp_path: Path) -> None:
    """Another SOP instance, another action, no instances, too many, a transaction with other instances."""
    asker, files = Asker(), series(tmp_path / "in", n=3)
    with running(asking_node(tmp_path / "node", None, maximum_instances=2, wait_s=60)) as node:
        two = references(files)[:2]
        assert asker.ask(node, two, instance_uid="1.2.3") == 0x0112
        assert asker.ask(node, two, action_type=2) == 0x0123
        assert asker.ask(node, []) == 0x0115
        assert asker.ask(node, references(files)) == 0x0115
        assert asker.ask(node, two, transaction="1.2.3") == 0x0000
        assert asker.ask(node, two, transaction="1.2.3") == 0x0000
        assert asker.ask(node, two[:1], transaction="1.2.3") == 0x0110


def test_commitment_can_be_turned_off(tmp_path: Path) -> None:
    """Then the presentation context is refused."""
    ae = AE("CT1")
    ae.add_requested_context(StorageCommitmentPushModel)
    with running(asking_node(tmp_path / "node", None, enabled=False)) as node:
        association = ae.associate("127.0.0.1", node.port, ae_title="BODYTAG")
        assert not association.is_established


@pytest.mark.parametrize("missing", [False, True])
def test_orthanc_gets_its_commitment(tmp_path: Path, missing: bool) -> None:
    """Orthanc sends, asks, and is told on a new association: its own record says what was committed."""
    files = series(tmp_path / "in", n=3)
    orthanc = Orthanc(tmp_path / "orthanc", overwrite=False)
    node = make_node(
        tmp_path / "node",
        commitment={
            "peers": [{"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": orthanc.port}],
            "wait_s": 1,
        },
    )
    orthanc.configure(DicomModalities={"bodytag": ["BODYTAG", "127.0.0.1", node.port]})
    with running(node), orthanc.running():
        assert storescu(orthanc.port, files, "-aec", "ARCHIVE").returncode == 0
        if not missing:
            assert storescu(node.port, files).returncode == 0
        instances = orthanc.get("instances")
        asked = orthanc.post("modalities/bodytag/storage-commitment", {"Resources": instances})
        transaction = asked["ID"]

        def state() -> Any:
            found = orthanc.get(f"storage-commitment/{transaction}")
            return found if found["Status"] != "Pending" else None

        result = wait_until(state, "Orthanc was told")
    committed = sorted(each["SOPInstanceUID"] for each in result["Success"])
    assert committed == ([] if missing else sorted(path.stem for path in files))
    assert result["Status"] == ("Failure" if missing else "Success")
    if missing:
        assert {each["FailureReason"] for each in result["Failures"]} == {0x0112}
