"""Orthanc as a peer of the tests, with its DICOMweb plugin, on free ports and with a storage of its own."""

import json
import os
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import requests

from tests.harness import free_port, wait_until

PLUGIN: Final = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


class Orthanc:
    """Orthanc as Debian packages it, on free ports, with a storage of its own."""

    def __init__(self, folder: Path, overwrite: bool) -> None:
        self.port, self._http = free_port(), free_port()
        folder.mkdir()
        self._config = folder / "orthanc.json"
        self.pid = 0
        """Of its process, while it runs."""
        settings = {
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "DicomAet": "ARCHIVE",
            "DicomPort": self.port,
            "HttpPort": self._http,
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False,
            "DicomAlwaysAllowStore": True,
            "OverwriteInstances": overwrite,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        self._settings: dict[str, Any] = settings
        self.web = f"http://127.0.0.1:{self._http}/dicom-web"
        self.configure()

    def configure(self, **more: Any) -> None:
        """Write its configuration, with more settings than the usual ones."""
        self._config.write_text(json.dumps(self._settings | more))

    @contextmanager
    def running(self) -> Iterator["Orthanc"]:
        """Run it until the block ends."""
        with subprocess.Popen(
            ["/usr/sbin/Orthanc", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TCP_NODELAY": "1"},
        ) as process:
            self.pid = process.pid
            try:
                wait_until(self._answers, "Orthanc answers", 60)
                yield self
            finally:
                process.terminate()

    def _answers(self) -> bool:
        """Tell whether somebody listens on both ports, whatever may be asked by whom: DICOM comes last."""
        try:
            for port in (self._http, self.port):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    def get(self, path: str, login: tuple[str, str] | None = None) -> Any:
        """Ask its REST interface."""
        answer = requests.get(f"http://127.0.0.1:{self._http}/{path}", auth=login, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, content: Any) -> Any:
        """Send JSON to its REST interface."""
        url = f"http://127.0.0.1:{self._http}/{path}"
        with urllib.request.urlopen(url, json.dumps(content).encode(), timeout=10) as answer:
            return json.load(answer)

    def tags(self, modality: str = "CT", login: tuple[str, str] | None = None) -> list[dict[str, Any]]:
        """Return the attributes of every instance of a modality that it has, by their keywords."""
        found = [
            self.get(f"instances/{each}/simplified-tags", login) for each in self.get("instances", login)
        ]
        return [each for each in found if each.get("Modality") == modality]

    def terms(self, login: tuple[str, str] | None = None) -> list[str]:
        """Return the BodyPartExamined of every CT instance that it has."""
        return sorted(each.get("BodyPartExamined", "") for each in self.tags(login=login))
