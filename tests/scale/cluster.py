"""An installation on several machines, as its admin runs it: a process for each role, real servers beside."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import requests
import yaml
from sqlalchemy.exc import SQLAlchemyError

from db.claims import processes
from db.session import DatabaseError, migrate, open_database
from node.delivery.scu import Peer, echo
from node.delivery.transport import PeerError
from tests.chaos.archive import Archive
from tests.chaos.forked import ForkedNode, ask
from tests.harness import DEADLINE_S, free_port, wait_until
from tests.postgres import Server
from tests.scale.brokers import BrokerServer, broker

MEMORY: Final = Path("/dev/shm")
ROLES: Final = ("receiver", "worker", "forwarder")


class Cluster:
    """Processes of several roles over one configuration; receivers differ in their port alone."""

    def __init__(self, folder: Path, database: Server, tasks: BrokerServer, **sections: Any) -> None:
        self.folder = folder
        self.database = database
        self.broker = tasks
        self.archive = Archive(folder / "archive")
        self.ports: dict[str, int] = {}
        self.status_ports: dict[str, int] = {}
        self.faults: dict[str, Any] = {}
        self.processes: dict[str, ForkedNode] = {}
        self._zygote: subprocess.Popen[bytes] | None = None
        self.settings: dict[str, Any] = {
            "receive": {"host": "127.0.0.1", "promiscuous": True, "processes": 1},
            "spool": {"folder": "spool", "minimum_free": "1MiB"},
            "series": {"stable_age_s": 1},
            "web": {"enabled": False},
            "classify": {"decoders": 0, "ct_series": "off"},
            "database": {"url": database.url, "migrate_on_start": False},
            "dispatch": "celery",
            "destinations": [self.archive.destination()],
            "log": {"format": "json"},
        }
        self.settings |= sections
        fast = {"broker": tasks.url, "lease_s": 4, "sweep_s": 1, "register_s": 0.2, "prior_after_days": None}
        self.settings["scaling"] = fast | sections.get("scaling", {})

    @property
    def origin(self) -> int:
        """The number of the process that all others are forked from."""
        assert self._zygote is not None
        return self._zygote.pid

    @property
    def log(self) -> Path:
        """What all processes say."""
        return self.folder / "log"

    def start(self, name: str, **scaling: Any) -> None:
        """Start the process of a name such as receiver-1, or start it again; its role is the first word."""
        role = name.split("-")[0]
        settings = dict(self.settings)
        status = {"status_port": self.status_ports.setdefault(name, free_port())}
        settings["scaling"] = {**settings["scaling"], **status, **scaling}
        if role == "receiver":
            settings["receive"] = {**settings["receive"], "port": self.ports.setdefault(name, free_port())}
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        ended = self.folder / f"{name}.ended"
        ended.unlink(missing_ok=True)
        request = {
            "faults": self.faults,
            "arguments": ["serve", "--role", role, "-c", str(path)],
            "log": str(self.log),
            "ended": str(ended),
        }
        self.processes[name] = ForkedNode(ask(self._address(), request, []), ended)

    def start_all(self, **counts: int) -> None:
        """Start so many processes of each role, and wait until they work."""
        names = [f"{role}-{number}" for role, count in counts.items() for number in range(1, count + 1)]
        for name in names:
            self.start(name)
        wait_until(lambda: all(self.answers(name) for name in names), f"all answer: {self.tail()}")
        wait_until(lambda: len(self.alive()) >= len(names), "all gave a sign of life")

    def answers(self, name: str) -> bool:
        """Tell whether a receiver answers C-ECHO; of others whether they live."""
        status = self.processes[name].poll()
        assert status is None, f"{name} ended with {status}: {self.tail()}"
        if name not in self.ports:
            return True
        try:
            return echo(Peer("BODYTAG", "127.0.0.1", self.ports[name], "TEST", 5)) == 0
        except PeerError:
            return False

    def asked(self, name: str, path: str) -> str:
        """Return what a process answers at its status port, "" where it does not."""
        with suppress(OSError), requests.get(self._status(name, path), timeout=5) as answer:
            return answer.text if answer.ok else ""
        return ""

    def _status(self, name: str, path: str) -> str:
        return f"http://127.0.0.1:{self.status_ports[name]}{path}"

    def alive(self) -> list[str]:
        """Return the roles of the processes that the database knows."""
        with suppress(SQLAlchemyError, DatabaseError):
            database = open_database(self.database.url)
            try:
                with database.reading() as session:
                    return [each.role for each in processes(session)]
            finally:
                database.close()
        return []

    def kill(self, name: str) -> None:
        """Kill a process as the kernel would."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].join()

    def stop(self, name: str) -> int:
        """Ask a process to end, and return its exit status."""
        self.processes[name].send_signal(signal.SIGTERM)
        return self.processes[name].wait()

    def port(self, chance: random.Random | None = None) -> int:
        """Return the port of a receiver, of any by chance, as a balancer would."""
        ports = sorted(self.ports.values())
        return ports[0] if chance is None else chance.choice(ports)

    def lines(self, **fields: object) -> list[dict[str, Any]]:
        """Return what was logged with these fields."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                if all(entry.get(name) == value for name, value in fields.items()):
                    found.append(entry)
        return found

    def tail(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def close(self) -> None:
        """Kill whatever still runs."""
        for process in self.processes.values():
            process.kill()
        if self._zygote is not None:
            self._zygote.kill()
            self._zygote.wait(DEADLINE_S)
        self.archive.stop()

    def begin(self) -> None:
        """Start the process that all others are forked from."""
        arguments = [sys.executable, "-W", "error", "-m", "tests.chaos.zygote", str(self.folder / "zygote")]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        with self.log.open("ab") as log:
            self._zygote = subprocess.Popen(
                [*arguments, "node.scaling.process"], stdout=log, stderr=log, env=environment
            )

    def _address(self) -> Path:
        """Return where that process listens."""
        address = self.folder / "zygote"
        wait_until(address.exists, "the zygote listens")
        return address


@contextmanager
def cluster(kind: str = "rabbitmq", **sections: Any) -> Iterator[Cluster]:
    """Run a database, a broker and an archive for a cluster whose processes are not started yet."""
    parent = MEMORY if MEMORY.is_dir() else None
    with ExitStack() as stack:
        servers = Path(tempfile.mkdtemp(prefix="bodytag-scale-"))
        stack.callback(shutil.rmtree, servers, ignore_errors=True)
        (servers / "postgres").mkdir()
        servers.chmod(0o755)  # PostgreSQL runs as a user of its own
        tasks = stack.enter_context(broker(kind, servers / kind))
        database = Server(servers / "postgres")
        stack.callback(database.stop)
        name = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="bodytag-scale-", dir=parent, ignore_cleanup_errors=True)
        )
        made = Cluster(Path(name), database, tasks, **sections)
        stack.callback(made.close)
        made.begin()
        database.start()
        migrate(database.url)
        made.archive.start()
        tasks.wait()
        yield made
