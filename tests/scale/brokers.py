"""Real, throw-away brokers from Debian's packages: RabbitMQ and Redis, on loopback, each in a folder."""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from kombu import Connection

from tests.harness import DEADLINE_S, command, free_port, wait_until

RABBITMQ: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The server itself: the script of that name in /usr/sbin would change to a user that owns the system's."""


class BrokerServer:
    """A broker that can be killed and started again with what it had on its disk."""

    url: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start it and wait until it takes a connection."""
        self.begin()
        self.wait()

    def wait(self) -> None:
        """Wait until it takes a connection."""
        wait_until(self._answers, f"the broker answers: {self.folder}")

    def begin(self) -> None:
        """Start it."""
        environment = {**os.environ, **self.environment()}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments(), stdout=log, stderr=log, env=environment, start_new_session=True
            )

    def kill(self) -> None:
        """Kill it and all that belongs to it, as a crash would."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(DEADLINE_S)
            self.process = None

    def close(self) -> None:
        """End it for good."""
        self.kill()

    def environment(self) -> dict[str, str]:
        """Return what it is told by its environment."""
        return {}

    def arguments(self) -> list[str]:
        """Return how it is started."""
        raise NotImplementedError

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")[-2000:]
        with suppress(Exception), Connection(self.url, connect_timeout=2) as connection:
            connection.ensure_connection(max_retries=1, timeout=2)
            with connection.channel():
                return True
        return False


class RabbitMq(BrokerServer):
    """RabbitMQ with one scheduler, its port mapper on a port of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        assert RABBITMQ.exists(), "RabbitMQ is missing; run: make peers"
        self._port, self._distribution, self._mapper = free_port(), free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}//"
        (folder / "rabbitmq.conf").write_text(
            "consumer_timeout = 7200000\nvm_memory_high_watermark.absolute = 1GB\n"
        )
        (folder / "plugins").write_text("[].\n")

    def environment(self) -> dict[str, str]:
        """Keep everything in the folder and on loopback."""
        folder = self.folder
        return {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"bodytag{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._distribution),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            "ERL_EPMD_PORT": str(self._mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",  # so that it can be told to end
        }

    def arguments(self) -> list[str]:
        """Start the server in the foreground."""
        return [str(RABBITMQ)]

    def close(self) -> None:
        """End it, and the port mapper that it has started."""
        super().close()
        subprocess.run(
            [command("epmd"), "-port", str(self._mapper), "-kill"],
            capture_output=True,
            check=False,
        )


class Redis(BrokerServer):
    """Redis that writes every change to its disk before it answers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port, self._password = free_port(), secrets.token_hex(8)
        self.url = f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def arguments(self) -> list[str]:
        """Start the server in the foreground."""
        options = {
            "port": str(self._port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "requirepass": self._password,
        }
        return [
            command("redis-server"),
            *(word for name, value in options.items() for word in (f"--{name}", value)),
        ]


@contextmanager
def broker(kind: str, folder: Path) -> Iterator[BrokerServer]:
    """Begin a broker, `rabbitmq` or `redis`, that ends with the block, as does its folder."""
    made: BrokerServer = RabbitMq(folder) if kind == "rabbitmq" else Redis(folder)
    try:
        made.begin()
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)
