"""A bad line: a proxy that cuts after so many bytes, or lets the answers drip."""

import socket
import threading
from contextlib import suppress
from types import TracebackType

_PAUSE = threading.Event()


class Proxy:
    """Listens on a port of its own and passes on to another; `cut_after` and `drip_s` may change meanwhile.

    `cut_after`: bytes from the requestor after which both sides are closed. `drip_s`: pause after each
    byte of the answers.
    """

    def __init__(self, port: int) -> None:
        self.cut_after: int | None = None
        self.drip_s: float = 0.0
        self.cuts = 0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ended = threading.Event()

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._ended.is_set():
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target), 5)
                except OSError:
                    near.close()
                    continue
                for each in (near, far):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._forth, args=(near, far), daemon=True).start()
                threading.Thread(target=self._back, args=(far, near), daemon=True).start()

    def _forth(self, near: socket.socket, far: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while data := near.recv(4096):
                limit = self.cut_after
                if limit is not None and passed + len(data) > limit:
                    far.sendall(data[: max(0, limit - passed)])
                    self.cuts += 1
                    break
                far.sendall(data)
                passed += len(data)
        _close(near, far)

    def _back(self, far: socket.socket, near: socket.socket) -> None:
        with suppress(OSError):
            while data := far.recv(4096):
                if not self.drip_s:
                    near.sendall(data)
                    continue
                for index in range(len(data)):
                    near.sendall(data[index : index + 1])
                    _PAUSE.wait(self.drip_s)
        _close(near, far)


def _close(*sides: socket.socket) -> None:
    for side in sides:
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
        side.close()
