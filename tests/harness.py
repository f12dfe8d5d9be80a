"""What the tests of the node share: a running node, dcmtk as its peers, and waiting with a deadline."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

from db.queries import Filters, ImageRow, SeriesRow, image_rows, series_rows
from db.session import open_database
from node.delivery.scu import Peer, echo
from node.delivery.transport import PeerError
from node.settings.config import Config, load

_PAUSE = threading.Event()
DEADLINE_S = 120.0


def wait_until(true: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Return the first true value of `true()`; fail the test when the deadline passes without one."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        found = true()
        if found:
            return found
        _PAUSE.wait(0.02)
    raise AssertionError(f"not within {deadline_s:g} s: {what}")


_GIVEN: Final[deque[int]] = deque(maxlen=1000)
"""The ports that were given last: whoever has one need not listen on it yet."""


def free_port() -> int:
    """Return a port that nobody listened on a moment ago, and that no outgoing connection will take.

    Linux takes the ports of outgoing connections from 32768 on. Tests that run side by side share none, and
    no test gets one twice.
    """
    beside = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
    ports = set(range(20000 + 3000 * beside, 23000 + 3000 * beside)).difference(_GIVEN)
    for port in random.sample(sorted(ports), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _GIVEN.append(port)
            return port
    raise AssertionError("a hundred ports are taken")


def peers_path() -> str:
    """Return PATH without this Python's folder, and with those of servers, which not every PATH has.

    pynetdicom installs a storescp and others beside Python; an active environment puts them first.
    """
    ours = Path(sys.executable).parent
    folders = [folder for folder in os.get_exec_path() if Path(folder) != ours]
    return os.pathsep.join([*folders, "/usr/sbin", "/sbin"])


def command(name: str) -> str:
    """Return the path of a peer's program; fail with a sentence where it is missing."""
    found = shutil.which(name, path=peers_path())
    assert found, f"{name} is missing; run: make peers"
    return found


