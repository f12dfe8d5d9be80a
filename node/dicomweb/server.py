"""The DICOMweb listener's process: STOW-RS into the spool, away from the DICOM port."""

import socket
import tempfile
import threading
import time
from multiprocessing.connection import Connection
from typing import Final

from node.auditing.audit import Trail
from node.dicomweb.app import Origin, make_app
from node.dicomweb.part import Room
from node.intake.intake import Arrival, Offer, take_in
from node.serving import Line, prepare, serve
from node.settings.config import Config
from node.storage.spool import SeriesKey, Spool

_MEASURE_S: Final = 60

Told = Arrival | frozenset[SeriesKey] | int
"""What the node hears: an instance was stored, a request that stored into these series ended, or an instance
was refused with a status."""


def main(connection: Connection, listening: socket.socket, config: Config) -> None:
    """Serve STOW-RS on a listening socket until the node says stop or is gone."""
    prepare(config)
    line = Line(connection)
    quota = config.spool.quota
    spool = Spool(config.spool.folder, int(config.spool.minimum_free), None if quota is None else int(quota))
    if quota is not None:
        threading.Thread(target=_measure, args=(spool,), daemon=True).start()
    with spool.attend():
        serve(make_app(config.dicomweb.path, _origin(config, spool, line)), config.dicomweb, listening, line)


def _measure(spool: Spool) -> None:
    """Count now and then what the node's own process stores and removes."""
    while True:
        spool.room.measure()
        time.sleep(_MEASURE_S)


def _origin(config: Config, spool: Spool, line: Line) -> Origin:
    def store(offer: Offer, data: memoryview) -> Arrival:
        arrival = take_in(spool, offer, data, int(config.receive.maximum_inflated_bytes))
        if not arrival.stored.duplicate:
            line.tell(arrival)
        return arrival

    def released(keys: frozenset[SeriesKey]) -> None:
        if keys:
            line.tell(keys)

    room = Room(
        int(config.dicomweb.maximum_instance_bytes),
        lambda: tempfile.TemporaryFile(dir=spool.folder),  # noqa: SIM115 - closed by the part
        lambda: spool.room.free_bytes() > int(config.spool.minimum_free),
    )
    trail, called = Trail(config.audit.file), config.receive.ae_title
    return Origin(config.dicomweb, room, store, released, trail, called, line.tell)
