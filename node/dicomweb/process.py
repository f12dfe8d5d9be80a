"""Receiving by DICOMweb, seen from the node: its listener, and what that says of stored instances."""

from collections.abc import Callable

import structlog

from node import metrics
from node.dicomweb import server
from node.intake.intake import Arrival
from node.listening import Listener
from node.settings.config import Config
from node.storage.spool import SeriesKey

log = structlog.get_logger()


class WebReceiver(Listener):
    """Passes on what was stored by STOW-RS, as the receiver does for C-STORE.

    `recover` looks for instances that are in the spool and that nobody was told of; it is asked after the
    process died.
    """

    def __init__(
        self,
        config: Config,
        arrived: Callable[[Arrival], None],
        released: Callable[[frozenset[SeriesKey]], None],
        recover: Callable[[], int],
    ) -> None:
        super().__init__("dicomweb", config.dicomweb, config, server.main)
        self._path = config.dicomweb.path
        self._arrived = arrived
        self._released = released
        self._recover = recover

    def listen(self) -> None:
        """Take the address; raises OSError when it is taken or the certificate cannot be used."""
        super().listen()
        host = self.settings.host
        if self.settings.certificate is None:
            log.warning("DICOMweb without TLS: passwords and images can be read on the way", host=host)
        log.info("listening for DICOMweb", host=host, port=self.port, path=self._path)

    def heard(self, message: server.Told) -> None:
        """Tell the node of an arrival, or of the end of a request, and count what was refused."""
        if isinstance(message, int):
            metrics.refused("dicomweb", message)
        elif isinstance(message, Arrival):
            self._arrived(message)
        else:
            self._released(message)

    def died(self) -> None:
        """Look for what was stored and not told."""
        self._recover()