@dataclass
class RunningNode:
    """A node as its users run it: a process, a configuration file, a spool and a database."""

    folder: Path
    settings: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None
    log: Path = field(init=False)
    module: str = "node"
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = self.folder / "node.log"

    @property
    def config_path(self) -> Path:
        """Where the configuration lies."""
        return self.folder / "node.yaml"

    @property
    def config(self) -> Config:
        """The configuration as the node reads it."""
        return load(self.config_path)

    @property
    def port(self) -> int:
        """Where the node listens."""
        return int(self.settings["receive"]["port"])

    def start(self) -> "RunningNode":
        """Write the configuration, start the process, and wait until it answers C-ECHO."""
        self.config_path.write_text(yaml.safe_dump(self.settings), encoding="utf-8")
        arguments = [sys.executable, "-W", "error", "-m", self.module, "serve", "-c", str(self.config_path)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                arguments, stderr=log, stdout=log, env={**os.environ, **self.environment}
            )
        wait_until(self._answers, "the node answers C-ECHO")
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the node ended: {self.log.read_text(errors='replace')}"
        try:
            return echo(Peer("BODYTAG", "127.0.0.1", self.port, "TEST", 5)) == 0
        except PeerError:
            return False

    def kill(self) -> None:
        """Kill the node as the kernel would: no handler runs. Its worker ends when its pipe closes."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE_S)

    def stop(self) -> int:
        """Ask the node to end, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def workers(self) -> list[int]:
        """Return the process numbers of the inference processes that run now."""
        assert self.process is not None
        found = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):  # it ended just now
                if any("spawn_main" in word for word in child.cmdline()):
                    found.append(child.pid)
        return found

    def receivers(self) -> list[int]:
        """Return the process numbers of the receivers that have said that they are ready, and live."""
        told = re.findall(r"a receiver process is ready\s+pid=(\d+)", self.log.read_text(errors="replace"))
        return [pid for pid in map(int, told) if psutil.pid_exists(pid)]

    def rows(self, **filters: Any) -> list[SeriesRow]:
        """Ask the node's database for series."""
        database = open_database(self.config.database.url)
        try:
            with database.reading() as session:
                return series_rows(session, Filters(**filters))
        finally:
            database.close()

    def images(self, series_id: int) -> list[ImageRow]:
        """Ask the node's database for the images of a series."""
        database = open_database(self.config.database.url)
        try:
            with database.reading() as session:
                return image_rows(session, series_id)
        finally:
            database.close()

    def wait_for_state(self, state: str, count: int = 1, deadline_s: float = DEADLINE_S) -> list[SeriesRow]:
        """Wait until `count` series are in a state, and return them."""

        def reached() -> list[SeriesRow]:
            found = self.rows(state=state)
            return found if len(found) >= count else []

        try:
            return list(wait_until(reached, f"{count} series {state}", deadline_s))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log.read_text(errors='replace')[-4000:]}") from error

    def bodytag(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `bodytag` with this node's configuration."""
        return subprocess.run(
            [sys.executable, "-m", "node", *arguments, "-c", str(self.config_path)],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )


def make_node(folder: Path, *destinations: dict[str, Any], **sections: dict[str, Any]) -> RunningNode:
    """Describe a node in `folder` that takes from anybody and forwards to these destinations.

    It receives by itself unless more `processes` are asked for: each takes a second of a core to start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    receive = {"host": "127.0.0.1", "port": free_port(), "promiscuous": True, "processes": 1}
    settings: dict[str, Any] = {
        "receive": receive | sections.pop("receive", {}),
        "spool": {"folder": "spool", "minimum_free": "1MiB"} | sections.pop("spool", {}),
        "series": {"stable_age_s": 0.5} | sections.pop("series", {}),
        "web": {"enabled": False} | sections.pop("web", {}),
        "destinations": list(destinations),
    }
    return RunningNode(folder, settings | sections)


@contextmanager
def running(node: RunningNode) -> Iterator[RunningNode]:
    """Run a node until the block ends; it must then end properly."""
    node.start()
    try:
        yield node
    finally:
        if node.process is not None and node.process.poll() is None:
            status = node.stop()
            assert status == 0, node.log.read_text(errors="replace")


@dataclass
class Archive:
    """dcmtk's storescp as a destination."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, **environment: str) -> "Archive":
        """Start it, with more variables in its environment where given, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = [command("storescp"), "-aet", "ARCHIVE", "-od", str(self.folder), *(options or ("+xa",))]
        self.process = subprocess.Popen(
            [*arguments, str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TCP_NODELAY": "1", **environment},
        )
        wait_until(self._answers, "storescp answers C-ECHO")
        return self

    def _answers(self) -> bool:
        try:
            return echo(Peer("ARCHIVE", "127.0.0.1", self.port, "TEST", 5)) == 0
        except PeerError:
            return False

    def stop(self) -> None:
        """Kill it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(DEADLINE_S)
            self.process = None

    def files(self) -> list[Path]:
        """Return what it received so far, complete files only."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())

    def destination(self, name: str = "archive", **more: Any) -> dict[str, Any]:
        """Return the node's configuration of this destination."""
        retry = {"first_s": 0.1, "maximum_s": 0.5} | more.pop("retry", {})
        return {
            "name": name,
            "ae_title": "ARCHIVE",
            "host": "127.0.0.1",
            "port": self.port,
            "timeout_s": 10,
            "retry": retry,
        } | more


def storescu(port: int, files: Sequence[Path], *options: str) -> subprocess.CompletedProcess[str]:
    """Send files with dcmtk's storescu, each in its own transfer syntax."""
    return subprocess.run(
        [
            command("storescu"),
            "-aec",
            "BODYTAG",
            "-aet",
            "TEST",
            *options,
            "127.0.0.1",
            str(port),
            *map(str, files),
        ],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "TCP_NODELAY": "1"},
    )


def parsed(text: str) -> Any:
    """Read the JSON that a command printed."""
    return json.loads(text)
