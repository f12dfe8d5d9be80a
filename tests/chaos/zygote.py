"""A process that has imported everything and forks nodes and workers, so that one may die a hundred times.

Starting a node takes seconds of importing; forked from here it lives at once. Neither shares anything with
the other: both come from this process, which has no threads, no sockets of a node's and no database.
"""

import os
import pickle
import signal
import socket
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import psutil

from node import worker
from tests.chaos import victim
from tests.chaos.forked import Gone, ask

_MESSAGE_BYTES: Final = 1 << 20
_LOOK_S: Final = 5.0
"""How often it is asked whether anybody is left who could ask for something."""


def serve(address: Path, *modules: str) -> None:
    """Fork whatever is asked for, until killed; `modules` are imported beforehand, too.

    Where the process that started this one is killed, all that was forked ends with it.
    """
    parent = os.getppid()
    for name in ("node.cli.app", *modules):
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children, the kernel buries them
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
        server.listen()
        server.settimeout(_LOOK_S)
        while True:
            try:
                asked, _ = server.accept()
            except TimeoutError:
                if os.getppid() != parent:
                    _end()
                continue
            message, handles, _, _ = socket.recv_fds(asked, _MESSAGE_BYTES, 1)
            if not message:
                asked.close()
                continue
            child = os.fork()
            if not child:
                server.close()
                asked.close()
                _live(address, pickle.loads(message), handles)  # noqa: S301 - from the tests themselves
            for handle in handles:
                os.close(handle)
            with suppress(OSError):  # whoever asked was killed meanwhile
                asked.sendall(str(child).encode())
            asked.close()


def _end() -> None:
    for child in psutil.Process().children(recursive=True):
        child.kill()
    sys.exit()


def _live(address: Path, request: dict[str, Any], handles: list[int]) -> None:
    """Be a node, or a worker, until it ends; never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status = 1
    try:
        if "log" in request:
            log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
        victim.prepare(request["faults"])
        if handles:
            worker.main(Connection(handles[0]), request["config"])
        else:
            _fork_workers_here(address, request["faults"])
            import_module("node.cli.app").app(request["arguments"], standalone_mode=False)
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - it ends here, whatever it was
        traceback.print_exc()
    if "ended" in request:
        Path(request["ended"]).write_text(str(status))
    os._exit(status)


def _fork_workers_here(address: Path, faults: dict[str, Any]) -> None:
    """Have the dispatcher start its workers from this process instead of from nothing."""

    class Worker(Gone):
        """Stands in for a multiprocessing.Process."""

        def __init__(self, target: Any, args: tuple[Connection, Any], daemon: bool) -> None:
            super().__init__(0)
            del target, daemon
            self._connection, self._config = args

        def start(self) -> None:
            """Ask for a worker that has this end of the pipe."""
            request = {"faults": faults, "config": self._config}
            self.pid = ask(address, request, [self._connection.fileno()])

    dispatch = import_module("node.delivery.dispatch")
    context = SimpleNamespace(Pipe=Pipe, Process=Worker)
    dispatch.multiprocessing = SimpleNamespace(get_context=lambda _: context)  # type: ignore[attr-defined]


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        serve(Path(sys.argv[1]), *sys.argv[2:])
