"""What a process without a page tells those who watch it: /metrics, /live and /ready, over plain HTTP."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from node import metrics

_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_PATIENCE_S: Final = 5


class Status:
    """Answers on an address; raises OSError where that is taken."""

    def __init__(self, host: str, port: int, ready: Callable[[], bool]) -> None:
        class Handler(BaseHTTPRequestHandler):
            """One request, one answer."""

            timeout = _PATIENCE_S

            def do_GET(self) -> None:
                """Answer."""
                self._answer(*_answer(self.path.split("?")[0], ready))

            def _answer(self, code: int, body: bytes) -> None:
                self.send_response(code)
                self.send_header("Content-Type", _TEXT)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Write nothing: somebody asks every few seconds."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from here on."""
        threading.Thread(target=self._server.serve_forever, name="status", daemon=True).start()

    def stop(self) -> None:
        """Close the address."""
        self._server.shutdown()
        self._server.server_close()


def _answer(path: str, ready: Callable[[], bool]) -> tuple[int, bytes]:
    if path == "/metrics":
        return 200, metrics.exposition()
    if path == "/live":
        return 200, b"alive\n"
    if path == "/ready":
        return (200, b"ready\n") if ready() else (503, b"not ready\n")
    return 404, b"there are /metrics, /live and /ready\n"
