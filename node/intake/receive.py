"""The receiver: the ports of the node as storage SCP, and who serves those who come there."""

import socket
from collections.abc import Callable
from typing import Any

import structlog

from node.auditing.audit import Alerts, Trail
from node.board import Board
from node.intake.bounds import Memory
from node.intake.clerks import Clerks
from node.intake.commitment import Commitments
from node.intake.door import Door
from node.intake.intake import Arrival
from node.intake.lobby import Visit
from node.intake.office import HeadOffice
from node.intake.scp import StorageScp
from node.settings.receive import Receive
from node.storage.spool import SeriesKey, Spool

log = structlog.get_logger()


class Receiver:
    """Listens, has what comes stored, and tells `arrived` of new instances, `released` of ended associations.

    With clerks, processes of their own, it is these that serve; this process does where none of them can, for
    the moment until they have started.
    """

    def __init__(
        self,
        config: Receive,
        spool: Spool,
        arrived: Callable[[Arrival], None],
        released: Callable[[frozenset[SeriesKey]], None],
        trail: Trail | None = None,
        commitments: Commitments | None = None,
        clerks: Clerks | None = None,
    ) -> None:
        """Without `commitments` requests for storage commitment find no presentation context."""
        self._config = config
        self._spool = spool
        self._trail = trail or Trail(None)
        self._commitments = commitments
        self._clerks = clerks
        self._office = HeadOffice(config, Alerts(self._trail), arrived, released)
        board = Board() if clerks is None else clerks.board
        self.memory = Memory(int(config.maximum_memory_bytes), board, self._relieve)
        self._doors: list[Door] = []

    def start(self) -> None:
        """Listen; raises OSError when an address is taken or a certificate cannot be used."""
        config, asked = self._config, self._commitments
        on_action = None if asked is None else asked.on_action
        self._scp = StorageScp(config, self._spool, self._office, self.memory, self._trail, on_action)
        self._doors.append(self._door(config.host, config.port, secure=False))
        if config.tls.port is not None:
            self._doors.append(self._door(config.tls.host, config.tls.port, secure=True))
            log.info("listening with TLS", host=config.tls.host, port=self.tls_port)
        if self._clerks is not None:
            self._office.short = self._relieve
            self._clerks.start(self._office, self._spool, self._commitments)
        for door in self._doors:
            door.open()
        if config.promiscuous:
            log.warning("promiscuous: instances are taken from anybody; list receive.callers instead")
        log.info("listening", ae_title=config.ae_title, host=config.host, port=self.port)

    @property
    def port(self) -> int:
        """The port that is listened on; of use where the configuration says 0."""
        return self._doors[0].port

    @property
    def tls_port(self) -> int:
        """The same of the port that speaks TLS."""
        return self._doors[1].port

    @property
    def associations(self) -> int:
        """How many associations are open."""
        return self._office.lobby.present

    def stop(self) -> None:
        """Stop listening and abort the associations that are still open."""
        for door in self._doors:
            door.close()
        if self._clerks is not None:
            self._clerks.stop()
        self._scp.stop()
        if self._clerks is not None:
            self._clerks.join()

    def _door(self, host: str, port: int, secure: bool) -> Door:
        def take(connection: socket.socket, peer: Any) -> None:
            visit = Visit(connection, peer)
            self._office.came(visit)
            try:
                if self._clerks is None or not self._clerks.take(visit, secure):
                    self._scp.take(visit, secure)
            except BaseException:
                self._office.left(visit)
                raise

        return Door((host, port), self._office.may_knock, take)

    def _relieve(self) -> None:
        """Have whoever holds most of the memory give it up, here or elsewhere."""
        if self._clerks is not None and not self._clerks.relieve():
            self.memory.relieve()
