"""STOW-RS into a running node: classified and delivered like the rest, committed, and safe from kills."""

from pathlib import Path
from typing import Any

import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from dicomweb_client.session_utils import create_session_from_user_pass
from pydicom import dcmread

from tests.builders import series
from tests.harness import Archive, RunningNode, free_port, make_node, wait_until
from tests.test_commitment import Asker, references

PASSWORD = "a-password-of-some-length"


def web_node(folder: Path, *destinations: dict[str, Any]) -> RunningNode:
    """Describe a node that listens for DICOMweb, too."""
    client = {"ae_title": "APP", "user": "app", "password": PASSWORD}
    web = {"enabled": True, "port": free_port(), "clients": [client]}
    return make_node(folder, *destinations, dicomweb=web, receive={"promiscuous": True})


def client_of(node: RunningNode) -> DICOMwebClient:
    """Make a client that may store."""
    url = f"http://127.0.0.1:{node.settings['dicomweb']['port']}/dicom-web"
    return DICOMwebClient(url, create_session_from_user_pass("app", PASSWORD))


@pytest.mark.timeout(600)
def test_what_came_by_web_is_delivered_and_committed(tmp_path: Path) -> None:
    """A series goes in by STOW-RS, half of it before a kill -9, and out by C-STORE, every instance once."""
    archive = Archive(tmp_path / "archive", free_port()).start()
    files, asker = series(tmp_path / "in", n=6), Asker()
    node = web_node(tmp_path / "node", archive.destination())
    try:
        node.start()
        answer = client_of(node).store_instances([dcmread(path) for path in files[:3]])
        assert len(answer.ReferencedSOPSequence) == 3
        node.kill()
        node.start()
        wait_until(lambda: stored(node, files[3:]), "the web server is back")
        node.wait_for_state("delivered", deadline_s=300)
        wait_until(lambda: len(archive.files()) == 6, "all arrived")
        [row] = node.rows()
        assert row.calling_ae_title == "APP"
        assert asker.ask(node, references(files), asker.wait) == 0x0000
        assert asker.reports[0][0] == 1
        assert node.stop() == 0
    finally:
        archive.stop()


def stored(node: RunningNode, files: list[Path]) -> bool:
    """Tell whether the node took these files."""
    try:
        answer = client_of(node).store_instances([dcmread(path) for path in files])
    except requests.ConnectionError:
        return False
    return len(answer.ReferencedSOPSequence) == len(files)
