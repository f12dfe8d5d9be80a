"""The channel between the node and a process that receives for it: messages, some with a connection.

A message is a packet, one call of the system at either end; what is too long for one lies in a file of the
memory.
"""

import os
import pickle
import socket
import struct
from typing import Any, Final

_PACKET_BYTES: Final = 1 << 16
_PATIENCE_S: Final = 5
_LONG: Final = b"long"
"""Stands in for a message that lies in a file, whose handle comes along."""


class Channel:
    """One end; safe for any number of threads that send, and for one that receives.

    Linux keeps a dozen packets for an end that does not receive (net.unix.max_dgram_qlen); who sends one more
    waits. At the end that `pair` returns that is for a moment only: BlockingIOError, an OSError, is raised.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @classmethod
    def pair(cls) -> "tuple[Channel, socket.socket]":
        """Return an end of a new channel, and the other one to give away."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _PATIENCE_S, 0))
        return cls(ours), theirs

    def send(self, message: object, connection: socket.socket | None = None) -> None:
        """Send a message, with a connection where one is given; the sender keeps its own handle of it.

        A connection waits for nobody. Raises OSError when the other end is gone.
        """
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        if connection is not None:
            socket.send_fds(self._end, [data], [connection.fileno()], socket.MSG_DONTWAIT)
        elif len(data) <= _PACKET_BYTES:
            self._end.send(data)
        else:
            with os.fdopen(os.memfd_create("bodytag"), "r+b") as file:
                file.write(data)
                file.flush()
                socket.send_fds(self._end, [_LONG], [file.fileno()])

    def receive(self) -> tuple[Any, socket.socket | None]:
        """Wait for the next message; raises EOFError when the other end is gone."""
        try:
            data, handles, _, _ = socket.recv_fds(self._end, _PACKET_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        if data == _LONG:
            with os.fdopen(handles[0], "rb") as file:
                file.seek(0)
                return pickle.load(file), None  # noqa: S301 - from a process of our own
        connection = socket.socket(fileno=handles[0]) if handles else None
        return pickle.loads(data), connection  # noqa: S301 - from a process of our own

    def close(self) -> None:
        """Close this end; who waits at the other gets EOFError."""
        self._end.close()
