"""A node that is forked by the zygote, as the harness sees it: a process, started in milliseconds."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

from tests.harness import DEADLINE_S, RunningNode, wait_until

_PAUSE: Final = threading.Event()


def ask(address: Path, request: dict[str, Any], handles: list[int]) -> int:
    """Ask the zygote for a child and return its process number."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(str(address))
        socket.send_fds(asked, [pickle.dumps(request)], handles)
        return int(asked.recv(64))


class Gone:
    """A process that is not our child: alive or gone, and no more is known of its end."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def is_alive(self) -> bool:
        """Tell whether it is there."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        """Kill it, if it is there."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def join(self, timeout: float = DEADLINE_S) -> None:
        """Wait until it is gone."""
        end = time.monotonic() + timeout
        while self.is_alive() and time.monotonic() < end:
            _PAUSE.wait(0.01)

    @property
    def exitcode(self) -> int | None:
        """Say that it was killed, which is what happens here."""
        return None if self.is_alive() else -signal.SIGKILL


class ForkedNode(Gone):
    """A node as `subprocess.Popen` would show it; its exit status lies in the file `ended`."""

    def __init__(self, pid: int, ended: Path) -> None:
        super().__init__(pid)
        self._ended = ended

    def poll(self) -> int | None:
        """Return how it ended, None while it lives."""
        if self.is_alive():
            return None
        return int(self._ended.read_text()) if self._ended.exists() else -signal.SIGKILL

    def wait(self, timeout: float = DEADLINE_S) -> int:
        """Wait until it is gone and return how it ended."""
        self.join(timeout)
        status = self.poll()
        assert status is not None, f"the node does not end within {timeout:g} s"
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass
class QuickNode(RunningNode):
    """A running node whose processes come from a zygote of its own."""

    faults: dict[str, Any] = field(default_factory=dict)
    zygote: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> Path:
        """Where the zygote listens."""
        return self.folder / "zygote"

    def start(self) -> "QuickNode":
        """Write the configuration, have the node forked, and wait until it answers C-ECHO."""
        self.config_path.write_text(yaml.safe_dump(self.settings), encoding="utf-8")
        if self.zygote is None or self.zygote.poll() is not None:
            self.address.unlink(missing_ok=True)
            self._start_zygote()
        ended = self.folder / "ended"
        ended.unlink(missing_ok=True)
        request = {
            "faults": self.faults,
            "arguments": ["serve", "-c", str(self.config_path)],
            "log": str(self.log),
            "ended": str(ended),
        }
        try:
            self.process = ForkedNode(ask(self.address, request, []), ended)  # type: ignore[assignment]
        except OSError as error:
            raise AssertionError(f"no node was forked: {error!r}") from error
        wait_until(self._answers, "the node answers C-ECHO")
        return self

    def _start_zygote(self) -> None:
        arguments = [sys.executable, "-W", "error", "-m", "tests.chaos.zygote", str(self.address)]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        with self.log.open("ab") as log:
            self.zygote = subprocess.Popen(arguments, stdout=log, stderr=log, env=environment)
        wait_until(self.address.exists, "the zygote listens")

    def workers(self) -> list[int]:
        """Return the process numbers of the workers that live now."""
        assert self.zygote is not None
        assert self.process is not None
        children = psutil.Process(self.zygote.pid).children()
        return [child.pid for child in children if child.pid != self.process.pid]

    def end(self) -> None:
        """Kill all that came from the zygote, and the zygote."""
        if self.zygote is not None:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(self.zygote.pid).children():
                    child.kill()
            self.zygote.kill()
            self.zygote.wait(DEADLINE_S)
