"""The door: a listening socket, whose loop does nothing but accept.

What takes time, the handshake of TLS and the association request, is the business of a desk
(node/intake/desk.py), in this process or in another.
"""

import errno
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import structlog
from pynetdicom.transport import AddressInformation

log = structlog.get_logger()

_BACKLOG: Final = 128
_OUT_OF_HANDLES_S: Final = 0.2


class Door:
    """Listens, and gives each connection from an address that may knock to `take`, with that address."""

    def __init__(
        self,
        address: tuple[str, int],
        may_knock: Callable[[str], bool],
        take: Callable[[socket.socket, Any], None],
    ) -> None:
        """Take the address; raises OSError when it is taken."""
        self._may_knock = may_knock
        self._take = take
        self.socket = socket.socket(AddressInformation.from_tuple(address).address_family)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(address)
            self.socket.listen(_BACKLOG)
        except OSError:
            self.socket.close()
            raise

    @property
    def port(self) -> int:
        """The port that is listened on; of use where the configuration says 0."""
        return int(self.socket.getsockname()[1])

    def open(self) -> None:
        """Accept, in a thread of its own."""
        threading.Thread(target=self._accept, name="door", daemon=True).start()

    def close(self) -> None:
        """Stop listening; who was let in stays."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # wakes the loop
        self.socket.close()

    def _accept(self) -> None:
        while self.socket.fileno() >= 0:
            try:
                connection, peer = self.socket.accept()
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    log.error("no more connections can be accepted", reason=error.strerror)
                    threading.Event().wait(_OUT_OF_HANDLES_S)  # the connection still waits: this would spin
                continue
            self._show_in(connection, peer)

    def _show_in(self, connection: socket.socket, peer: Any) -> None:
        try:
            if self._may_knock(str(peer[0])):
                self._take(connection, peer)
                return
        except Exception:
            log.exception("a connection failed", address=str(peer[0]))
        connection.close()
